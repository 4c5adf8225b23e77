/*
 * leaf.c - a relation's change and its two states, as subqueries with a weight
 *
 * The new state is the relation itself, under the refresh's snapshot.  The old one is never stored: it is the new one minus
 * the change,
 *
 *     SELECT columns, 1 AS weight FROM R  UNION ALL  SELECT columns, -weight FROM delta
 *
 * and the planner pushes join clauses down into both arms.  Columns keep the numbers that they have in the relation, so a
 * Var of the query needs no change when its item is replaced; those that the query doesn't use are NULL.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "utils/rel.h"

PgsDelta *
pgs_leaf_find(List *deltas, Oid relid)
{
	ListCell   *lc;

	foreach(lc, deltas)
		if (((PgsDelta *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	return NULL;
}

/* Output columns for all attribute numbers of a relation: Vars of item 1 where "use" says so, else NULLs. */
static List *
target_list(const RangeTblEntry *rte, const PgsDelta *delta, bool from_delta)
{
	Relation	rel = table_open(rte->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	List	   *result = NIL;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);
		int			place = attr->attisdropped ? 0 : pgs_delta_place(delta, i + 1);
		Expr	   *expr;

		if (place > 0)
			expr = (Expr *) makeVar(1, from_delta ? place : i + 1, attr->atttypid, attr->atttypmod,
									attr->attcollation, 0);
		else if (attr->attisdropped)
			expr = (Expr *) makeNullConst(INT4OID, -1, InvalidOid);
		else
			expr = (Expr *) makeNullConst(attr->atttypid, attr->atttypmod, attr->attcollation);
		result = lappend(result, pgs_target(expr, i + 1, attr->attisdropped ? psprintf("dropped_%d", i + 1) :
											NameStr(attr->attname)));
	}
	table_close(rel, NoLock);
	return result;
}

/* The changed rows of a relation, weight last; "negate": with the opposite weight. */
Query *
pgs_leaf_delta(const RangeTblEntry *rte, const PgsDelta *delta, bool negate)
{
	Query	   *query = pgs_select_from(pgs_delta_tuplestore(delta->name, delta->desc, delta->rows));
	Expr	   *weight = (Expr *) makeVar(1, delta->natts + 1, INT8OID, -1, InvalidOid, 0);

	query->targetList = target_list(rte, delta, true);
	pgs_add_weight(query, negate ? pgs_negated(weight) : weight);
	return query;
}

/* The rows of a relation, an item of "parent", as they are now, with weight 1. */
Query *
pgs_leaf_new(const RangeTblEntry *rte, Query *parent, const PgsDelta *delta)
{
	RangeTblEntry *item = copyObject((RangeTblEntry *) rte);
	Query	   *query = pgs_select_from(item);

	pgs_rte_adopt(query, item, parent);
	query->targetList = target_list(rte, delta, false);
	pgs_add_weight(query, pgs_int8_const(1));
	return query;
}
