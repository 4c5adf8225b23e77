/*
 * join.c - the delta of a linear query: joins, WHERE, projection
 *
 * With R1..Rn the items of FROM and dRi their changes,
 *
 *     d(R1 x ... x Rn)  =  sum over changed i of   new(R1) x ... x new(Ri-1)  x  dRi  x  old(Ri+1) x ... x old(Rn)
 *
 * with weights multiplied.  Only changed items give a branch, and only later changed ones need their old state, so the usual
 * change of one table is one branch without any.  The old state, new(R) - dR, makes two terms of one: joins of relations as they are
 * with deltas, which the planner knows how to look up.  So many terms would be too many where many items have changed; there the old
 * state is a UNION ALL in the place of the item.  An item may be a subquery: its delta and its old state are made the same
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

/* of the later changed items, so many are split into new and delta: each doubles the number of terms */
#define MAX_SPLIT 2

/* Whether a linear query reads a relation, or the clock, that has changed. */
static bool
reads_changed(Query *query, List *deltas)
{
	ListCell   *lc;

	if (pgs_level_clock_changed(query, deltas))
		return true;
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
	Query	   *shared;

	if (rte->rtekind == RTE_RELATION)
		return pgs_leaf_delta(rte, pgs_leaf_find(deltas, rte->relid), false);
	shared = pgs_shared_delta(rte->subquery, deltas);
	return shared ? shared : pgs_level_delta(rte->subquery, deltas);
}

/* The item as it was: new - delta. */
Query *
pgs_item_old(RangeTblEntry *rte, Query *query, List *deltas)
{
	if (rte->rtekind == RTE_RELATION)
	{
		PgsDelta   *delta = pgs_leaf_find(deltas, rte->relid);
		Query	   *gone = pgs_leaf_delta(rte, delta, true);

		/* the scan of a subquery can take join clauses in, as the other arm does; that of a tuplestore can't */
		gone->limitOffset = (Node *) pgs_int8_const(0);
		return pgs_delta_union_all(list_make2(pgs_leaf_new(rte, query, delta), gone));
	}
	return pgs_delta_union_all(list_make2(with_weight_one(rte->subquery),
										  negated(pgs_item_delta(rte, query, deltas))));
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

/*
 * One term for the change of one item: each later changed item is its new state or, negated, its delta, as the bits of "mask" say; those
 * beyond the bits are their old state in one.
 */
static Query *
term(Query *query, int changed, const List *later, int nsplit, int mask, List *deltas)
{
	Query	   *result = copyObject(query);
	RangeTblEntry *rte = rt_fetch(changed, query->rtable);
	Expr	   *weight = pgs_replace_item(result, changed, pgs_item_delta(rte, query, deltas));
	ListCell   *lc;

	foreach(lc, later)
	{
		int			i = foreach_current_index(lc);

		rte = rt_fetch(lfirst_int(lc), query->rtable);
		if (i >= nsplit)
			weight = pgs_product(weight, pgs_replace_item(result, lfirst_int(lc), pgs_item_old(rte, query, deltas)));
		else if (mask & (1 << i))
			weight = pgs_negated(pgs_product(weight, pgs_replace_item(result, lfirst_int(lc),
																	  pgs_item_delta(rte, query, deltas))));
	}
	pgs_add_weight(result, weight);
	return result;
}

/* The terms for the change of one item: subqueries are split first, as nothing can be looked up in an old state of theirs. */
static List *
branch(Query *query, int changed, List *deltas)
{
	List	   *result = NIL;
	List	   *later = NIL;
	int			nsplit;

	for (int i = changed + 1; i <= list_length(query->rtable); i++)
		if (pgs_item_changed(rt_fetch(i, query->rtable), deltas))
		{
			if (rt_fetch(i, query->rtable)->rtekind == RTE_SUBQUERY)
				later = lcons_int(i, later);
			else
				later = lappend_int(later, i);
		}
	nsplit = Min(list_length(later), MAX_SPLIT);
	for (int mask = 0; mask < 1 << nsplit; mask++)
		result = lappend(result, term(query, changed, later, nsplit, mask, deltas));
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

/* The delta of a linear query, or of one beneath it. */
Query *
pgs_level_delta(Query *query, List *deltas)
{
	List	   *branches = NIL;
	List	   *ctes = NIL;
	Query	   *then = pgs_level_at_last_time(query, deltas);

	check_stack_depth();
	if (query->setOperations)
	{
		ListCell   *lc;

		foreach(lc, query->rtable)
			if (pgs_item_changed(lfirst_node(RangeTblEntry, lc), deltas))
				branches = lappend(branches, pgs_level_delta(lfirst_node(RangeTblEntry, lc)->subquery, deltas));
	}
	else
	{
		List	   *shared = pgs_share_deltas(then, deltas, &ctes);

		if (pgs_is_outer_level(query))
			branches = pgs_delta_outer(then, shared);
		else
			for (int i = 1; i <= list_length(query->rtable); i++)
				if (pgs_item_changed(rt_fetch(i, then->rtable), shared))
					branches = list_concat(branches, branch(then, i, shared));
		if (pgs_level_clock_changed(query, deltas))
			branches = list_concat(branches, pgs_level_clock_delta(query, deltas));
	}
	if (!branches)
		return NULL;
	return pgs_with_shared(renamed(pgs_delta_union_all(branches), query), ctes);
}

/*
 * The delta of a linear query: its columns and, last, the weight.  NULL if nothing that it reads has changed.
 */
Query *
pgs_delta_query(Query *query, List *deltas)
{
	pgs_begin_sharing();
	return pgs_level_delta(query, deltas);
}
