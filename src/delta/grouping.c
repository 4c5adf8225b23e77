/*
 * grouping.c - GROUPING SETS, ROLLUP and CUBE
 *
 * A grouping set is a GROUP BY of its own, with NULL for the keys that it leaves out; so several of them are a UNION ALL of plain
 * aggregates, each with the best rule for it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_agg.h"

/* a CUBE of six */
#define MAX_SETS 64

typedef struct
{
	Query	   *query;
	List	   *refs;			/* of int: the keys of this set */
} SetContext;

/* Keys that the set leaves out are NULL, and GROUPING() says so; arguments of aggregates see them all the same. */
static Node *
set_mutator(Node *node, SetContext *context)
{
	ListCell   *lc;

	if (node == NULL)
		return NULL;
	if (IsA(node, Aggref))
		return copyObject(node);
	if (IsA(node, GroupingFunc))
	{
		int32		bits = 0;

		foreach(lc, ((GroupingFunc *) node)->refs)
			bits = (bits << 1) | !list_member_int(context->refs, lfirst_int(lc));
		return (Node *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(bits), false, true);
	}
	foreach(lc, context->query->groupClause)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);

		if (equal(node, get_sortgroupclause_expr(clause, context->query->targetList)))
			return list_member_int(context->refs, clause->tleSortGroupRef) ? copyObject(node) :
				(Node *) makeNullConst(exprType(node), exprTypmod(node), exprCollation(node));
	}
	return expression_tree_mutator(node, set_mutator, context);
}

static Query *
one_set(Query *query, List *refs)
{
	Query	   *result = copyObject(query);
	SetContext	context = {.query = query, .refs = refs};
	List	   *targets = NIL;
	ListCell   *lc;

	result->groupingSets = result->groupClause = NIL;
	foreach(lc, query->groupClause)
		if (list_member_int(refs, lfirst_node(SortGroupClause, lc)->tleSortGroupRef))
			result->groupClause = lappend(result->groupClause, copyObject(lfirst(lc)));
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = copyObject(lfirst_node(TargetEntry, lc));

		/* junk is kept where it is a key */
		if (tle->resjunk && !list_member_int(refs, tle->ressortgroupref))
			continue;
		tle->expr = (Expr *) set_mutator((Node *) tle->expr, &context);
		targets = lappend(targets, tle);
	}
	result->targetList = targets;
	result->havingQual = set_mutator(query->havingQual, &context);
	result->sortClause = NIL;
	/* the empty set has one group, with or without rows */
	result->hasAggs = true;
	return result;
}

/* The level as a UNION ALL of its grouping sets; nothing follows the aggregates in it.  NULL: there are too many. */
Query *
pgs_grouping_sets_as_union(Query *query)
{
	List	   *arms = NIL;
	ListCell   *lc;

	List	   *sets = expand_grouping_sets(query->groupingSets, query->groupDistinct, -1);

	/* each has a state of its own */
	if (list_length(sets) > MAX_SETS)
		return NULL;
	foreach(lc, sets)
		arms = lappend(arms, one_set(query, lfirst(lc)));
	return pgs_delta_union_all(arms);
}
