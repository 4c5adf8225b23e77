/*
 * join.c - the delta of a linear query: joins, WHERE, projection
 *
 * With R1..Rn the items of FROM and dRi their changes,
 *
 *     d(R1 x ... x Rn)  =  sum over changed i of   new(R1) x ... x new(Ri-1)  x  dRi  x  old(Ri+1) x ... x old(Rn)
 *
 * with weights multiplied.  Only changed items give a branch, and only later changed ones need their old state, so the usual
 * change of one table is one branch without any.  An item may be a subquery: its delta and its old state are made the same
 * way.  Functions and VALUES in FROM follow from the rows beside them, whatever state these are in.  (Blakeley, Larson and Tompa,
 * "Efficiently updating materialized views", 1986, with the lopsided form that needs no terms of higher order.)
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"

/* Whether a linear query reads a relation that has changed. */
static bool
reads_changed(Query *query, List *deltas)
{
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_RELATION && pgs_leaf_find(deltas, rte->relid))
			return true;
		if (rte->rtekind == RTE_SUBQUERY && reads_changed(rte->subquery, deltas))
			return true;
	}
	return false;
}

/* Whether an item of FROM has changed. */
bool
pgs_item_changed(RangeTblEntry *rte, List *deltas)
{
	if (rte->rtekind == RTE_RELATION)
		return pgs_leaf_find(deltas, rte->relid) != NULL;
	return rte->rtekind == RTE_SUBQUERY && reads_changed(rte->subquery, deltas);
}

/* The columns of a weighted query, with the opposite weight. */
static Query *
negated(Query *weighted)
{
	Query	   *query = pgs_select_from(pgs_subquery_item(weighted, "item"));
	TargetEntry *weight;

	query->targetList = pgs_vars_of(weighted->targetList);
	weight = llast_node(TargetEntry, query->targetList);
	weight->expr = pgs_negated(weight->expr);
	return query;
}

/* A query with weight 1 behind its columns. */
static Query *
with_weight_one(Query *query)
{
	Query	   *result = pgs_select_from(pgs_subquery_item(copyObject(query), "item"));

	result->targetList = pgs_vars_of(query->targetList);
	pgs_add_weight(result, pgs_int8_const(1));
	return result;
}

/* The delta of an item of FROM of a query, weight last. */
Query *
pgs_item_delta(RangeTblEntry *rte, Query *query, List *deltas)
{
	if (rte->rtekind == RTE_RELATION)
		return pgs_leaf_delta(rte, pgs_leaf_find(deltas, rte->relid), false);
	return pgs_delta_query(rte->subquery, deltas);
}

/* The item as it was: new - delta. */
Query *
pgs_item_old(RangeTblEntry *rte, Query *query, List *deltas)
{
	if (rte->rtekind == RTE_RELATION)
	{
		PgsDelta   *delta = pgs_leaf_find(deltas, rte->relid);

		return pgs_delta_union_all(list_make2(pgs_leaf_new(rte, query, delta), pgs_leaf_delta(rte, delta, true)));
	}
	return pgs_delta_union_all(list_make2(with_weight_one(rte->subquery),
										  negated(pgs_delta_query(rte->subquery, deltas))));
}

/* Put a weighted subquery in the place of an item; returns its weight. */
Expr *
pgs_replace_item(Query *query, int rtindex, Query *weighted)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	RangeTblEntry *new = pgs_subquery_item(weighted, rte->eref->aliasname);

	new->lateral = false;
	lfirst(list_nth_cell(query->rtable, rtindex - 1)) = new;
	return (Expr *) makeVar(rtindex, list_length(weighted->targetList), INT8OID, -1, InvalidOid, 0);
}

/* a * b; a NULL counts as 1 */
Expr *
pgs_product(Expr *a, Expr *b)
{
	if (a == NULL)
		return b;
	return (Expr *) makeFuncExpr(F_INT8MUL, INT8OID, list_make2(a, b), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* The branch for the change of one item. */
static Query *
branch(Query *query, int changed, List *deltas)
{
	Query	   *result = copyObject(query);
	Expr	   *weight = NULL;

	for (int i = changed; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);

		if (pgs_item_changed(rte, deltas))
			weight = pgs_product(weight, pgs_replace_item(result, i, i == changed ? pgs_item_delta(rte, query, deltas) :
													  pgs_item_old(rte, query, deltas)));
	}
	pgs_add_weight(result, weight);
	return result;
}

/* The arms of a UNION ALL may have names of their own; those of the whole count. */
static Query *
renamed(Query *delta, Query *query)
{
	ListCell   *a;
	ListCell   *b;

	forboth(a, delta->targetList, b, query->targetList)
		lfirst_node(TargetEntry, a)->resname = lfirst_node(TargetEntry, b)->resname;
	return delta;
}

/*
 * The delta of a linear query: its columns and, last, the weight.  NULL if nothing that it reads has changed.
 */
Query *
pgs_delta_query(Query *query, List *deltas)
{
	List	   *branches = NIL;

	check_stack_depth();
	if (pgs_is_outer_level(query))
		branches = pgs_delta_outer(query, deltas);
	else
		for (int i = 1; i <= list_length(query->rtable); i++)
		{
			RangeTblEntry *rte = rt_fetch(i, query->rtable);

			if (!pgs_item_changed(rte, deltas))
				continue;
			if (query->setOperations)
				branches = lappend(branches, pgs_delta_query(rte->subquery, deltas));
			else
				branches = lappend(branches, branch(query, i, deltas));
		}
	if (!branches)
		return NULL;
	return renamed(pgs_delta_union_all(branches), query);
}
