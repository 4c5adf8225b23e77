/*
 * refresh.c - the protocol of one refresh
 *
 *   0. the catalogs                                     DROP EXTENSION is over, or waits for us
 *   1. refresh locks of all tables of the group, by id      nobody else refreshes, alters or verifies them
 *   2. relation locks: stream table, sources and their      DDL is over, and no buffer is emptied, before the
 *      change buffers, view                                 snapshot is taken
 *   3. one snapshot for the whole group
 *   4. deltas, difference or load, table by table in DAG order   a table sees what its upstreams just wrote
 *   5. catalog rows and history, last                       no relation lock is wanted after a row lock
 *
 * Lock first, snapshot second: a snapshot taken before the wait would miss what the holder committed, and undo it.
 * Where the transaction's snapshot is older by its isolation level, the refresh is refused with 40001.
 *
 * Sources are locked before the view, and the stream table before both, because DROP ... CASCADE takes them in that
 * order; and rows of the catalog last, because the event trigger of such a DROP wants them while it holds the rest.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "compat.h"
#include "miscadmin.h"
#include "module.h"
#include "query/query.h"
#include "refresh/refresh_internal.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

/*
 * Take the refresh lock of a stream table until the end of the transaction.  It is an object lock on the catalog's
 * row, so it conflicts with nothing but another refresh (or alter, drop, upsert) of the same table: no reader, writer
 * or DDL of the user ever meets it.  False if it is held and "wait" is PGS_NOWAIT.
 */
bool
pgs_refresh_lock(Oid relid, PgsWait wait)
{
	Oid			catalog = pgs_catalog_relid(PGS_CATALOG_STREAM);

	if (wait == PGS_NOWAIT)
		return pgs_lock_object_at_once(catalog, relid, 0, ExclusiveLock);
	LockDatabaseObject(catalog, relid, 0, ExclusiveLock);
	return true;
}

static bool
lock_relation(Oid relid, LOCKMODE mode, PgsWait wait)
{
	if (wait == PGS_NOWAIT)
		return ConditionalLockRelationOid(relid, mode);
	LockRelationOid(relid, mode);
	return true;
}

/* From before the snapshot to the commit: a segment must not be emptied of what our frontier will call unseen. */
static bool
lock_buffer(Oid relid, PgsWait wait)
{
	PgsSource	source;

	if (!pgs_source_get(relid, &source))
		return true;
	for (int i = 0; i < lengthof(source.buffers); i++)
		if (!lock_relation(source.buffers[i], AccessShareLock, wait))
			return false;
	return true;
}

/*
 * Lock what a refresh reads and writes.  False if a lock is held by DDL and we don't wait: then the table is left for
 * the next time.  A source that is gone by now shows up as a missing view when the catalog row is read again.
 */
bool
pgs_refresh_lock_relations(const PgsStream *stream, PgsWait wait)
{
	ListCell   *lc;

	if (!lock_relation(stream->relid, RowExclusiveLock, wait))
		return false;
	if (!OidIsValid(stream->viewid))
		return true;
	foreach(lc, pgs_query_sources(stream->viewid))
	{
		if (!lock_relation(lfirst_oid(lc), AccessShareLock, wait))
			return false;
		/* partitions and children: their rows move by DDL of their own */
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(lc))) && has_subclass(lfirst_oid(lc)))
		{
			ListCell   *child;

			foreach(child, find_all_inheritors(lfirst_oid(lc), NoLock, NULL))
				if (!lock_relation(lfirst_oid(child), AccessShareLock, wait))
					return false;
		}
		if (!lock_buffer(lfirst_oid(lc), wait))
			return false;
	}
	return lock_relation(stream->viewid, AccessShareLock, wait);
}

static void
refuse_without_query(const PgsStream *stream)
{
	if (!OidIsValid(stream->viewid) || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(stream->viewid)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream table \"%s\" cannot be refreshed: its query has lost a source",
						get_rel_name(stream->relid)),
				 stream->last_error ? errdetail("%s", stream->last_error) : 0,
				 errhint("Re-create the source, then run dbt again, or give the query anew with "
						 PGS_SCHEMA ".alter_stream_table.")));
}

