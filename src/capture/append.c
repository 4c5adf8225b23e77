/*
 * append.c - rows go to the change buffer of a source
 *
 * Packed as far as they are small enough (capture/pack.c), and then written as COPY does (commands/copyfrom.c), many at a time.
 *
 * The two versions of an updated row are never parted: they follow each other in one pack, or as rows of their own.  So readers
 * can tell an update of columns that are nothing to them (capture/gather.c).
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/relation.h"
#include "capture/capture_internal.h"
#include "datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/xid8.h"

#define BATCH_ROWS 64
#define BATCH_BYTES 65535
/* a statement of more rows keeps its own ring of buffers, as COPY does, so as not to push everybody's out */
#define BULK_ROWS 100000

struct PgsAppend
{
	Relation	rel;			/* the current segment */
	PgsPack		pack;
	Datum	   *values;			/* of a row of the segment */
	bool	   *nulls;
	TupleTableSlot *slots[BATCH_ROWS];
	int			nslots;			/* made */
	int			nrows;			/* filled */
	Size		bytes;
	CommandId	cid;
	BulkInsertState bulk;
	MemoryContext context;		/* of this struct */
	MemoryContext batch;		/* of the rows of a batch */
};

/* For each column of a segment that of "rel" which it holds; 0: none. */
static AttrNumber *
columns_held(const PgsSource *source, Relation segment, Relation rel)
{
	int			natts = RelationGetNumberOfAttributes(segment);
	AttrNumber *result = palloc0(sizeof(AttrNumber) * natts);

	for (int i = Natts_buffer_head; i < natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(segment), i);
		AttrNumber	attno;

		if (attr->attisdropped)
			continue;
		attno = pgs_buffer_source_attno(attr);
		/* numbers may differ between a partition and its parent, names don't */
		if (RelationGetRelid(rel) != source->relid)
		{
			char	   *name = get_attname(source->relid, attno, true);

			attno = name ? get_attnum(RelationGetRelid(rel), name) : InvalidAttrNumber;
		}
		if (attno > 0 && pgs_buffer_holds(attr, TupleDescAttr(RelationGetDescr(rel), attno - 1)))
			result[i] = attno;
	}
	return result;
}

/* How many bytes a pack may have, so that a row with it, and without columns, is not toasted. */
static int
pack_limit(int natts)
{
	Size		head = MAXALIGN(SizeofHeapTupleHeader + BITMAPLEN(natts)) + sizeof(int64) * 2 + sizeof(int16) * 2 + sizeof(int32) + VARHDRSZ;

	return MAXALIGN_DOWN(TOAST_TUPLE_THRESHOLD) - head;
}

/*
 * Begin to append rows of "rel" (the source itself, or a partition or child of it) to the buffer of a source; "nrows" as far
 * as known.  NULL if the buffer is gone.
 */
