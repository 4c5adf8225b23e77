/*
 * sublink.c - subqueries in expressions: EXISTS, IN, ANY, ALL, scalar ones, ARRAY
 *
 * Each becomes an item of FROM: the subquery made independent (correlate.c), one row for each key, and joined by the key.  What the
 * expression needs to know is in that row, or in there being none:
 *
 *     EXISTS (S)       SELECT DISTINCT key, true FROM S                     one IS NOT NULL
 *     x = ANY (S)      EXISTS (S and x = y), and where there are NULLs      CASE: SQL's three values
 *     (SELECT f(...))  SELECT key, f(...) FROM S GROUP BY key               f, or its value without rows
 *     (SELECT x, ...)  SELECT key, array_agg(x) ... FROM S GROUP BY key     the only element, or the usual error
 *
 * A condition of WHERE that an EXISTS or IN makes is an inner join; everything else a LEFT JOIN.  Joins have a delta.
 */
#include "postgres.h"

#include "compat.h"
#include "delta/sublink.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

Node *
pgs_sublink_refuse(PgsSublinks *s, const char *why)
{
	(void) pgs_cut_refuse(s->cut, why);
	return NULL;
}

/* ---- joining ---- */

/* Add a subquery to the level's items. */
static int
add_item(PgsSublinks *s, Query *sub, const char *alias)
{
	s->query->rtable = lappend(s->query->rtable, pgs_subquery_item(sub, alias));
	return list_length(s->query->rtable);
}

void
pgs_sublink_join_inner(PgsSublinks *s, Query *sub, const List *matches)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = add_item(s, sub, "subquery");
	s->inner = lappend(s->inner, ref);
	s->quals = list_concat(s->quals, pgs_match_conditions(matches, ref->rtindex));
}

/* Join by LEFT JOIN; returns the join. */
JoinExpr *
pgs_sublink_join_left(PgsSublinks *s, Query *sub, const List *matches)
{
	RangeTblRef *ref = makeNode(RangeTblRef);
	JoinExpr   *join = pgs_make_left_join(s->query);

	ref->rtindex = add_item(s, sub, "subquery");
	join->rarg = (Node *) ref;
	/* for none, this is true */
	join->quals = (Node *) make_ands_explicit(pgs_match_conditions(matches, ref->rtindex));
	s->outer = lappend(s->outer, join);
	return join;
}

/* An output column of a subquery that is joined by LEFT JOIN. */
Var *
pgs_sublink_column(PgsSublinks *s, JoinExpr *join, int resno)
{
	int			rtindex = ((RangeTblRef *) join->rarg)->rtindex;
	Query	   *sub = rt_fetch(rtindex, s->query->rtable)->subquery;
	Var		   *result = makeVarFromTargetEntry(rtindex, get_tle_by_resno(sub->targetList, resno));

	pgs_add_nullingrel(result, join->rtindex);
	return result;
}

/* ---- all of a level ---- */

static Node *
sublink_mutator(Node *node, PgsSublinks *s)
{
	if (node == NULL || s->cut->obstacle)
		return node;
	if (IsA(node, SubLink))
	{
		SubLink    *sublink = (SubLink *) node;
		Node	   *result;
		ListCell   *lc;

		foreach(lc, s->done)
			if (equal(lfirst(lc), node))
				return copyObject(list_nth(s->values, foreach_current_index(lc)));
		if (checkExprHasSubLink(sublink->testexpr))
			return pgs_sublink_refuse(s, "a subquery in the test of another");
		switch (sublink->subLinkType)
		{
			case EXISTS_SUBLINK:
				result = pgs_exists_value(s, copyObject(castNode(Query, sublink->subselect)));
				break;
			case ANY_SUBLINK:
			case ALL_SUBLINK:
				result = pgs_quantified_value(s, sublink);
				break;
			case EXPR_SUBLINK:
			case ARRAY_SUBLINK:
				result = pgs_scalar_value(s, sublink);
				break;
			case ROWCOMPARE_SUBLINK:
				result = pgs_row_value(s, sublink);
				break;
			default:
				return pgs_sublink_refuse(s, "a subquery of a kind that is not known");
		}
		s->done = lappend(s->done, node);
		s->values = lappend(s->values, result);
		return result;
	}
	return expression_tree_mutator(node, sublink_mutator, s);
}

/* One condition of WHERE: what must hold is an inner join. */
static Node *
condition(Node *qual, PgsSublinks *s)
{
	SubLink    *sublink = (SubLink *) qual;
	List	   *matches;
	Query	   *sub;

	if (!IsA(sublink, SubLink) || (sublink->subLinkType != EXISTS_SUBLINK && sublink->subLinkType != ANY_SUBLINK) ||
		checkExprHasSubLink(sublink->testexpr))
		return sublink_mutator(qual, s);
	sub = sublink->subLinkType == ANY_SUBLINK ? pgs_sublink_rows(sublink, ROWS_TRUE) : copyObject(castNode(Query, sublink->subselect));
	if (sub->hasAggs && !sub->groupClause && !sub->groupingSets)
		return sublink_mutator(qual, s);
	sub = pgs_existence(s, sub, &matches);
	if (sub)
		pgs_sublink_join_inner(s, sub, matches);
	return NULL;
}

static bool
joins_hold_sublinks(Query *query)
{
	ListCell   *lc;

	foreach(lc, query->jointree->fromlist)
		if (checkExprHasSubLink(lfirst(lc)))
			return true;
	foreach(lc, query->rtable)
		if (lfirst_node(RangeTblEntry, lc)->rtekind == RTE_VALUES &&
			checkExprHasSubLink((Node *) lfirst_node(RangeTblEntry, lc)->values_lists))
			return true;
	return false;
}