/* A refresh under a snapshot that doesn't see the last one would bring back older rows. */
static void
refuse_old_snapshot(const PgsStream *stream, Snapshot snapshot)
{
	FullTransactionId last = stream->refresh_xid;

	if (!IsolationUsesXactSnapshot() || !FullTransactionIdIsValid(last) ||
		FullTransactionIdEquals(last, GetTopFullTransactionIdIfAny()))
		return;
	/* so old that its 32 bits may have been used again: visible to everyone */
	if (U64FromFullTransactionId(ReadNextFullTransactionId()) - U64FromFullTransactionId(last) > PG_INT32_MAX / 2)
		return;
	if (XidInMVCCSnapshot(XidFromFullTransactionId(last), snapshot))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not refresh stream table \"%s\": it was refreshed after this transaction's snapshot",
						get_rel_name(stream->relid)),
				 errhint("Retry the transaction, or use READ COMMITTED.")));
}

/* The next step, and what reads from this table, must see what was written. */
static void
show_writes(void)
{
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
}

static void
write_difference(const PgsStream *stream, Relation rel, const PgsDiffScope *scope, PgsRowCounts *rows)
{
	TupleDesc	desc;
	Tuplestorestate *diff = pgs_diff_run(stream, rel, scope, &desc);

	pgs_apply_run(rel, diff, desc, rows);
	show_writes();
}

/* Follow known changes of the sources; false if that can't be done, or would cost more than computing the whole. */
static bool
follow_changes(const PgsStream *stream, Relation rel, Query *query, PgsIncrement *inc, List *deltas,
			   PgsRefreshResult *result)
{
	List	   *scopes;
	ListCell   *lc;

	if (!inc->obstacle)
		return pgs_incremental_run(stream, rel, inc, deltas, result);
	if (inc->clock)
	{
		result->reason = psprintf("no rule for %s, and the query depends on the clock", inc->obstacle);
		return false;
	}
	if (!pgs_scope_find(stream, query, deltas, &scopes))
	{
		result->reason = psprintf("no rule for %s, and no key of the result tells what the change has touched",
								  inc->obstacle);
		return false;
	}
	result->action = "DIFFERENTIAL";
	foreach(lc, scopes)
		write_difference(stream, rel, lfirst(lc), &result->rows);
	return true;
}

/* One way to compute the whole. */
typedef struct
{
	const PgsStream *stream;
	Relation	rel;
	Query	   *query;
	PgsIncrement *inc;			/* through states that are filled on the way; NULL: from the view */
	PgsRefreshResult *result;
} Whole;

static void
compute(void *arg)
{
	Whole	   *w = arg;
	bool		load = pgs_load_possible(w->rel);
	PgsIncrement *inc = w->inc ? pgs_incremental_fill(w->stream, w->query, w->inc) : NULL;
	TupleDesc	desc;

	w->result->action = load ? "INITIAL" : "FULL";
	if (load)
		w->result->rows.inserted = pgs_load_run(w->stream, w->rel, inc ? inc->output : NULL);
	else if (inc)
	{
		Tuplestorestate *diff = pgs_execute_collect(pgs_execute_plan(pgs_diff_query(w->stream, w->rel, inc->output)), NIL, &desc);

		pgs_apply_run(w->rel, diff, desc, &w->result->rows);
	}
	else
		write_difference(w->stream, w->rel, NULL, &w->result->rows);
	show_writes();
	if (load && w->result->rows.inserted > 0)
		pgs_capture_mark(w->stream->relid, PGS_MARK_ROWS);
}

/*
 * Compute the whole: where changes are to be followed from now on ("inc"), through states.  False: there are none, or they can't be filled, as
 * a part of the query computed by itself raised an error.
 */
