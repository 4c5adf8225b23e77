/*
 * stream.c - one row per stream table of the builtin engine
 *
 * Writers lock the row first (pgs_stream_lock waits for whoever holds it and returns the newest version), change the
 * struct, and store it.  So a refresh that records its end and an ALTER that pauses the same table serialize on the
 * row alone, never with "tuple concurrently updated".  A refresh takes these row locks last, when it needs no further
 * relation lock: DDL that already holds a source exclusively may wait for such a row without a deadlock.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pgs_catalog.h"
#include "catalog/indexing.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

enum
{
	Anum_pgs_id = 1, Anum_relid, Anum_viewid, Anum_user_query, Anum_query_sql, Anum_schedule, Anum_mode, Anum_status,
	Anum_populated, Anum_last_refresh_at, Anum_refresh_xid, Anum_errors, Anum_last_error, Anum_retry_at,
	Anum_settings, Anum_key, Anum_total_refreshes, Anum_rows_inserted, Anum_rows_updated, Anum_rows_deleted,
	Anum_total_ms, Anum_last_action, Anum_created_at, Anum_data_only, Anum_frontier, Anum_frontier_cid,
	Anum_frontier_home, Anum_frontier_time, Natts_stream = Anum_frontier_time
};

static const char *const mode_names[] = {"DIFFERENTIAL", "FULL", "AUTO", "IMMEDIATE"};
static const char *const status_names[] = {"INITIALIZING", "ACTIVE", "PAUSED", "SUSPENDED", "ERROR"};

PgsMode
pgs_mode_parse(const char *text)
{
	for (int i = 0; i < lengthof(mode_names); i++)
		if (pg_strcasecmp(text, mode_names[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown refresh mode \"%s\"", text),
			 errhint("Use DIFFERENTIAL, FULL, AUTO or IMMEDIATE.")));
}

const char *
pgs_mode_name(PgsMode mode)
{
	return mode_names[mode];
}

PgsStatus
pgs_status_parse(const char *text)
{
	for (int i = 0; i < lengthof(status_names); i++)
		if (pg_strcasecmp(text, status_names[i]) == 0)
			return i;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown status \"%s\"", text),
			 errhint("Use ACTIVE to run or resume the stream table, PAUSED to stop its schedule.")));
}

const char *
pgs_status_name(PgsStatus status)
{
	return status_names[status];
}

static char *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

static List *
key_from_array(Datum value, bool isnull)
{
	List	   *key = NIL;

	if (!isnull)
	{
		Datum	   *elems;
		int			n;

		deconstruct_array(DatumGetArrayTypeP(value), INT2OID, 2, true, TYPALIGN_SHORT, &elems, NULL, &n);
		for (int i = 0; i < n; i++)
			key = lappend_int(key, DatumGetInt16(elems[i]));
	}
	return key;
}

static PgsStream *
stream_from_tuple(HeapTuple tuple, TupleDesc desc)
{
	PgsStream  *s = palloc0(sizeof(PgsStream));
	Datum		v[Natts_stream];
	bool		null[Natts_stream];

	heap_deform_tuple(tuple, desc, v, null);
#define VAL(a) v[Anum_##a - 1]
#define NUL(a) null[Anum_##a - 1]
	s->id = DatumGetInt64(VAL(pgs_id));
	s->relid = DatumGetObjectId(VAL(relid));
	s->viewid = NUL(viewid) ? InvalidOid : DatumGetObjectId(VAL(viewid));
	s->user_query = TextDatumGetCString(VAL(user_query));
	s->query_sql = TextDatumGetCString(VAL(query_sql));
	s->schedule = text_or_null(VAL(schedule), NUL(schedule));
	s->mode = pgs_mode_parse(TextDatumGetCString(VAL(mode)));
	s->status = pgs_status_parse(TextDatumGetCString(VAL(status)));
	s->populated = DatumGetBool(VAL(populated));
	s->last_refresh_at = NUL(last_refresh_at) ? 0 : DatumGetTimestampTz(VAL(last_refresh_at));
	s->refresh_xid = NUL(refresh_xid) ? InvalidFullTransactionId : DatumGetFullTransactionId(VAL(refresh_xid));
	s->errors = DatumGetInt32(VAL(errors));
	s->last_error = text_or_null(VAL(last_error), NUL(last_error));
	s->retry_at = NUL(retry_at) ? 0 : DatumGetTimestampTz(VAL(retry_at));
	s->settings = DatumGetArrayTypePCopy(VAL(settings));
	s->key = key_from_array(VAL(key), NUL(key));
	s->total_refreshes = DatumGetInt64(VAL(total_refreshes));
	s->rows_inserted = DatumGetInt64(VAL(rows_inserted));
	s->rows_updated = DatumGetInt64(VAL(rows_updated));
	s->rows_deleted = DatumGetInt64(VAL(rows_deleted));
	s->total_ms = DatumGetFloat8(VAL(total_ms));
	s->last_action = text_or_null(VAL(last_action), NUL(last_action));
	s->created_at = DatumGetTimestampTz(VAL(created_at));
	s->data_only = DatumGetBool(VAL(data_only));
	s->frontier = NUL(frontier) ? (Datum) 0 : PointerGetDatum(PG_DETOAST_DATUM_COPY(VAL(frontier)));
	s->frontier_cid = DatumGetInt64(VAL(frontier_cid));
	s->frontier_home = text_or_null(VAL(frontier_home), NUL(frontier_home));
	s->frontier_time = NUL(frontier_time) ? 0 : DatumGetTimestampTz(VAL(frontier_time));
	return s;
}

static HeapTuple
stream_to_tuple(const PgsStream *s, TupleDesc desc)
{
	Datum		v[Natts_stream] = {0};
	bool		null[Natts_stream] = {0};

#define SET_TEXT(a, value) \
	((value) ? (void) (VAL(a) = CStringGetTextDatum(value)) : (void) (NUL(a) = true))
	VAL(pgs_id) = Int64GetDatum(s->id);
	VAL(relid) = ObjectIdGetDatum(s->relid);
	VAL(viewid) = ObjectIdGetDatum(s->viewid);
	NUL(viewid) = !OidIsValid(s->viewid);
	SET_TEXT(user_query, s->user_query);
	SET_TEXT(query_sql, s->query_sql);
	SET_TEXT(schedule, s->schedule);
	SET_TEXT(mode, mode_names[s->mode]);
	SET_TEXT(status, status_names[s->status]);
	VAL(populated) = BoolGetDatum(s->populated);
	VAL(last_refresh_at) = TimestampTzGetDatum(s->last_refresh_at);
	NUL(last_refresh_at) = s->last_refresh_at == 0;
	VAL(refresh_xid) = FullTransactionIdGetDatum(s->refresh_xid);
	NUL(refresh_xid) = !FullTransactionIdIsValid(s->refresh_xid);
	VAL(errors) = Int32GetDatum(s->errors);
	SET_TEXT(last_error, s->last_error);
	VAL(retry_at) = TimestampTzGetDatum(s->retry_at);
	NUL(retry_at) = s->retry_at == 0;
	VAL(settings) = PointerGetDatum(s->settings);
	if (s->key)
	{
		Datum	   *elems = palloc(sizeof(Datum) * list_length(s->key));
		int			n = 0;
		ListCell   *lc;

		foreach(lc, s->key)
			elems[n++] = Int16GetDatum(lfirst_int(lc));
		VAL(key) = PointerGetDatum(construct_array(elems, n, INT2OID, 2, true, TYPALIGN_SHORT));
	}
	else
		NUL(key) = true;
	VAL(total_refreshes) = Int64GetDatum(s->total_refreshes);
	VAL(rows_inserted) = Int64GetDatum(s->rows_inserted);
	VAL(rows_updated) = Int64GetDatum(s->rows_updated);
	VAL(rows_deleted) = Int64GetDatum(s->rows_deleted);
	VAL(total_ms) = Float8GetDatum(s->total_ms);
	SET_TEXT(last_action, s->last_action);
	VAL(created_at) = TimestampTzGetDatum(s->created_at);
	VAL(data_only) = BoolGetDatum(s->data_only);
	VAL(frontier) = s->frontier;
	NUL(frontier) = s->frontier == (Datum) 0;
	VAL(frontier_cid) = Int64GetDatum(s->frontier_cid);
	SET_TEXT(frontier_home, s->frontier_home);
	VAL(frontier_time) = TimestampTzGetDatum(s->frontier_time);
	NUL(frontier_time) = s->frontier == (Datum) 0;
	return heap_form_tuple(desc, v, null);
}

/* Find the row of a relation; a copy that the caller owns, or NULL. */
static HeapTuple
find_tuple(Relation rel, Oid relid)
{
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_relid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, pgs_catalog_relid(PGS_CATALOG_STREAM_RELID), true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (tuple)
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

static void
report_missing(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the stream table was dropped meanwhile")));
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("\"%s\" is not a stream table", name),
			 errhint("See dbt_pgstream.pgs_stream_tables for the stream tables of this database.")));
}

