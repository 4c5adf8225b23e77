/*
 * peel.c - a level that does several things, one after the other, becomes a level for each
 *
 * A SELECT groups, then computes window functions, then its columns, then DISTINCT, then LIMIT.  Each of these has a rule of its own,
 * so the last is taken off and put around the rest, as if the user had written a subquery in FROM.
 */
#include "postgres.h"

#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"

/* SELECT the columns of "inner", junk ones as well, with the same marks for clauses; "inner" has only columns from then on. */
static Query *
around(Query *inner)
{
	List	   *targets = NIL;
	Query	   *outer;
	ListCell   *lc;

	foreach(lc, inner->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		TargetEntry *copy;

		if (!tle->resname)
			tle->resname = psprintf("junk%d", tle->resno);
		copy = pgs_target((Expr *) makeVarFromTargetEntry(1, tle), tle->resno, tle->resname);
		copy->resjunk = tle->resjunk;
		copy->ressortgroupref = tle->ressortgroupref;
		tle->resjunk = false;
		targets = lappend(targets, copy);
	}
	outer = pgs_select_from(pgs_subquery_item(inner, "level"));
	outer->targetList = targets;
	return outer;
}

/* LIMIT and OFFSET, with the order that decides about them, in a level of their own. */
Query *
pgs_peel_limit(Query *query)
{
	Query	   *outer = around(query);

	outer->sortClause = copyObject(query->sortClause);
	outer->limitCount = query->limitCount;
	outer->limitOffset = query->limitOffset;
	outer->limitOption = query->limitOption;
	query->limitCount = query->limitOffset = NULL;
	query->limitOption = LIMIT_OPTION_COUNT;
	/* DISTINCT ON has a use for it, too */
	if (!query->hasDistinctOn)
		query->sortClause = NIL;
	return outer;
}

/* DISTINCT [ON] in a level of its own. */
Query *
pgs_peel_distinct(Query *query)
{
	Query	   *outer = around(query);

	outer->distinctClause = query->distinctClause;
	outer->hasDistinctOn = query->hasDistinctOn;
	outer->sortClause = query->hasDistinctOn ? query->sortClause : NIL;
	query->distinctClause = query->sortClause = NIL;
	query->hasDistinctOn = false;
	return outer;
}

/* ---- aggregates ---- */

typedef struct
{
	List	   *exprs;			/* group keys, aggregates: the columns of the inner level */
	int			depth;			/* of the query that we are in, beneath the level */
	bool		failed;
} Peel;

/* The number of an expression among the columns of the inner level, or 0. */
static int
find_column(Peel *p, Node *node)
{
	ListCell   *lc;

	foreach(lc, p->exprs)
	{
		Node	   *expr = lfirst(lc);

		if (nodeTag(expr) != nodeTag(node))
			continue;
		if (p->depth > 0)
		{
			expr = copyObject(expr);
			IncrementVarSublevelsUp(expr, p->depth, 0);
		}
		if (equal(expr, node))
			return foreach_current_index(lc) + 1;
	}
	return 0;
}

/* Aggregates, GROUPING(), and columns that depend on a grouped primary key. */
static bool
gather_walker(Node *node, Peel *p)
{
	if (node == NULL || find_column(p, node))
		return false;
	if (IsA(node, Aggref) || IsA(node, GroupingFunc))
	{
		int			level = IsA(node, Aggref) ? ((Aggref *) node)->agglevelsup : ((GroupingFunc *) node)->agglevelsup;

		if (level == p->depth && level > 0)
			p->failed = true;
		if (level == p->depth)
		{
			p->exprs = lappend(p->exprs, copyObject(node));
			return false;
		}
	}
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == p->depth)
	{
		Var		   *var = copyObject((Var *) node);

		var->varlevelsup = 0;
		p->exprs = lappend(p->exprs, var);
		return false;
	}
	if (IsA(node, Query))
	{
		p->depth++;
		(void) query_tree_walker((Query *) node, gather_walker, p, 0);
		p->depth--;
		return false;
	}
	return expression_tree_walker(node, gather_walker, p);
}

static Node *
replace_mutator(Node *node, Peel *p)
{
	int			n;

	if (node == NULL)
		return NULL;
	n = find_column(p, node);
	if (n > 0)
		return (Node *) makeVar(1, n, exprType(node), exprTypmod(node), exprCollation(node), p->depth);
	if (IsA(node, Query))
	{
		Query	   *result;

		p->depth++;
		result = query_tree_mutator((Query *) node, replace_mutator, p, 0);
		p->depth--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, replace_mutator, p);
}

/* Whether anything is left for the level around the aggregates to do, but to pick columns. */
bool
pgs_has_work_after_aggregates(Query *query)
{
	return query->hasWindowFuncs || query->hasDistinctOn || query->hasTargetSRFs ||
		checkExprHasSubLink((Node *) query->havingQual) || pgs_has_sublink_after_aggregates(query);
}

/*
 * GROUP BY, aggregates and HAVING in a level beneath the rest; NULL where that can't be done.
 */
Query *
pgs_peel_aggregates(Query *query)
{
	Query	   *inner = copyObject(query);
	Query	   *outer;
	Peel		p = {0};
	List	   *targets = NIL;
	bool		having_above = checkExprHasSubLink(query->havingQual);
	ListCell   *lc;

	foreach(lc, query->groupClause)
		p.exprs = lappend(p.exprs, copyObject(get_sortgroupclause_expr(lfirst(lc), query->targetList)));
	foreach(lc, query->targetList)
		(void) gather_walker((Node *) lfirst_node(TargetEntry, lc)->expr, &p);
	if (having_above)
		(void) gather_walker(query->havingQual, &p);
	if (p.failed)
		return NULL;
	foreach(lc, p.exprs)
	{
		int			n = foreach_current_index(lc) + 1;
		TargetEntry *tle = pgs_target(copyObject(lfirst(lc)), n, psprintf("g%d", n));

		if (n <= list_length(query->groupClause))
			tle->ressortgroupref = list_nth_node(SortGroupClause, query->groupClause, n - 1)->tleSortGroupRef;
		targets = lappend(targets, tle);
	}
	if (targets == NIL)
		targets = list_make1(pgs_target((Expr *) makeBoolConst(true, false), 1, "one"));
	inner->targetList = targets;
	inner->windowClause = inner->distinctClause = inner->sortClause = NIL;
	inner->hasWindowFuncs = inner->hasDistinctOn = inner->hasTargetSRFs = false;
	inner->limitCount = inner->limitOffset = NULL;
	if (having_above)
		inner->havingQual = NULL;

	outer = pgs_select_from(pgs_subquery_item(inner, "groups"));
	outer->targetList = (List *) replace_mutator((Node *) query->targetList, &p);
	if (having_above)
		outer->jointree->quals = replace_mutator(query->havingQual, &p);
	outer->windowClause = query->windowClause;
	outer->distinctClause = query->distinctClause;
	outer->sortClause = query->sortClause;
	outer->hasWindowFuncs = query->hasWindowFuncs;
	outer->hasDistinctOn = query->hasDistinctOn;
	outer->hasTargetSRFs = query->hasTargetSRFs;
	outer->hasSubLinks = checkExprHasSubLink((Node *) outer->targetList) || having_above;
	inner->hasSubLinks = checkExprHasSubLink((Node *) inner->targetList) ||
		checkExprHasSubLink((Node *) inner->jointree) || checkExprHasSubLink(inner->havingQual);
	return outer;
}