static bool
compute_whole(const PgsStream *stream, Relation rel, Query *query, PgsIncrement *inc, PgsRefreshResult *result)
{
	Whole		w = {.stream = stream,.rel = rel,.query = query,.inc = inc,.result = result};
	PgsRowCounts before = result->rows;

	if (inc)
	{
		ErrorData  *error = pgs_attempt(compute, &w);

		if (!error)
			return true;
		w.inc = NULL;
		result->rows = before;
		result->reason = psprintf("computed as it is written, as a part computed by itself failed: %s", error->message);
	}
	compute(&w);
	return false;
}

/* Write what differs under the active snapshot; "captured": changes can be followed from now on. */
static void
write_table(const PgsStream *stream, Query *query, bool captured, PgsChanges changes, List *deltas,
			PgsRefreshResult *result)
{
	Relation	rel = table_open(stream->relid, RowExclusiveLock);
	PgsIncrement *inc;
	PgsIdentity saved;
	bool		followed;

	pgs_identity_assume(&saved, rel->rd_rel->relowner, stream->settings);
	inc = captured ? pgs_delta_analyze(query, stream->id) : NULL;
	followed = changes == PGS_CHANGES_ROWS && follow_changes(stream, rel, query, inc, deltas, result);
	if (!followed || pgs_relative_met())
	{
		/* what the changes have made of it is to be seen; and what they have met may be gone */
		show_writes();
		(void) pgs_relative_reset(false);
		followed = compute_whole(stream, rel, query, inc && !inc->obstacle ? inc : NULL, result);
	}
	pgs_identity_restore(&saved);
	table_close(rel, NoLock);
	if (inc && !inc->obstacle && followed)
		pgs_locate_make_index(stream);
	else if (inc)
		pgs_state_drop(stream->id, 1);	/* nobody has kept them up to date */
	if (result->rows.inserted + result->rows.updated + result->rows.deleted == 0 &&
		strcmp(result->action, "INITIAL") != 0)
		result->action = "NO_DATA";
	show_writes();
}

/* Bring one table up to date; "captured": change buffers tell of every change of its sources, since before the snapshot. */
static void
refresh_table(const PgsStream *stream, bool captured, PgsRefreshResult *result)
{
	PgsChanges	changes = PGS_CHANGES_ANY;
	List	   *deltas = NIL;
	Query	   *query;
	bool		met;

	refuse_without_query(stream);
	refuse_old_snapshot(stream, GetActiveSnapshot());
	query = pgs_query_of_view(stream->viewid);
	if (captured)
	{
		/* what upstreams wrote in this very refresh counts, so look now */
		result->frontier = OidFunctionCall0(F_PG_CURRENT_SNAPSHOT);
		result->frontier_cid = GetActiveSnapshot()->curcid;
		changes = pgs_capture_changes(stream, query, pgs_query_sources(stream->viewid), &deltas, &result->reason);
	}
	if (changes != PGS_CHANGES_ANY && pgs_delta_reads_clock(query) &&
		stream->frontier_time != GetCurrentTransactionStartTimestamp())
	{
		deltas = lappend(deltas, pgs_delta_of_clock(stream->frontier_time));
		changes = PGS_CHANGES_ROWS;
	}
	if (changes == PGS_CHANGES_NONE)
	{
		result->action = "NO_DATA";
		return;
	}
	met = pgs_relative_reset(false);
	write_table(stream, query, captured, changes, deltas, result);
	if (pgs_relative_met())
	{
		result->frontier = (Datum) 0;
		result->reason = "a text that is cast to a date or time says 'now', 'today' or the like: each refresh computes the whole";
	}
	(void) pgs_relative_reset(met);
}

/* One table of a group. */
typedef struct
{
	const PgsStream *stream;
	bool		captured;
	PgsRefreshResult *result;
} Table;

static void
refresh_step(void *arg)
{
	Table	   *t = arg;

	refresh_table(t->stream, t->captured, t->result);
}