/*
 * Read one stream table, in the caller's memory context.  No lock on the row: fit for reading only.
 */
PgsStream *
pgs_stream_get(Oid relid, bool missing_ok)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_STREAM), AccessShareLock);
	HeapTuple	tuple = find_tuple(rel, relid);
	PgsStream  *s = tuple ? stream_from_tuple(tuple, RelationGetDescr(rel)) : NULL;

	table_close(rel, AccessShareLock);
	if (!s && !missing_ok)
		report_missing(relid);
	return s;
}

/*
 * Lock the row against other writers until the end of the transaction, and read its newest version.
 *
 * The index finds the version that the catalog snapshot sees; the lock waits for whoever is changing it and follows
 * the update chain to the last version, whatever the isolation level (the engine's own bookkeeping is never subject
 * to the caller's snapshot).  NULL, or an error, if the row is gone by then.
 */
PgsStream *
pgs_stream_lock(Oid relid, bool missing_ok)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_STREAM), RowExclusiveLock);
	HeapTuple	tuple = find_tuple(rel, relid);
	PgsStream  *s = NULL;

	if (tuple)
	{
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
		TM_FailureData tmfd;
		TM_Result	result;

		result = table_tuple_lock(rel, &tuple->t_self, snapshot, slot, GetCurrentCommandId(false),
								  LockTupleNoKeyExclusive, LockWaitBlock,
								  TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &tmfd);
		if (result == TM_Ok)
		{
			bool		should_free;
			HeapTuple	locked = ExecFetchSlotHeapTuple(slot, false, &should_free);

			s = stream_from_tuple(locked, RelationGetDescr(rel));
		}
		else if (result == TM_SelfModified)
			s = stream_from_tuple(tuple, RelationGetDescr(rel));
		else if (result != TM_Deleted)
			elog(ERROR, "could not lock catalog row of relation %u: %d", relid, result);
		UnregisterSnapshot(snapshot);
		ExecDropSingleTupleTableSlot(slot);
	}
	table_close(rel, NoLock);
	if (!s && !missing_ok)
		report_missing(relid);
	return s;
}