PgsAppend *
pgs_append_begin(const PgsSource *source, Relation rel, int64 nrows)
{
	Relation	segment = try_relation_open(source->buffers[source->current], RowExclusiveLock);
	PgsAppend  *a;
	int			natts;

	if (!segment)
		return NULL;
	a = palloc0(sizeof(PgsAppend));
	if (source->eager)
		pgs_wake_at_commit();
	natts = RelationGetNumberOfAttributes(segment);
	a->rel = segment;
	pgs_pack_begin(&a->pack, RelationGetDescr(segment), columns_held(source, segment, rel), pack_limit(natts));
	a->values = palloc0(sizeof(Datum) * natts);
	a->nulls = palloc(sizeof(bool) * natts);
	memset(a->nulls, true, sizeof(bool) * natts);
	a->cid = GetCurrentCommandId(true);
	a->bulk = nrows > BULK_ROWS ? GetBulkInsertState() : NULL;
	a->context = CurrentMemoryContext;
	a->batch = AllocSetContextCreate(CurrentMemoryContext, "change buffer rows", ALLOCSET_DEFAULT_SIZES);
	a->values[Anum_buffer_xid - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	a->nulls[Anum_buffer_xid - 1] = false;
	/* that of the end of the statement: never older than the rows, so that a refresh in its middle finds them new */
	a->values[Anum_buffer_cid - 1] = Int64GetDatum(a->cid);
	a->nulls[Anum_buffer_cid - 1] = false;
	return a;
}

static void
flush(PgsAppend *a)
{
	if (a->nrows > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(a->batch);

		table_multi_insert(a->rel, a->slots, a->nrows, a->cid, TABLE_INSERT_SKIP_FSM, a->bulk);
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < a->nrows; i++)
		ExecClearTuple(a->slots[i]);
	a->nrows = 0;
	a->bytes = 0;
	MemoryContextReset(a->batch);
}

/* Write a row of the segment. */
static void
write_row(PgsAppend *a)
{
	TupleDesc	desc = RelationGetDescr(a->rel);
	MemoryContext old;
	HeapTuple	tuple;

	if (a->nrows == a->nslots)
	{
		old = MemoryContextSwitchTo(a->context);
		a->slots[a->nslots++] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
		MemoryContextSwitchTo(old);
	}
	old = MemoryContextSwitchTo(a->batch);
	tuple = heap_form_tuple(desc, a->values, a->nulls);
	MemoryContextSwitchTo(old);
	ExecStoreHeapTuple(tuple, a->slots[a->nrows++], false);
	a->bytes += tuple->t_len;
	if (a->nrows == BATCH_ROWS || a->bytes > BATCH_BYTES)
		flush(a);
}

/* Write what is packed; false: nothing is. */
static bool
write_pack(PgsAppend *a)
{
	if (a->pack.nrows == 0)
		return false;
	a->values[Anum_buffer_packed - 1] = Int32GetDatum(a->pack.nrows);
	a->values[Anum_buffer_pack - 1] = PointerGetDatum(pgs_pack_value(&a->pack));
	a->nulls[Anum_buffer_packed - 1] = a->nulls[Anum_buffer_pack - 1] = false;
	write_row(a);
	a->nulls[Anum_buffer_packed - 1] = a->nulls[Anum_buffer_pack - 1] = true;
	pgs_pack_reset(&a->pack);
	return true;
}

/* Write a row that is too large for a pack. */
static void
write_alone(PgsAppend *a, TupleTableSlot *slot, int weight)
{
	a->values[Anum_buffer_weight - 1] = Int16GetDatum(weight);
	a->nulls[Anum_buffer_weight - 1] = false;
	for (int i = 0; i < a->pack.ncolumns; i++)
	{
		const PgsPackColumn *column = &a->pack.columns[i];

		a->values[column->at] = slot->tts_values[column->from];
		a->nulls[column->at] = slot->tts_isnull[column->from];
	}
	write_row(a);
	for (int i = Anum_buffer_weight - 1; i < RelationGetNumberOfAttributes(a->rel); i++)
		a->nulls[i] = true;
}

/* Append a row with its weight, 1 or -1. */
void
pgs_append_row(PgsAppend *a, TupleTableSlot *slot, int weight)
{
	do
	{
		if (pgs_pack_put(&a->pack, slot, weight < 0))
			return;
	} while (write_pack(a));
	write_alone(a, slot, weight);
}

/* Whether two versions of a row differ in a column that the buffer holds. */
static bool
differ(PgsAppend *a, TupleTableSlot *x, TupleTableSlot *y)
{
	slot_getsomeattrs(x, a->pack.last);
	slot_getsomeattrs(y, a->pack.last);
	for (int i = 0; i < a->pack.ncolumns; i++)
	{
		const PgsPackColumn *column = &a->pack.columns[i];
		int			at = column->from;

		if (!pgs_same_value(x->tts_values[at], x->tts_isnull[at], y->tts_values[at], y->tts_isnull[at], column->byval, column->len))
			return true;
	}
	return false;
}

/* Append two versions of a row, where they differ in what is held. */
void
pgs_append_update(PgsAppend *a, TupleTableSlot *old, TupleTableSlot *new)
{
	if (!differ(a, old, new))
		return;
	do
	{
		if (pgs_pack_put_both(&a->pack, old, new))
			return;
	} while (write_pack(a));
	write_alone(a, old, -1);
	write_alone(a, new, 1);
}

/* Whether a statement that sets some columns (numbers less FirstLowInvalidHeapAttributeNumber) sets one that is held. */
bool
pgs_append_concerns(PgsAppend *a, const Bitmapset *updated)
{
	for (int i = 0; i < a->pack.ncolumns; i++)
		if (bms_is_member(a->pack.columns[i].from + 1 - FirstLowInvalidHeapAttributeNumber, updated))
			return true;
	return false;
}

void
pgs_append_end(PgsAppend *a)
{
	write_pack(a);
	flush(a);
	for (int i = 0; i < a->nslots; i++)
		ExecDropSingleTupleTableSlot(a->slots[i]);
	if (a->bulk)
		FreeBulkInsertState(a->bulk);
	MemoryContextDelete(a->batch);
	/* kept to the end of the transaction: a segment is truncated only when no rows in it may yet commit */
	table_close(a->rel, NoLock);
	pgs_pack_end(&a->pack);
	pfree(a->values);
	pfree(a->nulls);
	pfree(a);
}
