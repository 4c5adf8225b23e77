/*
 * apply.c - write changes into a stream table
 *
 * Changes come one by one, each with the stored row that it is about (by the tid that was read under the same snapshot; nobody
 * else writes, because of the refresh lock), or all in one tuplestore made by the full difference.
 *
 * A value of a unique index must be free before it is taken.  So inserts are kept to the end, and an update that changes a column
 * of a unique index, which may swap values with another, is a delete now and an insert at the end.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "datum.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "refresh/refresh_internal.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"

/* images looked up together by one scan of the table */
#define DUPLICATES_BATCH 10000
#define DUPLICATES_BYTES (16 * 1024 * 1024)

struct PgsApply
{
	PgsWriter	w;				/* old: the stored row that is updated or deleted */
	TupleDesc	image_desc;
	Bitmapset  *unique;			/* columns that a unique index depends on */
	Tuplestorestate *inserts;	/* (image, weight), NULL: none */
	TupleTableSlot *insert_slot;
	PgsRowCounts *rows;
	PgsAppend  *readers;		/* the change buffer of those who read from the table; NULL: none */
	bool		mark;			/* they are told that something has changed, but not what */
	MemoryContext context;		/* of this struct */
	MemoryContext per_row;
	/* rows to be deleted by their images, until they are looked up */
	int			npending;
	Size		pending_bytes;
	Datum	   *images;
	Datum	   *counts;
};

/* Columns whose change may collide with another row that is yet to be written. */
static Bitmapset *
unique_columns(Relation rel)
{
	Bitmapset  *result = NULL;
	List	   *indexes = RelationGetIndexList(rel);
	ListCell   *lc;

	foreach(lc, indexes)
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;

		if (form->indisunique || form->indisexclusion)
		{
			for (int i = 0; i < form->indnkeyatts; i++)
				if (form->indkey.values[i] > 0)
					result = bms_add_member(result, form->indkey.values[i] - FirstLowInvalidHeapAttributeNumber);
			pull_varattnos((Node *) RelationGetIndexExpressions(index), 1, &result);
			pull_varattnos((Node *) RelationGetIndexPredicate(index), 1, &result);
		}
		index_close(index, AccessShareLock);
	}
	return result;
}

/*
 * Where the rows that are written go for those who read from the table; NULL where nobody does, or where triggers of the user
 * make other rows of them than we know: then a mark has to do.
 */
static PgsAppend *
open_readers(Relation rel, int64 nrows, bool *mark)
{
	PgsSource	source;
	PgsAppend  *result = NULL;

	*mark = false;
	if (!pgs_source_get(RelationGetRelid(rel), &source))
		return NULL;
	if (!(rel->trigdesc && (rel->trigdesc->trig_insert_before_row || rel->trigdesc->trig_update_before_row ||
							rel->trigdesc->trig_delete_before_row)))
		result = pgs_append_begin(&source, rel, nrows);
	*mark = result == NULL;
	return result;
}

/* Begin to write about "nrows" changes into a stream table; "rows" counts them. */
PgsApply *
pgs_apply_begin(Relation rel, int64 nrows, PgsRowCounts *rows)
{
	PgsApply   *a = palloc0(sizeof(PgsApply));

	pgs_writer_begin(&a->w, rel);
	a->image_desc = pgs_image_desc(RelationGetDescr(rel));
	a->unique = unique_columns(rel);
	a->rows = rows;
	a->readers = open_readers(rel, nrows, &a->mark);
	a->context = CurrentMemoryContext;
	a->per_row = AllocSetContextCreate(CurrentMemoryContext, "stream table row", ALLOCSET_DEFAULT_SIZES);
	return a;
}

/* The slot for the stored row that the next change is about. */
TupleTableSlot *
pgs_apply_stored(PgsApply *a)
{
	return a->w.old;
}

/* Hand a row that is written on to those who read from the table. */
static void
note_row(PgsApply *a, TupleTableSlot *slot, int weight)
{
	if (a->readers)
		pgs_append_row(a->readers, slot, weight);
}

