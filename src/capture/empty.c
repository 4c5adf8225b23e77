/*
 * empty.c - change buffers and marks are emptied once every frontier has seen them
 *
 * A segment that has grown is retired: the other becomes current.  A retired one is truncated when all in it is consumed, and
 * nobody holds a lock on it: a writer that has yet to commit does, and so does a refresh, from before its snapshot to its
 * commit, when its frontier is there for us to see.
 *
 * A stream table that lags behind for so long that the changes kept for it outgrow the source itself gives up its frontier:
 * then computing the whole is no loss.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/relation.h"
#include "capture/capture_internal.h"
#include "catalog/pg_inherits.h"
#include "compat.h"
#include "module.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

/* marks are left alone while they fill no more than this, and so is the current segment of a buffer */
#define MARK_BLOCKS 4
#define SEGMENT_BLOCKS 16
/* what a buffer may keep for those who lag behind, besides the size of the source */
#define LAG_BLOCKS 1024

static BlockNumber
blocks_of(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	BlockNumber result;

	if (!rel)
		return 0;
	result = RELKIND_HAS_STORAGE(rel->rd_rel->relkind) ? RelationGetNumberOfBlocks(rel) : 0;
	relation_close(rel, AccessShareLock);
	return result;
}

/* The same with all partitions and children. */
static BlockNumber
blocks_of_tree(Oid relid)
{
	BlockNumber result = 0;
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
	{
		/* what DDL holds isn't waited for, and counts as large */
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessShareLock))
			return MaxBlockNumber / 2;
		result += blocks_of(lfirst_oid(lc));
	}
	return result;
}

static FullTransactionId
frontier_xmin(const PgsStream *stream)
{
	return DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmin, stream->frontier));
}

static bool
reads(const PgsStream *stream, Oid relid)
{
	return stream->frontier != (Datum) 0 && OidIsValid(stream->viewid) &&
		list_member_oid(pgs_query_sources(stream->viewid), relid);
}

/* The oldest transaction that the frontier of some reader of a source may not have seen. */
static FullTransactionId
oldest_frontier(const List *streams, Oid relid)
{
	FullTransactionId oldest = ReadNextFullTransactionId();
	ListCell   *lc;

	foreach(lc, streams)
		if ((relid == InvalidOid ? ((PgsStream *) lfirst(lc))->frontier != (Datum) 0 : reads(lfirst(lc), relid)) &&
			FullTransactionIdPrecedes(frontier_xmin(lfirst(lc)), oldest))
			oldest = frontier_xmin(lfirst(lc));
	return oldest;
}

/* Keep the refreshes of a stream table back until the end of the transaction, by their own lock; false, at once, if one runs. */
bool
pgs_capture_hold_refreshes(Oid relid)
{
	return pgs_lock_object_at_once(pgs_catalog_relid(PGS_CATALOG_STREAM), relid, 0, ExclusiveLock);
}

/* Let the next refresh of a stream table compute the whole; its refreshes are held. */
void
pgs_capture_forget_frontier(Oid relid)
{
	PgsStream  *stream = pgs_stream_lock(relid, true);

	if (!stream)
		return;
	pgs_capture_set_frontier(stream, (Datum) 0, 0);
	pgs_stream_store(stream);
}

/* ---- buffers ---- */

/* Whether every row of a segment is of a transaction that all have seen; the newest rows are looked at first. */
static bool
is_consumed(Oid segment, FullTransactionId oldest)
{
	Relation	rel = table_open(segment, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan_strat(rel, snapshot, 0, NULL, true, false);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	bool		result = true;

	while (result && table_scan_getnextslot(scan, BackwardScanDirection, slot))
	{
		bool		isnull;

		result = FullTransactionIdPrecedes(DatumGetFullTransactionId(slot_getattr(slot, Anum_buffer_xid, &isnull)),
										   oldest);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, NoLock);
	return result;
}

static void
give_up_laggards(const PgsSource *source, const List *streams, FullTransactionId oldest)
{
	ListCell   *lc;

	foreach(lc, streams)
	{
		PgsStream  *stream = lfirst(lc);

		if (!reads(stream, source->relid) || !FullTransactionIdEquals(frontier_xmin(stream), oldest) ||
			!pgs_capture_hold_refreshes(stream->relid))
			continue;
		pgs_capture_forget_frontier(stream->relid);
	}
}

static void
empty_buffer(PgsSource *source)
{
	Oid			current = source->buffers[source->current];
	Oid			retired = source->buffers[1 - source->current];

	if (blocks_of(retired) > 0)
	{
		bool		locked = ConditionalLockRelationOid(retired, AccessExclusiveLock);
		/* after the lock: whoever held it until now has stored a frontier that counts */
		List	   *streams = pgs_stream_list();
		FullTransactionId oldest = oldest_frontier(streams, source->relid);

		if (locked && is_consumed(retired, oldest))
			pgs_capture_command(psprintf("TRUNCATE " PGS_INTERNAL_SCHEMA ".%s", get_rel_name(retired)));
		else if (blocks_of(retired) + blocks_of(current) > blocks_of_tree(source->relid) + LAG_BLOCKS &&
				 /* one that only a lock keeps is emptied another time, and nobody is to blame */
				 (locked || !is_consumed(retired, oldest)))
			give_up_laggards(source, streams, oldest);
	}
	else if (blocks_of(current) > SEGMENT_BLOCKS)
	{
		source->current = 1 - source->current;
		pgs_source_put(source);
	}
}

/* ---- marks ---- */

/* Hold every refresh back for a moment: one that has its snapshot, but hasn't stored its frontier, still needs marks. */
static bool
lock_refreshes(const List *streams)
{
	ListCell   *lc;

	foreach(lc, streams)
		if (!pgs_capture_hold_refreshes(((PgsStream *) lfirst(lc))->relid))
			return false;
	return true;
}

static void
trim_marks(FullTransactionId oldest)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), RowExclusiveLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		Datum		xid = heap_getattr(tuple, Anum_change_xid, RelationGetDescr(rel), &isnull);

		if (FullTransactionIdPrecedes(DatumGetFullTransactionId(xid), oldest))
			simple_heap_delete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, RowExclusiveLock);
}

/*
 * Empty what all have seen, as far as locks are free.  "streams" are all there are.
 */
void
pgs_capture_empty(const List *streams)
{
	ListCell   *lc;

	foreach(lc, pgs_source_list())
		empty_buffer(lfirst(lc));
	if (blocks_of(pgs_catalog_relid(PGS_CATALOG_CHANGE)) > MARK_BLOCKS && lock_refreshes(streams))
		/* the refresh locks are held, so the frontiers read now are all there are */
		trim_marks(oldest_frontier(pgs_stream_list(), InvalidOid));
}