/* All stream tables, by id: the order in which several of them are locked. */
List *
pgs_stream_list(void)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_STREAM), AccessShareLock);
	Relation	index = index_open(pgs_catalog_relid(PGS_CATALOG_STREAM_PKEY), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(rel, index, NULL, 0, NULL);
	List	   *result = NIL;
	HeapTuple	tuple;

	while ((tuple = systable_getnext_ordered(scan, ForwardScanDirection)) != NULL)
		result = lappend(result, stream_from_tuple(tuple, RelationGetDescr(rel)));
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(rel, AccessShareLock);
	return result;
}

/* An id for a new stream table. */
int64
pgs_stream_next_id(void)
{
	return nextval_internal(pgs_catalog_relid(PGS_CATALOG_STREAM_ID_SEQ), false);
}

/* Add a row. */
void
pgs_stream_insert(const PgsStream *stream)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_STREAM), RowExclusiveLock);

	CatalogTupleInsert(rel, stream_to_tuple(stream, RelationGetDescr(rel)));
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Write back a struct that pgs_stream_lock returned in this transaction. */
void
pgs_stream_store(const PgsStream *stream)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_STREAM), RowExclusiveLock);
	HeapTuple	old = find_tuple(rel, stream->relid);
	HeapTuple	tuple = stream_to_tuple(stream, RelationGetDescr(rel));

	if (!old)
		elog(ERROR, "catalog row of relation %u is gone", stream->relid);
	tuple->t_self = old->t_self;
	CatalogTupleUpdate(rel, &tuple->t_self, tuple);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* Forget a stream table; the caller has locked its row. */
void
pgs_stream_delete(Oid relid)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_STREAM), RowExclusiveLock);
	HeapTuple	tuple = find_tuple(rel, relid);

	if (tuple)
		CatalogTupleDelete(rel, &tuple->t_self);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}
