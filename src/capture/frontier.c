/*
 * frontier.c - which changes has a stream table seen?
 *
 * MVCC itself is the frontier: the snapshot of the last refresh, its own transaction and command.  A mark is consumed if
 * its transaction is visible in that snapshot, or is that very transaction and made it by an older command.
 *
 * A frontier is worth nothing where the marks are other ones: in a database restored from a dump, whose transaction ids
 * begin anew.  So it carries its home, the cluster and the catalog that it was taken in.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "capture/capture.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

typedef struct
{
	Oid			relid;
	char		kind;
	FullTransactionId xid;
	int64		cid;
} Mark;

/* The cluster and catalog in which marks and frontiers of this database mean something. */
char *
pgs_capture_home(void)
{
	return psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), pgs_catalog_relid(PGS_CATALOG_STREAM));
}

/* All marks that the active snapshot sees. */
List *
pgs_capture_read_marks(void)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), AccessShareLock);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	List	   *result = NIL;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Mark	   *mark = palloc(sizeof(Mark));

		slot_getallattrs(slot);
		mark->relid = DatumGetObjectId(slot->tts_values[0]);
		mark->kind = DatumGetChar(slot->tts_values[1]);
		mark->xid = DatumGetFullTransactionId(slot->tts_values[2]);
		mark->cid = DatumGetInt64(slot->tts_values[3]);
		result = lappend(result, mark);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static bool
is_consumed(const PgsStream *stream, const Mark *mark)
{
	if (FullTransactionIdEquals(mark->xid, stream->refresh_xid))
		return mark->cid < stream->frontier_cid;
	return DatumGetBool(DirectFunctionCall2(pg_visible_in_snapshot, FullTransactionIdGetDatum(mark->xid),
											stream->frontier));
}

/* Whether a mark tells of something that the stream table depends on. */
static bool
concerns(const PgsStream *stream, const List *sources, const Mark *mark)
{
	if (mark->relid == InvalidOid || list_member_oid(sources, mark->relid))
		return true;
	/* rows of its own are written by its own refreshes; DDL on it (a disabled guard) is another matter */
	return mark->relid == stream->relid && mark->kind == PGS_MARK_DDL;
}

/*
 * Whether nothing that a stream table reads has changed since its frontier, as far as marks tell.  The caller has made sure
 * that all of its sources are captured.
 */
bool
pgs_capture_unchanged(const PgsStream *stream, const List *sources, const List *marks)
{
	ListCell   *lc;

	if (!stream->populated || stream->frontier == (Datum) 0 || stream->frontier_home == NULL ||
		strcmp(stream->frontier_home, pgs_capture_home()) != 0)
		return false;
	foreach(lc, marks)
	{
		Mark	   *mark = lfirst(lc);

		if (concerns(stream, sources, mark) && !is_consumed(stream, mark))
			return false;
	}
	return true;
}

/* Note the frontier of a refresh; 0 if its sources were not captured, so that the next one computes again. */
void
pgs_capture_set_frontier(PgsStream *stream, Datum snapshot, int64 cid)
{
	stream->frontier = snapshot;
	stream->frontier_cid = cid;
	stream->frontier_home = snapshot ? pgs_capture_home() : NULL;
}
