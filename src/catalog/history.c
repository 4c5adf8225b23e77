/*
 * history.c - what each refresh did, kept for dbt_pgstream.history_retention
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pgs_catalog.h"
#include "catalog/indexing.h"
#include "commands/sequence.h"
#include "module.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

enum
{
	Anum_refresh_id = 1, Anum_pgs_id, Anum_start, Anum_end, Anum_action, Anum_status, Anum_inserted, Anum_updated,
	Anum_deleted, Anum_duration, Anum_initiated_by, Anum_error, Anum_reason,
	Natts_history = Anum_reason
};

/* how many old entries one refresh may remove: spreads the work, and still removes more than is added */
#define PRUNE_BATCH 16

/* Remove entries of a stream table that are older than a time, "limit" at most (0: all of them). */
static void
prune(Relation rel, int64 stream_id, TimestampTz before, int limit)
{
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	int			removed = 0;

	ScanKeyInit(&key[0], Anum_pgs_id, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(stream_id));
	ScanKeyInit(&key[1], Anum_start, BTLessStrategyNumber, F_TIMESTAMPTZ_LT, TimestampTzGetDatum(before));
	scan = systable_beginscan(rel, pgs_catalog_relid(PGS_CATALOG_HISTORY_TIME), true, NULL, 2, key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		CatalogTupleDelete(rel, &tuple->t_self);
		if (++removed == limit)
			break;
	}
	systable_endscan(scan);
}

/*
 * Record one refresh that ends now.  "start" and the end are wall-clock times; "error" is NULL for a success; "reason" says why
 * the action was the one taken, NULL where that goes without saying.
 * The caller holds the row lock of the stream table, so no two sessions prune the same entries.
 */
void
pgs_history_add(int64 stream_id, TimestampTz start, const char *action, const char *status,
				int64 inserted, int64 updated, int64 deleted, const char *initiated_by, const char *error,
				const char *reason)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_HISTORY), RowExclusiveLock);
	TimestampTz now = GetCurrentTimestamp();
	Datum		v[Natts_history] = {0};
	bool		null[Natts_history] = {0};

	v[Anum_refresh_id - 1] =
		Int64GetDatum(nextval_internal(pgs_catalog_relid(PGS_CATALOG_HISTORY_ID_SEQ), false));
	v[Anum_pgs_id - 1] = Int64GetDatum(stream_id);
	v[Anum_start - 1] = TimestampTzGetDatum(start);
	v[Anum_end - 1] = TimestampTzGetDatum(now);
	v[Anum_action - 1] = CStringGetTextDatum(action);
	v[Anum_status - 1] = CStringGetTextDatum(status);
	v[Anum_inserted - 1] = Int64GetDatum(inserted);
	v[Anum_updated - 1] = Int64GetDatum(updated);
	v[Anum_deleted - 1] = Int64GetDatum(deleted);
	v[Anum_duration - 1] = Float8GetDatum((now - start) / 1000.0);
	v[Anum_initiated_by - 1] = CStringGetTextDatum(initiated_by);
	if (error)
		v[Anum_error - 1] = CStringGetTextDatum(error);
	else
		null[Anum_error - 1] = true;
	if (reason)
		v[Anum_reason - 1] = CStringGetTextDatum(reason);
	else
		null[Anum_reason - 1] = true;
	CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), v, null));
	if (pgs_history_retention >= 0)
		prune(rel, stream_id, now - pgs_history_retention * USECS_PER_HOUR, PRUNE_BATCH);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Remove the whole history of a dropped stream table. */
void
pgs_history_forget(int64 stream_id)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_HISTORY), RowExclusiveLock);

	prune(rel, stream_id, DT_NOEND, 0);
	table_close(rel, NoLock);
}
