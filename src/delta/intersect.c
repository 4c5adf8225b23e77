/*
 * intersect.c - INTERSECT and EXCEPT, with and without ALL
 *
 * How often a row is there follows from how often each side has it.  So both sides are united, marked, grouped by all columns and
 * counted, and the counts decide:
 *
 *     INTERSECT       left > 0 and right > 0         EXCEPT       left > 0 and right = 0
 *     INTERSECT ALL   least(left, right) times       EXCEPT ALL   left - right times
 *
 * which are operators that have rules already.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "delta/delta_internal.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"

#define COUNT_OF(side) "pg_catalog.count(*) FILTER (WHERE side OPERATOR(pg_catalog.=) " side ")"

/* SELECT all columns as c1 ..., and the number of the side. */
static Query *
marked(Query *arm, int side)
{
	Query	   *query = pgs_select_from(pgs_subquery_item(arm, "arm"));
	ListCell   *lc;

	query->targetList = pgs_vars_of(arm->targetList);
	foreach(lc, query->targetList)
		lfirst_node(TargetEntry, lc)->resname = psprintf("c%d", foreach_current_index(lc) + 1);
	query->targetList = lappend(query->targetList,
								pgs_target((Expr *) makeConst(INT4OID, -1, InvalidOid, sizeof(int32), Int32GetDatum(side),
															  false, true),
										   list_length(query->targetList) + 1, "side"));
	return query;
}

/* The rows of "left INTERSECT right" or "left EXCEPT right", whose columns have the same types, by other means. */
Query *
pgs_intersect_as_counts(SetOperation op, bool all, Query *left, Query *right)
{
	Query	   *both = pgs_delta_union_all(list_make2(marked(left, 1), marked(right, 2)));
	StringInfoData columns;
	const char *sql;
	int			n = list_length(both->targetList) - 1;

	initStringInfo(&columns);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&columns, "%sc%d", i > 1 ? ", " : "", i);
	if (all)
		sql = psprintf("SELECT %s FROM (SELECT %s, " COUNT_OF("1") " AS l, " COUNT_OF("2") " AS r FROM d GROUP BY %s) q, "
					   "pg_catalog.generate_series(1::pg_catalog.int8, %s)",
					   columns.data, columns.data, columns.data,
					   op == SETOP_EXCEPT ? "l OPERATOR(pg_catalog.-) r" : "LEAST(l, r)");
	else
		sql = psprintf("SELECT %s FROM d GROUP BY %s HAVING " COUNT_OF("1") " OPERATOR(pg_catalog.>) 0 AND "
					   COUNT_OF("2") " OPERATOR(pg_catalog.%s) 0",
					   columns.data, columns.data, op == SETOP_EXCEPT ? "=" : ">");
	return pgs_delta_parse(sql, both, NULL);
}
