/*
 * gather.c - the delta of a source: rows of its change buffer that a frontier has not seen
 *
 * A delta is a named tuplestore of some columns of a relation, and the weight.  Both segments of the buffer are read; whether
 * a change counts is asked once for each pack, as its rows are of one transaction and command.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "capture/capture_internal.h"
#include "datum.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

/* ---- deltas ---- */

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

/* ---- segments ---- */

/* A row of a segment: its values by column of the segment. */
typedef struct
{
	Datum	   *values;
	bool	   *nulls;
	bool		is_old;
} Row;

/* What is known while the rows of one segment are gathered. */
typedef struct
{
	PgsDelta   *delta;
	PgsFrontier *frontier;
	TupleDesc	desc;			/* of the segment */
	int		   *places;			/* in the segment, of each column of the delta but the weight */
	Datum	   *values;			/* of a row of the delta */
	bool	   *nulls;
	TableScanDesc scan;
	PgsUnpack	unpack;
	TupleTableSlot *slots[2];	/* the one read into, and that of the row before */
	Row			rows[2];		/* this row, and the one before */
	int			slot;
	int			row;
} Gather;

/* Where in a segment the columns of a delta are; false if one is not there. */
static bool
find_places(PgsDelta *delta, TupleDesc desc, int *places)
{
	for (int i = 0; i < delta->natts; i++)
	{
		places[i] = -1;
		for (int j = Natts_buffer_head; j < desc->natts; j++)
			if (!TupleDescAttr(desc, j)->attisdropped && pgs_buffer_source_attno(TupleDescAttr(desc, j)) == delta->attnos[i])
				places[i] = j;
		if (places[i] < 0)
			return false;
	}
	return true;
}

/*
 * The next row that counts; NULL: there is none.  It stays good until the next but one, so that two versions of a row can be
 * compared.
 */
static Row *
next_row(Gather *g)
{
	Row		   *row = &g->rows[g->row = 1 - g->row];

	while (!pgs_unpack_next(&g->unpack, row->values, row->nulls, &row->is_old))
	{
		TupleTableSlot *slot = g->slots[g->slot];
		bool		isnull;
		Datum		xid;
		Datum		cid;
		Datum		pack;

		CHECK_FOR_INTERRUPTS();
		if (!table_scan_getnextslot(g->scan, ForwardScanDirection, slot))
			return NULL;
		xid = slot_getattr(slot, Anum_buffer_xid, &isnull);
		cid = slot_getattr(slot, Anum_buffer_cid, &isnull);
		if (pgs_frontier_consumed(g->frontier, DatumGetFullTransactionId(xid), DatumGetInt64(cid)))
			continue;
		pack = slot_getattr(slot, Anum_buffer_pack, &isnull);
		if (!isnull)
		{
			pgs_unpack_begin(&g->unpack, DatumGetByteaPP(pack));
			continue;
		}
		slot_getallattrs(slot);
		memcpy(row->values, slot->tts_values, sizeof(Datum) * g->desc->natts);
		memcpy(row->nulls, slot->tts_isnull, sizeof(bool) * g->desc->natts);
		row->is_old = DatumGetInt16(slot->tts_values[Anum_buffer_weight - 1]) < 0;
		g->slot = 1 - g->slot;
		break;
	}
	return row;
}

static void
put_row(Gather *g, const Row *row)
{
	for (int i = 0; i < g->delta->natts; i++)
	{
		g->values[i] = row->values[g->places[i]];
		g->nulls[i] = row->nulls[g->places[i]];
	}
	g->values[g->delta->natts] = Int64GetDatum(row->is_old ? -1 : 1);
	g->nulls[g->delta->natts] = false;
	tuplestore_putvalues(g->delta->store, g->delta->desc, g->values, g->nulls);
	g->delta->rows++;
}

/* Whether two rows are the same in all columns of the delta. */
static bool
equal_rows(const Gather *g, const Row *x, const Row *y)
{
	for (int i = 0; i < g->delta->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(g->desc, g->places[i]);
		int			at = g->places[i];

		if (!pgs_same_value(x->values[at], x->nulls[at], y->values[at], y->nulls[at], attr->attbyval, attr->attlen))
			return false;
	}
	return true;
}

/*
 * Gather the rows of a scan.  An old version right before a new one that is the same in all columns that this stream table uses is
 * an update for somebody else: neither counts.
 */
static void
gather_rows(Gather *g)
{
	Row		   *held = NULL;	/* an old version whose new one may follow */
	Row		   *row;

	while ((row = next_row(g)) != NULL)
	{
		bool		is_same = held && !row->is_old && equal_rows(g, held, row);

		if (held && !is_same)
			put_row(g, held);
		held = row->is_old ? row : NULL;
		if (!row->is_old && !is_same)
			put_row(g, row);
	}
	if (held)
		put_row(g, held);
}

/* Gather the rows of a segment that are visible now and were not then; false: it does not hold all columns of the delta. */
bool
pgs_gather_segment(Oid segment, PgsFrontier *f, PgsDelta *delta)
{
	Relation	rel = table_open(segment, AccessShareLock);
	Gather		g = {.delta = delta, .frontier = f, .desc = RelationGetDescr(rel)};
	bool		complete;

	g.places = palloc(sizeof(int) * Max(delta->natts, 1));
	complete = find_places(delta, g.desc, g.places);
	if (!complete || RelationGetNumberOfBlocks(rel) == 0)
	{
		table_close(rel, AccessShareLock);
		return complete;
	}
	g.values = palloc(sizeof(Datum) * (delta->natts + 1));
	g.nulls = palloc(sizeof(bool) * (delta->natts + 1));
	for (int i = 0; i < lengthof(g.rows); i++)
	{
		g.slots[i] = table_slot_create(rel, NULL);
		g.rows[i].values = palloc(sizeof(Datum) * g.desc->natts);
		g.rows[i].nulls = palloc(sizeof(bool) * g.desc->natts);
	}
	pgs_unpack_init(&g.unpack, g.desc);
	g.scan = table_beginscan_strat(rel, GetActiveSnapshot(), 0, NULL, true, false);
	gather_rows(&g);
	table_endscan(g.scan);
	pgs_unpack_end(&g.unpack);
	ExecDropSingleTupleTableSlot(g.slots[0]);
	ExecDropSingleTupleTableSlot(g.slots[1]);
	table_close(rel, AccessShareLock);
	return true;
}
