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

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

/* A frontier taken apart, as it is asked for each row of a buffer. */
typedef struct
{
	Datum		snapshot;
	FullTransactionId xmin;
	FullTransactionId xmax;
	FullTransactionId own;
	int64		own_cid;
	FullTransactionId asked;	/* the last one that had to be looked up, and the answer */
	bool		answer;
} Frontier;

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

static Frontier
open_frontier(const PgsStream *stream)
{
	return (Frontier)
	{
		.snapshot = stream->frontier,
		.xmin = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmin, stream->frontier)),
		.xmax = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmax, stream->frontier)),
		.own = stream->refresh_xid,
		.own_cid = stream->frontier_cid
	};
}

static bool
is_consumed(Frontier *f, FullTransactionId xid, int64 cid)
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
has_marks(const PgsStream *stream, const List *sources, Frontier *f)
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
			found = !is_consumed(f, DatumGetFullTransactionId(slot->tts_values[Anum_change_xid - 1]),
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

/* What is known while the rows of one source are gathered. */
typedef struct
{
	PgsDelta   *delta;
	int		   *places;			/* in the buffer, of each column of the delta but the weight */
	Datum	   *values;
	bool	   *nulls;
	TupleTableSlot *held;		/* an old version whose new one may be equal in all that counts, or empty */
} Gather;

/* A delta without rows yet: some columns of a relation, then the weight. */
PgsDelta *
pgs_delta_for_columns(Oid relid, const Bitmapset *columns)
{
	PgsDelta   *delta = palloc0(sizeof(PgsDelta));
	int			attno = -1;

	delta->relid = relid;
	delta->natts = bms_num_members(columns);
	delta->attnos = palloc(sizeof(AttrNumber) * Max(delta->natts, 1));
	delta->desc = CreateTemplateTupleDesc(delta->natts + 1);
	delta->name = psprintf("delta_%u", relid);
	for (int i = 0; (attno = bms_next_member(columns, attno)) >= 0; i++)
	{
		Oid			type;
		int32		typmod;
		Oid			collation;

		get_atttypetypmodcoll(relid, attno, &type, &typmod, &collation);
		delta->attnos[i] = attno;
		TupleDescInitEntry(delta->desc, i + 1, get_attname(relid, attno, false), type, typmod, 0);
		TupleDescInitEntryCollation(delta->desc, i + 1, collation);
	}
	TupleDescInitEntry(delta->desc, delta->natts + 1, "weight", INT8OID, -1, 0);
	delta->store = tuplestore_begin_heap(false, false, work_mem);
	return delta;
}

/* Where in a segment the columns of a delta are; false if one is not there. */
static bool
find_places(PgsDelta *delta, TupleDesc desc, int *places)
{
	for (int i = 0; i < delta->natts; i++)
	{
		char	   *name = psprintf("c%d", delta->attnos[i]);

		places[i] = -1;
		for (int j = Natts_buffer_head; j < desc->natts; j++)
			if (strcmp(NameStr(TupleDescAttr(desc, j)->attname), name) == 0 && !TupleDescAttr(desc, j)->attisdropped)
				places[i] = j;
		if (places[i] < 0)
			return false;
	}
	return true;
}

static void
put_row(Gather *g, TupleTableSlot *slot)
{
	for (int i = 0; i < g->delta->natts; i++)
	{
		g->values[i] = slot->tts_values[g->places[i]];
		g->nulls[i] = slot->tts_isnull[g->places[i]];
	}
	g->values[g->delta->natts] = Int64GetDatum(DatumGetInt16(slot->tts_values[Anum_buffer_weight - 1]));
	g->nulls[g->delta->natts] = false;
	tuplestore_putvalues(g->delta->store, g->delta->desc, g->values, g->nulls);
	g->delta->rows++;
}

static bool
equal_rows(Gather *g, TupleTableSlot *x, TupleTableSlot *y)
{
	for (int i = 0; i < g->delta->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(x->tts_tupleDescriptor, g->places[i]);
		int			at = g->places[i];

		if (x->tts_isnull[at] != y->tts_isnull[at] ||
			(!x->tts_isnull[at] && !datum_image_eq(x->tts_values[at], y->tts_values[at], attr->attbyval, attr->attlen)))
			return false;
	}
	return true;
}

/*
 * Gather the rows of a segment that are visible now and were not then.  An old version right before a new one that is the same
 * in all columns that this stream table uses is an update for somebody else: neither counts.
 */
static bool
gather_segment(Oid segment, Frontier *f, PgsDelta *delta)
{
	Relation	rel = table_open(segment, AccessShareLock);
	Gather		g = {.delta = delta};
	TableScanDesc scan;
	TupleTableSlot *slots[2];
	int			turn = 0;
	bool		complete;

	g.places = palloc(sizeof(int) * Max(delta->natts, 1));
	complete = find_places(delta, RelationGetDescr(rel), g.places);
	if (!complete || RelationGetNumberOfBlocks(rel) == 0)
	{
		table_close(rel, AccessShareLock);
		return complete;
	}
	g.values = palloc(sizeof(Datum) * (delta->natts + 1));
	g.nulls = palloc(sizeof(bool) * (delta->natts + 1));
	slots[0] = table_slot_create(rel, NULL);
	slots[1] = table_slot_create(rel, NULL);
	scan = table_beginscan_strat(rel, GetActiveSnapshot(), 0, NULL, true, false);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slots[turn]))
	{
		TupleTableSlot *slot = slots[turn];
		bool		isnull;
		Datum		xid = slot_getattr(slot, Anum_buffer_xid, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (is_consumed(f, DatumGetFullTransactionId(xid), DatumGetInt64(slot_getattr(slot, Anum_buffer_cid, &isnull))))
			continue;
		slot_getallattrs(slot);
		if (DatumGetInt16(slot->tts_values[Anum_buffer_weight - 1]) > 0)
		{
			if (g.held && equal_rows(&g, g.held, slot))
			{
				g.held = NULL;
				continue;
			}
			if (g.held)
				put_row(&g, g.held);
			g.held = NULL;
			put_row(&g, slot);
			continue;
		}
		if (g.held)
			put_row(&g, g.held);
		g.held = slot;
		turn = 1 - turn;
	}
	if (g.held)
		put_row(&g, g.held);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slots[0]);
	ExecDropSingleTupleTableSlot(slots[1]);
	table_close(rel, AccessShareLock);
	return true;
}