static void
next_row(PgsApply *a)
{
	pgs_writer_next(&a->w);
	MemoryContextReset(a->per_row);
	CHECK_FOR_INTERRUPTS();
}

/* Delete the stored row. */
void
pgs_apply_delete(PgsApply *a)
{
	MemoryContext old = MemoryContextSwitchTo(a->per_row);

	note_row(a, a->w.old, -1);
	pgs_writer_delete(&a->w);
	a->rows->deleted++;
	MemoryContextSwitchTo(old);
	next_row(a);
}

static void
insert_later(PgsApply *a, bytea *image, int64 weight)
{
	Datum		values[] = {PointerGetDatum(image), Int64GetDatum(weight)};
	bool		nulls[] = {false, false};

	if (!a->inserts)
	{
		MemoryContext old = MemoryContextSwitchTo(a->context);
		TupleDesc	desc = CreateTemplateTupleDesc(2);

		TupleDescInitEntry(desc, 1, "image", BYTEAOID, -1, 0);
		TupleDescInitEntry(desc, 2, "weight", INT8OID, -1, 0);
		a->insert_slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
		a->inserts = tuplestore_begin_heap(false, false, work_mem);
		MemoryContextSwitchTo(old);
	}
	tuplestore_putvalues(a->inserts, a->insert_slot->tts_tupleDescriptor, values, nulls);
}

/* Insert a row, so many times, once all deletes and updates are done. */
void
pgs_apply_insert(PgsApply *a, bytea *image, int64 weight)
{
	insert_later(a, image, weight);
	a->rows->inserted += weight;
}

static bool
changes_unique(PgsApply *a)
{
	TupleDesc	desc = RelationGetDescr(a->w.rel);

	if (a->unique == NULL)
		return false;
	slot_getallattrs(a->w.old);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (!bms_is_member(attr->attnum - FirstLowInvalidHeapAttributeNumber, a->unique) || attr->attisdropped)
			continue;
		if (!pgs_same_value(a->w.old->tts_values[i], a->w.old->tts_isnull[i], a->w.new->tts_values[i], a->w.new->tts_isnull[i],
							attr->attbyval, attr->attlen))
			return true;
	}
	return false;
}

/* Let the stored row become another one. */
void
pgs_apply_update(PgsApply *a, bytea *image)
{
	MemoryContext old = MemoryContextSwitchTo(a->per_row);

	pgs_image_store(image, a->image_desc, a->w.new);
	note_row(a, a->w.old, -1);
	if (changes_unique(a))
	{
		pgs_writer_delete(&a->w);
		insert_later(a, image, 1);
	}
	else
	{
		note_row(a, a->w.new, 1);
		pgs_writer_update(&a->w);
	}
	a->rows->updated++;
	MemoryContextSwitchTo(old);
	next_row(a);
}

static void
fetch_old(PgsApply *a, ItemPointer tid)
{
	if (!table_tuple_fetch_row_version(a->w.rel, tid, a->w.estate->es_snapshot, a->w.old))
		elog(ERROR, "row (%u,%u) of stream table \"%s\" is gone",
			 ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid), RelationGetRelationName(a->w.rel));
}

/* Delete the collected rows that are known by their images only. */
static void
flush_pending(PgsApply *a)
{
	List	   *tids = NIL;
	ListCell   *lc;

	if (a->npending == 0)
		return;
	pgs_diff_find_duplicates(a->w.rel, a->npending, a->images, a->counts, &tids);
	foreach(lc, tids)
	{
		fetch_old(a, lfirst(lc));
		pgs_apply_delete(a);
	}
	for (int i = 0; i < a->npending; i++)
		pfree(DatumGetPointer(a->images[i]));
	list_free_deep(tids);
	a->npending = 0;
	a->pending_bytes = 0;
}

