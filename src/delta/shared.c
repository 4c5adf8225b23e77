/*
 * shared.c - the delta of a subquery that is used several times
 *
 * The delta of a join names the deltas of its items in several terms.  Where an item is a subquery, its delta is a query again, with terms of
 * its own: a chain of LEFT JOINs would have thrice as many for each one that changes.  So each level names the deltas of its subqueries
 * once, in WITH, and its terms refer to them; the planner puts one that is used once in its place.
 */
#include "postgres.h"

#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"

/* ---- naming ---- */

/* How many have a name in the query that is being made: names are its own, whatever level they are of, and the same each time it is made. */
static int	named = 0;

/* Begin to make another query. */
void
pgs_begin_sharing(void)
{
	named = 0;
}

static CommonTableExpr *
make_cte(const char *name, Query *query)
{
	CommonTableExpr *cte = makeNode(CommonTableExpr);
	ListCell   *lc;

	cte->ctename = pstrdup(name);
	cte->ctequery = (Node *) query;
	cte->location = -1;
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Node	   *expr = (Node *) tle->expr;

		if (tle->resjunk)
			continue;
		cte->ctecolnames = lappend(cte->ctecolnames, makeString(pstrdup(tle->resname)));
		cte->ctecoltypes = lappend_oid(cte->ctecoltypes, exprType(expr));
		cte->ctecoltypmods = lappend_int(cte->ctecoltypmods, exprTypmod(expr));
		cte->ctecolcollations = lappend_oid(cte->ctecolcollations, exprCollation(expr));
	}
	return cte;
}

/*
 * The deltas of a level, and among them one for each changed subquery of it, which is in "ctes" (of CommonTableExpr) under its name.
 */
List *
pgs_share_deltas(Query *query, List *deltas, List **ctes)
{
	List	   *result = list_copy(deltas);
	ListCell   *lc;

	*ctes = NIL;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		PgsDelta   *delta;

		if (rte->rtekind != RTE_SUBQUERY || !pgs_item_changed(rte, deltas))
			continue;
		delta = palloc0(sizeof(PgsDelta));
		delta->subquery = rte->subquery;
		delta->name = psprintf("delta_%d_of_%s", ++named, rte->eref->aliasname);
		delta->cte = make_cte(delta->name, pgs_level_delta(rte->subquery, deltas));
		*ctes = lappend(*ctes, delta->cte);
		result = lappend(result, delta);
	}
	return result;
}

/* The delta of a subquery of the level, by its name, if it has one. */
Query *
pgs_shared_delta(Query *subquery, List *deltas)
{
	ListCell   *lc;

	foreach(lc, deltas)
	{
		PgsDelta   *delta = lfirst(lc);
		RangeTblEntry *rte;
		Query	   *query;

		if (delta->subquery != subquery || !subquery)
			continue;
		rte = makeNode(RangeTblEntry);
		rte->rtekind = RTE_CTE;
		rte->ctename = pstrdup(delta->name);
		rte->coltypes = copyObject(delta->cte->ctecoltypes);
		rte->coltypmods = copyObject(delta->cte->ctecoltypmods);
		rte->colcollations = copyObject(delta->cte->ctecolcollations);
		rte->eref = makeAlias("delta", copyObject(delta->cte->ctecolnames));
		rte->inFromCl = true;
		query = pgs_select_from(rte);
		query->targetList = pgs_vars_of(castNode(Query, delta->cte->ctequery)->targetList);
		return query;
	}
	return NULL;
}

/* ---- referring ---- */

typedef struct
{
	List	   *ctes;
	Index		depth;			/* of the query that we are in, beneath the one with the WITH */
} ReferContext;

static bool
refer_walker(Node *node, ReferContext *context)
{
	ListCell   *lc;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_CTE)
			foreach(lc, context->ctes)
				if (strcmp(lfirst_node(CommonTableExpr, lc)->ctename, rte->ctename) == 0)
				{
					rte->ctelevelsup = context->depth;
					lfirst_node(CommonTableExpr, lc)->cterefcount++;
				}
		return false;
	}
	if (IsA(node, Query))
	{
		context->depth++;
		(void) query_tree_walker((Query *) node, refer_walker, context, QTW_EXAMINE_RTES_BEFORE);
		context->depth--;
		return false;
	}
	return expression_tree_walker(node, refer_walker, context);
}

/* Put the deltas that a level's terms refer to before them. */
Query *
pgs_with_shared(Query *delta, List *ctes)
{
	ReferContext context = {.ctes = ctes};

	if (ctes == NIL)
		return delta;
	(void) query_tree_walker(delta, refer_walker, &context, QTW_EXAMINE_RTES_BEFORE);
	delta->cteList = list_concat(delta->cteList, ctes);
	return delta;
}