/* The same of all columns: for tables that the engine writes itself. */
PgsDelta *
pgs_delta_for_relation(Relation rel)
{
	Bitmapset  *columns = NULL;

	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
			columns = bms_add_member(columns, i + 1);
	return pgs_delta_for_columns(RelationGetRelid(rel), columns);
}

/* Add the row of a slot, of the delta's relation with all columns, to a delta. */
void
pgs_delta_put(PgsDelta *delta, TupleTableSlot *slot, int64 weight)
{
	int			natts = delta->natts;
	Datum	   *values = palloc(sizeof(Datum) * (natts + 1));
	bool	   *nulls = palloc(sizeof(bool) * (natts + 1));

	slot_getallattrs(slot);
	memcpy(values, slot->tts_values, sizeof(Datum) * natts);
	memcpy(nulls, slot->tts_isnull, sizeof(bool) * natts);
	values[natts] = Int64GetDatum(weight);
	nulls[natts] = false;
	tuplestore_putvalues(delta->store, delta->desc, values, nulls);
	delta->rows++;
}

/* Where in a delta a column of the relation is; 0 if it isn't there. */
int
pgs_delta_place(const PgsDelta *delta, int attno)
{
	for (int i = 0; i < delta->natts; i++)
		if (delta->attnos[i] == attno)
			return i + 1;
	return 0;
}

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
	Frontier	f;
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
			if (!gather_segment(source.buffers[i], &f, delta))
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
