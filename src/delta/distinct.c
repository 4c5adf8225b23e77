/*
 * distinct.c - DISTINCT: how many times each row is there
 *
 * The groups of all columns, with their number of rows; a row is in the result while that is not 0.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/typcache.h"

/* Cut SELECT DISTINCT; the query is linear otherwise. */
Query *
pgs_cut_distinct(PgsCut *cut, Query *query)
{
	PgsBlock   *block = pgs_cut_new_block(PGS_BLOCK_DISTINCT, "DISTINCT");
	List	   *targets = NIL;
	List	   *kept = NIL;
	StringInfoData sql;
	ListCell   *lc;

	query->distinctClause = NIL;
	initStringInfo(&sql);
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Expr	   *expr = tle->expr;
		Oid			type = exprType((Node *) expr);

		if (tle->resjunk)
			continue;
		if (!pgs_cut_add_key(cut, block, expr, lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr))
			return NULL;
		targets = lappend(targets, pgs_target((Expr *) pgs_state_var(block, 1, Anum_state_hash + block->nkeys),
											  tle->resno, tle->resname));
		kept = lappend(kept, pgs_target(expr, block->nkeys, psprintf("k%d", block->nkeys)));
		appendStringInfo(&sql, "%sk%d", block->nkeys > 1 ? ", " : "", block->nkeys);
	}
	query->targetList = kept;
	block->input = query;
	block->groups = pgs_delta_parse(psprintf("SELECT %s, pg_catalog.count(*) AS n FROM d GROUP BY %s", sql.data, sql.data),
									query, NULL);
	pgs_flatten_groups(block->groups);
	pgs_cut_add_column(block, "n", INT8OID, -1, InvalidOid);
	block->rows = list_length(block->columns);
	block = pgs_cut_finish_block(cut, block);
	return block ? pgs_cut_state_query(block, targets, NULL) : NULL;
}