static bool
whole_item_walker(Node *node, int *rtindex)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == *rtindex && ((Var *) node)->varattno == 0 && ((Var *) node)->varlevelsup == 0;
	return expression_tree_walker(node, whole_item_walker, rtindex);
}

/*
 * A function in FROM with subqueries in its arguments, generate_series((SELECT min(day) ...), ...), as a level of its own, so that it may
 * stand on any side of a join.  False if there are other items that it refers to, or its whole row is asked for.
 */
static bool
isolate_functions(Query *query)
{
	bool		alone = list_length(query->jointree->fromlist) == 1 && IsA(linitial(query->jointree->fromlist), RangeTblRef);

	for (int i = 1; i <= list_length(query->rtable) && !alone; i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);
		Query	   *level;
		List	   *names;
		List	   *vars;
		ListCell   *lc;

		if (rte->rtekind != RTE_FUNCTION || !checkExprHasSubLink((Node *) rte->functions))
			continue;
		if (contain_var_clause((Node *) rte->functions) || query_tree_walker(query, whole_item_walker, &i, QTW_IGNORE_RT_SUBQUERIES))
			return false;
		pgs_expand_rte(rte, 1, &names, &vars);
		level = pgs_select_from(copyObject(rte));
		foreach(lc, vars)
			level->targetList = lappend(level->targetList, pgs_target(lfirst(lc), foreach_current_index(lc) + 1,
																	  strVal(list_nth(names, foreach_current_index(lc)))));
		level->hasSubLinks = true;
		lfirst(list_nth_cell(query->rtable, i - 1)) = pgs_subquery_item(level, rte->eref->aliasname);
	}
	return true;
}

/*
 * The arguments of functions in FROM.  What stands for a subquery there must be beside the
 * function, not joined around it.
 */
static bool
cut_functions(PgsSublinks *s)
{
	ListCell   *lc;

	foreach(lc, s->query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		int			before = list_length(s->outer);

		if (rte->rtekind != RTE_FUNCTION || !checkExprHasSubLink((Node *) rte->functions))
			continue;
		rte->functions = (List *) sublink_mutator((Node *) rte->functions, s);
		rte->lateral = true;
		if (s->cut->obstacle)
			return false;
		if (list_length(s->outer) > before)
			return pgs_cut_refuse(s->cut, "a subquery in a function of FROM that is more than an aggregate") != NULL;
	}
	return true;
}

/*
 * Turn the subqueries in a level's expressions into items of its FROM, in place.  False with an obstacle noted.
 */
bool
pgs_cut_sublinks(PgsCut *cut, Query *query)
{
	PgsSublinks s = {.cut = cut, .query = query};
	List	   *plain = NIL;
	List	   *with = NIL;
	List	   *rest = NIL;
	FromExpr   *from;
	Node	   *tree;
	ListCell   *lc;

	pgs_forget_join_aliases(query);
	pgs_hoist_joins(query, false);
	if (!pgs_cut_join_conditions(query))
		return pgs_cut_refuse(cut, "a subquery that refers to both sides of an outer join, in its condition") != NULL;
	if (joins_hold_sublinks(query) || !isolate_functions(query))
		return pgs_cut_refuse(cut, "a subquery in VALUES, or in a function beside what it refers to") != NULL;
	foreach(lc, make_ands_implicit((Expr *) query->jointree->quals))
	{
		if (checkExprHasSubLink(lfirst(lc)))
			with = lappend(with, lfirst(lc));
		else
			plain = lappend(plain, lfirst(lc));
	}
	s.domain = pgs_domain(query, query->jointree->fromlist, plain);

	foreach(lc, with)
	{
		Node	   *qual = condition(lfirst(lc), &s);

		if (qual)
			rest = lappend(rest, qual);
	}
	query->targetList = (List *) sublink_mutator((Node *) query->targetList, &s);
	if (cut->obstacle || !cut_functions(&s))
		return false;

	from = makeFromExpr(list_concat(query->jointree->fromlist, s.inner), NULL);
	plain = list_concat(plain, s.quals);
	from->quals = pgs_all_of(plain);
	query->hasSubLinks = false;
	if (s.outer == NIL)
	{
		rest = list_concat(make_ands_implicit((Expr *) from->quals), rest);
		from->quals = pgs_all_of(rest);
		query->jointree = from;
		return true;
	}
	tree = list_length(from->fromlist) == 1 && !from->quals ? linitial(from->fromlist) : (Node *) from;
	foreach(lc, s.outer)
	{
		lfirst_node(JoinExpr, lc)->larg = tree;
		tree = lfirst(lc);
	}
	query->jointree = makeFromExpr(list_make1(tree), pgs_all_of(rest));
	return true;
}

/* ---- after aggregates ---- */

static bool
after_walker(Node *node, Query *query)
{
	ListCell   *lc;

	if (node == NULL || IsA(node, Aggref))
		return false;
	foreach(lc, query->groupClause)
		if (equal(node, get_sortgroupclause_expr(lfirst(lc), query->targetList)))
			return false;
	if (IsA(node, SubLink))
		return true;
	return expression_tree_walker(node, after_walker, query);
}

/* Whether a level has subqueries in its columns that are computed when groups are complete. */
bool
pgs_has_sublink_after_aggregates(Query *query)
{
	return query->hasSubLinks && after_walker((Node *) query->targetList, query);
}
