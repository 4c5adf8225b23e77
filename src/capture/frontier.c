/*
 * frontier.c - which changes has a stream table seen?
 *
 * MVCC itself is the frontier: the snapshot of the last refresh, its own transaction and command.  A change is consumed if
 * its transaction is visible in that snapshot, or is that very transaction and made it by an older command.
 *
 * A frontier is worth nothing where the changes are other ones: in a database restored from a dump, whose transaction ids
 * begin anew.  So it carries its home, the cluster and the catalog that it was taken in.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "capture/capture_internal.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

/* The cluster and catalog in which changes and frontiers of this database mean something. */
char *
pgs_capture_home(void)
{
	return psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), pgs_catalog_relid(PGS_CATALOG_STREAM));
}

bool
pgs_capture_has_frontier(const PgsStream *stream)
{
	return stream->populated && stream->frontier != (Datum) 0 && stream->frontier_home != NULL &&
		strcmp(stream->frontier_home, pgs_capture_home()) == 0;
}

/* Note the frontier of a refresh; 0 if its sources were not captured, so that the next one computes again. */
void
pgs_capture_set_frontier(PgsStream *stream, Datum snapshot, int64 cid)
{
	stream->frontier = snapshot;
	stream->frontier_cid = cid;
	stream->frontier_home = snapshot ? pgs_capture_home() : NULL;
	stream->frontier_time = GetCurrentTransactionStartTimestamp();
}

/* A frontier taken apart, as it is asked for each pack of a buffer. */
static PgsFrontier
open_frontier(const PgsStream *stream)
{
	return (PgsFrontier)
	{
		.snapshot = stream->frontier,
		.xmin = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmin, stream->frontier)),
		.xmax = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmax, stream->frontier)),
		.own = stream->refresh_xid,
		.own_cid = stream->frontier_cid
	};
}

/* Whether a change is consumed. */
bool
pgs_frontier_consumed(PgsFrontier *f, FullTransactionId xid, int64 cid)
{
	if (FullTransactionIdEquals(xid, f->own))
		return cid < f->own_cid;
	if (FullTransactionIdPrecedes(xid, f->xmin))
		return true;
	if (FullTransactionIdFollowsOrEquals(xid, f->xmax))
		return false;
	if (!FullTransactionIdEquals(xid, f->asked))
	{
		f->answer = DatumGetBool(DirectFunctionCall2(pg_visible_in_snapshot, FullTransactionIdGetDatum(xid),
													 f->snapshot));
		f->asked = xid;
	}
	return f->answer;
}

/* ---- marks ---- */

/* Whether a mark tells of something that a stream table depends on; "code": -1, or what was found out about that. */
static bool
concerns(const PgsStream *stream, const List *sources, Oid relid, char kind, int *code)
{
	if (kind == PGS_MARK_CODE)
	{
		if (*code < 0)
			*code = pgs_query_uses_code(stream->viewid, sources);
		return *code;
	}
	/* rows of its own are written by its own refreshes; DDL on it (a disabled guard) is another matter */
	return relid == InvalidOid || list_member_oid(sources, relid) || (relid == stream->relid && kind == PGS_MARK_DDL);
}

/* Whether a mark that isn't consumed concerns a stream table. */
static bool
has_marks(const PgsStream *stream, const List *sources, PgsFrontier *f)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), AccessShareLock);
	TableScanDesc scan;
	TupleTableSlot *slot;
	bool		found = false;
	int			code = -1;

	if (RelationGetNumberOfBlocks(rel) > 0)
	{
		scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
		slot = table_slot_create(rel, NULL);
		while (!found && table_scan_getnextslot(scan, ForwardScanDirection, slot))
		{
			slot_getallattrs(slot);
			found = !pgs_frontier_consumed(f, DatumGetFullTransactionId(slot->tts_values[Anum_change_xid - 1]),
								 DatumGetInt64(slot->tts_values[Anum_change_cid - 1])) &&
				concerns(stream, sources, DatumGetObjectId(slot->tts_values[Anum_change_relid - 1]),
						 DatumGetChar(slot->tts_values[Anum_change_kind - 1]), &code);
		}
		ExecDropSingleTupleTableSlot(slot);
		table_endscan(scan);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/* ---- rows ---- */

/*
 * What has changed for a stream table since its frontier.  The caller has made sure, before it took the active snapshot, that
 * all of its sources are captured, and holds locks on them and their buffers.
 *
 * For PGS_CHANGES_ROWS, "deltas" is a list of PgsDelta, one for each source that has changed; else "reason" may say why the
 * rows are not known.
 */
PgsChanges
pgs_capture_changes(const PgsStream *stream, Query *query, const List *sources, List **deltas, const char **reason)
{
	PgsFrontier	f;
	ListCell   *lc;

	*deltas = NIL;
	*reason = NULL;
	if (!pgs_capture_has_frontier(stream))
	{
		*reason = "the last refresh left no frontier";
		return PGS_CHANGES_ANY;
	}
	f = open_frontier(stream);
	if (has_marks(stream, sources, &f))
	{
		*reason = "a source was truncated or altered, or a definition changed";
		return PGS_CHANGES_ANY;
	}
	foreach(lc, sources)
	{
		PgsSource	source;
		PgsDelta   *delta;

		if (!pgs_source_get(lfirst_oid(lc), &source))
			return PGS_CHANGES_ANY;
		delta = pgs_delta_for_columns(lfirst_oid(lc), pgs_query_columns_used(query, lfirst_oid(lc)));
		for (int i = 0; i < lengthof(source.buffers); i++)
			if (!pgs_gather_segment(source.buffers[i], &f, delta))
			{
				*reason = "a column is not captured yet";
				return PGS_CHANGES_ANY;
			}
		if (delta->rows > 0)
			*deltas = lappend(*deltas, delta);
		else
			tuplestore_end(delta->store);
	}
	return *deltas ? PGS_CHANGES_ROWS : PGS_CHANGES_NONE;
}