/* Delete "count" of the stored rows that have an image; they are looked up many together. */
void
pgs_apply_delete_image(PgsApply *a, bytea *image, int64 count)
{
	MemoryContext old = MemoryContextSwitchTo(a->context);

	if (!a->images)
	{
		a->images = palloc(sizeof(Datum) * DUPLICATES_BATCH);
		a->counts = palloc(sizeof(Datum) * DUPLICATES_BATCH);
	}
	a->images[a->npending] = datumCopy(PointerGetDatum(image), false, -1);
	a->counts[a->npending++] = Int64GetDatum(count);
	a->pending_bytes += VARSIZE_ANY(image);
	if (a->npending == DUPLICATES_BATCH || a->pending_bytes > DUPLICATES_BYTES)
		flush_pending(a);
	MemoryContextSwitchTo(old);
}

static void
insert_rows(PgsApply *a)
{
	while (tuplestore_gettupleslot(a->inserts, true, false, a->insert_slot))
	{
		bool		isnull;
		int64		weight = DatumGetInt64(slot_getattr(a->insert_slot, 2, &isnull));
		MemoryContext old = MemoryContextSwitchTo(a->per_row);
		bytea	   *image = DatumGetByteaPP(slot_getattr(a->insert_slot, 1, &isnull));

		for (int64 i = 0; i < weight; i++)
		{
			pgs_image_store(image, a->image_desc, a->w.new);
			note_row(a, a->w.new, 1);
			pgs_writer_insert(&a->w);
		}
		MemoryContextSwitchTo(old);
		next_row(a);
	}
	ExecDropSingleTupleTableSlot(a->insert_slot);
	tuplestore_end(a->inserts);
}

/* Write what was kept to the end, and let go of the table. */
void
pgs_apply_end(PgsApply *a)
{
	Oid			relid = RelationGetRelid(a->w.rel);

	flush_pending(a);
	if (a->inserts)
		insert_rows(a);
	if (a->readers)
		pgs_append_end(a->readers);
	pgs_writer_end(&a->w);
	MemoryContextDelete(a->per_row);
	if (a->mark)
		pgs_capture_mark(relid, PGS_MARK_ROWS);
}

/* ---- a full difference ---- */

static void
apply_change(PgsApply *a, TupleTableSlot *slot)
{
	bytea	   *image;
	int64		weight;
	ItemPointer tid;
	PgsChange	change;

	slot_getallattrs(slot);
	image = DatumGetByteaPP(slot->tts_values[Anum_diff_image - 1]);
	weight = DatumGetInt64(slot->tts_values[Anum_diff_weight - 1]);
	tid = (ItemPointer) DatumGetPointer(slot->tts_values[Anum_diff_tid - 1]);
	change = DatumGetInt32(slot->tts_values[Anum_diff_change - 1]);
	switch (change)
	{
		case PGS_CHANGE_DELETE_SOME:
			pgs_apply_delete_image(a, image, -weight);
			break;
		case PGS_CHANGE_DELETE:
			fetch_old(a, tid);
			pgs_apply_delete(a);
			break;
		case PGS_CHANGE_UPDATE:
			fetch_old(a, tid);
			pgs_apply_update(a, image);
			break;
		case PGS_CHANGE_INSERT:
			pgs_apply_insert(a, image, weight);
			break;
	}
}

/*
 * Apply a difference made by pgs_diff_run; count what was written, and hand it on to those who read from the table.  Ends the
 * tuplestore.
 */
void
pgs_apply_run(Relation rel, Tuplestorestate *diff, TupleDesc desc, PgsRowCounts *rows)
{
	PgsApply   *a;
	TupleTableSlot *slot;

	/* nothing to write: don't even open the indexes */
	if (tuplestore_tuple_count(diff) > 0)
	{
		slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
		a = pgs_apply_begin(rel, tuplestore_tuple_count(diff), rows);
		while (tuplestore_gettupleslot(diff, true, false, slot))
			apply_change(a, slot);
		pgs_apply_end(a);
		ExecDropSingleTupleTableSlot(slot);
	}
	tuplestore_end(diff);
}