/* The same inside a subtransaction, an error being a part of the result. */
static void
try_refresh_table(const PgsStream *stream, bool captured, PgsRefreshResult *result)
{
	Table		t = {.stream = stream,.captured = captured,.result = result};

	result->error = pgs_in_subtransaction(refresh_step, &t);
	if (!result->error)
		return;
	memset(&result->rows, 0, sizeof(result->rows));
	/* what ends the whole transaction is not a failure of this table */
	if (result->error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		result->error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(result->error);
}

static void
record_success(PgsRefreshResult *result, const char *initiated_by)
{
	PgsStream  *stream = pgs_stream_lock(result->relid, true);
	bool		idle;

	if (!stream)
		return;					/* dropped since, by ourselves */
	/* of a run of scheduled refreshes that found nothing to do, the history keeps the first */
	idle = strcmp(initiated_by, "SCHEDULER") == 0 && strcmp(result->action, "NO_DATA") == 0 &&
		stream->last_action && strcmp(stream->last_action, "NO_DATA") == 0;
	if (stream->status != PGS_STATUS_PAUSED)
		stream->status = PGS_STATUS_ACTIVE;
	stream->populated = true;
	stream->last_refresh_at = result->as_of;
	stream->refresh_xid = GetTopFullTransactionId();
	pgs_capture_set_frontier(stream, result->frontier, result->frontier_cid);
	stream->errors = 0;
	stream->last_error = NULL;
	stream->retry_at = 0;
	stream->total_refreshes++;
	stream->rows_inserted += result->rows.inserted;
	stream->rows_updated += result->rows.updated;
	stream->rows_deleted += result->rows.deleted;
	stream->total_ms += (GetCurrentTimestamp() - result->start) / 1000.0;
	stream->last_action = unconstify(char *, result->action);
	pgs_stream_store(stream);
	pgs_stream_link(stream->relid);
	if (!idle)
		pgs_history_add(stream->id, result->start, result->action, "COMPLETED", result->rows.inserted,
						result->rows.updated, result->rows.deleted, initiated_by, NULL, result->reason);
}

/* Time of the next try after "errors" failures in a row: exponential, within the settings. */
static TimestampTz
back_off(int errors)
{
	double		ms = pgs_retry_base;

	for (int i = 1; i < errors && ms < pgs_retry_max; i++)
		ms *= 2;
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) Min(ms, pgs_retry_max));
}

/*
 * Record a failed refresh: count it, back off, suspend after dbt_pgstream.max_consecutive_errors.
 */
void
pgs_refresh_record_failure(Oid relid, TimestampTz start, ErrorData *error, const char *initiated_by)
{
	PgsStream  *stream = pgs_stream_lock(relid, true);
	char	   *message = error->detail ? psprintf("%s: %s", error->message, error->detail) : error->message;

	if (!stream)
		return;
	stream->errors++;
	/* why a source is missing was noted when it went; keep that */
	if (OidIsValid(stream->viewid))
		stream->last_error = message;
	stream->retry_at = back_off(stream->errors);
	if (stream->status != PGS_STATUS_PAUSED)
		stream->status = pgs_max_consecutive_errors > 0 && stream->errors >= pgs_max_consecutive_errors ?
			PGS_STATUS_SUSPENDED : PGS_STATUS_ERROR;
	pgs_stream_store(stream);
	pgs_history_add(stream->id, start, "FULL", "FAILED", 0, 0, 0, initiated_by, message, NULL);
}

static int
compare_ids(const ListCell *a, const ListCell *b)
{
	int64		x = ((PgsStream *) lfirst(a))->id;
	int64		y = ((PgsStream *) lfirst(b))->id;

	return (x > y) - (x < y);
}

/* Whether buffers tell of every change of a stream table's sources; those that have just come are locked like the others. */
static bool
is_captured(const PgsStream *stream, PgsWait wait)
{
	List	   *sources;
	ListCell   *lc;

	if (!OidIsValid(stream->viewid))
		return false;
	sources = pgs_query_sources(stream->viewid);
	if (pgs_capture_obstacle(stream, sources))
		return false;
	foreach(lc, sources)
		if (!lock_buffer(lfirst_oid(lc), wait))
			return false;
	return true;
}

