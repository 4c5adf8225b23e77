/*
 * verify.c - is a stream table its query?  The oracle, in one snapshot; and a look at the query without running it
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "refresh/refresh_internal.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define COUNTS "SELECT COALESCE(sum(weight) FILTER (WHERE weight > 0), 0)::pg_catalog.int8, " \
	"COALESCE(-sum(weight) FILTER (WHERE weight < 0), 0)::pg_catalog.int8 FROM (%s) d"

/* One row of int8 columns from a read-only query under the active snapshot. */
static void
fetch_int8s(const char *sql, int n, int64 *result)
{
	SPI_connect();
	if (SPI_execute(sql, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not execute \"%s\"", sql);
	for (int i = 0; i < n && SPI_processed == 1; i++)
	{
		bool		isnull;

		result[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	}
	SPI_finish();
}

/* Whether the result of the query is open in its images, for groups of values that are equal and look different. */
static bool
is_open(const PgsStream *stream)
{
	PgsIncrement *inc = pgs_delta_analyze(pgs_query_of_view(stream->viewid), stream->id);

	return !inc->obstacle && pgs_delta_is_open(inc);
}

/*
 * Count the rows that a stream table lacks and those that it has too many, by image and with multiplicity;
 * by value where that is all that SQL says of the result.  Runs the whole query as the owner; the caller has made sure that the definition is there.
 */
void
pgs_refresh_verify(const PgsStream *stream, int64 *missing, int64 *unexpected)
{
	Relation	rel = table_open(stream->relid, AccessShareLock);
	PgsIdentity saved;
	int64		counts[2] = {0, 0};
	char	   *sql;

	pgs_identity_assume(&saved, rel->rd_rel->relowner, stream->settings);
	sql = psprintf(COUNTS, pgs_diff_sum_sql_then(stream, rel));
	PushActiveSnapshot(GetTransactionSnapshot());
	fetch_int8s(sql, lengthof(counts), counts);
	if (counts[0] + counts[1] > 0 && is_open(stream))
		fetch_int8s(psprintf(COUNTS, pgs_diff_values_sql(stream, rel)), lengthof(counts), counts);
	PopActiveSnapshot();
	pgs_identity_restore(&saved);
	table_close(rel, NoLock);
	*missing = counts[0];
	*unexpected = counts[1];
}

/*
 * Start the query without fetching a row: raises what a refresh would, such as a missing right on a source.
 */
void
pgs_refresh_probe(const PgsStream *stream)
{
	Relation	rel = table_open(stream->relid, AccessShareLock);
	PgsIdentity saved;
	char	   *view = quote_qualified_identifier(get_namespace_name(get_rel_namespace(stream->viewid)),
												  get_rel_name(stream->viewid));

	pgs_identity_assume(&saved, rel->rd_rel->relowner, stream->settings);
	PushActiveSnapshot(GetTransactionSnapshot());
	fetch_int8s(psprintf("SELECT FROM %s LIMIT 0", view), 0, NULL);
	PopActiveSnapshot();
	pgs_identity_restore(&saved);
	table_close(rel, NoLock);
}

/*
 * The plan of a stream table's query as the owner would run it now: a list of char *, one for each line.
 */
List *
pgs_refresh_plan(const PgsStream *stream)
{
	Relation	rel = table_open(stream->relid, AccessShareLock);
	MemoryContext caller = CurrentMemoryContext;
	List	   *lines = NIL;
	PgsIdentity saved;

	pgs_identity_assume(&saved, rel->rd_rel->relowner, stream->settings);
	SPI_connect();
	if (SPI_execute(psprintf("EXPLAIN %s", pgs_diff_sum_sql(stream, rel, NULL)), false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not explain the query of \"%s\"", RelationGetRelationName(rel));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		lines = lappend(lines, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	pgs_identity_restore(&saved);
	table_close(rel, NoLock);
	return lines;
}