/*
 * Lock a group; returns the relids that are ours now (all of them, if we wait), in no order.  "captured" are those whose
 * sources all leave marks: to be known before the snapshot is taken, or a writer between the two would be missed.
 */
static List *
lock_group(List *relids, PgsWait wait, bool missing_ok, List **captured)
{
	List	   *streams = NIL;
	List	   *locked = NIL;
	ListCell   *lc;

	foreach(lc, relids)
	{
		PgsStream  *stream = pgs_stream_get(lfirst_oid(lc), missing_ok);

		if (stream)
			streams = lappend(streams, stream);
	}
	list_sort(streams, compare_ids);
	foreach(lc, streams)
	{
		PgsStream  *stream = lfirst(lc);

		if (pgs_refresh_lock(stream->relid, wait))
			locked = lappend_oid(locked, stream->relid);
	}
	streams = locked;
	locked = NIL;
	foreach(lc, streams)
	{
		PgsStream  *stream = pgs_stream_get(lfirst_oid(lc), missing_ok);

		if (!stream || !pgs_refresh_lock_relations(stream, wait))
			continue;
		/* while we waited, it or a source may have gone */
		stream = pgs_stream_get(lfirst_oid(lc), missing_ok);
		if (!stream)
			continue;
		locked = lappend_oid(locked, stream->relid);
		if (is_captured(stream, wait))
			*captured = lappend_oid(*captured, stream->relid);
	}
	return locked;
}

/*
 * Refresh several stream tables, given in DAG order, under one snapshot in the current transaction.
 *
 * With PGS_NOWAIT, tables whose locks are held are left out.  With catch_errors, each table is a subtransaction, and
 * failures are recorded and returned instead of raised.  Returns a list of PgsRefreshResult.
 */
List *
pgs_refresh_group(List *relids, PgsWait wait, bool catch_errors, const char *initiated_by)
{
	List	   *results = NIL;
	List	   *locked;
	List	   *captured = NIL;
	TimestampTz as_of;
	ListCell   *lc;

	if (!pgs_catalog_lock(wait == PGS_WAIT))
		return NIL;
	/* of several tables, one that was dropped meanwhile is just not there any more */
	locked = lock_group(relids, wait, catch_errors, &captured);

	/* our own earlier writes of this transaction belong to the state that is computed */
	CommandCounterIncrement();
	AcceptInvalidationMessages();
	PushCopiedSnapshot(GetTransactionSnapshot());
	pgs_capture_new_frontier();
	/* a snapshot kept by the isolation level is as old as its transaction */
	as_of = IsolationUsesXactSnapshot() ? GetCurrentTransactionStartTimestamp() : GetCurrentTimestamp();
	foreach(lc, relids)
	{
		PgsRefreshResult *result;
		PgsStream  *stream;

		if (!list_member_oid(locked, lfirst_oid(lc)))
			continue;
		stream = pgs_stream_get(lfirst_oid(lc), catch_errors);
		if (!stream)
			continue;
		result = palloc0(sizeof(PgsRefreshResult));
		result->relid = stream->relid;
		result->start = GetCurrentTimestamp();
		result->as_of = as_of;
		if (catch_errors)
			try_refresh_table(stream, list_member_oid(captured, stream->relid), result);
		else
			refresh_table(stream, list_member_oid(captured, stream->relid), result);
		results = lappend(results, result);
	}
	PopActiveSnapshot();
	foreach(lc, results)
	{
		PgsRefreshResult *result = lfirst(lc);

		if (result->error)
			pgs_refresh_record_failure(result->relid, result->start, result->error, initiated_by);
		else
			record_success(result, initiated_by);
	}
	return results;
}

/* Refresh one stream table, waiting for its locks; errors are raised. */
void
pgs_refresh_one(Oid relid, const char *initiated_by, PgsRefreshResult *result)
{
	List	   *results = pgs_refresh_group(list_make1_oid(relid), PGS_WAIT, false, initiated_by);

	if (result)
		*result = *(PgsRefreshResult *) linitial(results);
}
