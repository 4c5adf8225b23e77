/*
 * apply.c - write a difference into a stream table
 *
 * Through the executor's simple DML (executor/execReplication.c), as a logical replication worker does: indexes,
 * constraints and row triggers are served, statement triggers (the guard is one) don't fire.  Rows are found by the
 * tid that the difference read under the same snapshot; nobody else writes, because of the refresh lock.
 *
 * Deletes come first, then updates in place, then inserts, so that a value of a unique index is free before it is
 * taken.  Two updates may still swap such values between them: an update that changes a column of a unique index
 * is a delete now and an insert at the end.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "optimizer/optimizer.h"
#include "refresh/refresh_internal.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"

/* images looked up together by one scan of the table */
#define DUPLICATES_BATCH 10000
#define DUPLICATES_BYTES (16 * 1024 * 1024)

typedef struct
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *info;
	EPQState	epq;
	TupleDesc	image_desc;
	TupleTableSlot *old;		/* the stored row that is updated or deleted */
	TupleTableSlot *new;
	Bitmapset  *unique;			/* columns that a unique index depends on */
	Tuplestorestate *deferred;	/* updates that became inserts, NULL: none */
	PgsRowCounts *rows;
	PgsNotes   *notes;			/* what readers of the table want to know; NULL: nothing */
	/* rows of PGS_CHANGE_DELETE_SOME until they are looked up */
	int			npending;
	Size		pending_bytes;
	Datum	   *images;
	Datum	   *counts;
} Apply;

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

static void
begin(Apply *a, Relation rel)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	EState	   *estate = CreateExecutorState();

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	/* an update writes the whole row, also for triggers on UPDATE OF a column */
	pgs_init_range_table(estate, rte, bms_add_range(NULL, 1 - FirstLowInvalidHeapAttributeNumber,
													RelationGetNumberOfAttributes(rel) -
													FirstLowInvalidHeapAttributeNumber));
	estate->es_output_cid = GetCurrentCommandId(true);
	estate->es_snapshot = RegisterSnapshot(GetActiveSnapshot());

	a->rel = rel;
	a->estate = estate;
	a->info = makeNode(ResultRelInfo);
	InitResultRelInfo(a->info, rel, 1, NULL, 0);
	ExecOpenIndices(a->info, false);
	pgs_epq_init(&a->epq, estate);
	/* what a trigger of the user makes of a row is not what we note of it */
	if (a->notes && rel->trigdesc && (rel->trigdesc->trig_insert_before_row || rel->trigdesc->trig_update_before_row ||
									  rel->trigdesc->trig_delete_before_row))
		a->notes->overflow = true;
	a->image_desc = pgs_image_desc(RelationGetDescr(rel));
	a->old = table_slot_create(rel, &estate->es_tupleTable);
	a->new = table_slot_create(rel, &estate->es_tupleTable);
	a->unique = unique_columns(rel);
	a->images = palloc(sizeof(Datum) * DUPLICATES_BATCH);
	a->counts = palloc(sizeof(Datum) * DUPLICATES_BATCH);
	AfterTriggerBeginQuery();
}

static void
finish(Apply *a)
{
	AfterTriggerEndQuery(a->estate);
	EvalPlanQualEnd(&a->epq);
	ExecCloseIndices(a->info);
	ExecResetTupleTable(a->estate->es_tupleTable, false);
	/* relations opened for foreign keys and the like */
	ExecCloseResultRelations(a->estate);
	ExecCloseRangeTableRelations(a->estate);
	UnregisterSnapshot(a->estate->es_snapshot);
	a->estate->es_snapshot = NULL;
	FreeExecutorState(a->estate);
}

static void
fetch_old(Apply *a, ItemPointer tid)
{
	if (!table_tuple_fetch_row_version(a->rel, tid, a->estate->es_snapshot, a->old))
		elog(ERROR, "row (%u,%u) of stream table \"%s\" is gone",
			 ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid), RelationGetRelationName(a->rel));
}

/* Note the values of a row that is written. */
static void
note_row(Apply *a, TupleTableSlot *slot)
{
	PgsNotes   *notes = a->notes;
	MemoryContext old;
	ListCell   *lc;

	if (!notes || notes->overflow)
		return;
	if (list_length(notes->values) >= PGS_MAX_NOTED_ROWS * list_length(notes->columns))
	{
		notes->overflow = true;
		return;
	}
	old = MemoryContextSwitchTo(notes->context);
	foreach(lc, notes->columns)
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, lfirst_int(lc), &isnull);

		notes->values = lappend(notes->values, isnull ? NULL :
								pgs_capture_pack(value, TupleDescAttr(slot->tts_tupleDescriptor, lfirst_int(lc) - 1)));
	}
	MemoryContextSwitchTo(old);
}

static void
delete_row(Apply *a, ItemPointer tid)
{
	fetch_old(a, tid);
	note_row(a, a->old);
	ExecSimpleRelationDelete(a->info, a->estate, &a->epq, a->old);
	a->rows->deleted++;
}

static void
insert_image(Apply *a, bytea *image)
{
	pgs_image_store(image, a->image_desc, a->new);
	note_row(a, a->new);
	ExecSimpleRelationInsert(a->info, a->estate, a->new);
}

/* Delete the collected rows of which several are equal. */
static void
flush_duplicates(Apply *a)
{
	List	   *tids = NIL;
	ListCell   *lc;

	if (a->npending == 0)
		return;
	pgs_diff_find_duplicates(a->rel, a->npending, a->images, a->counts, &tids);
	foreach(lc, tids)
		delete_row(a, lfirst(lc));
	for (int i = 0; i < a->npending; i++)
		pfree(DatumGetPointer(a->images[i]));
	list_free_deep(tids);
	a->npending = 0;
	a->pending_bytes = 0;
}

static bool
changes_unique(Apply *a)
{
	TupleDesc	desc = RelationGetDescr(a->rel);

	if (a->unique == NULL)
		return false;
	slot_getallattrs(a->old);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (!bms_is_member(attr->attnum - FirstLowInvalidHeapAttributeNumber, a->unique) || attr->attisdropped)
			continue;
		if (a->old->tts_isnull[i] != a->new->tts_isnull[i])
			return true;
		if (!a->old->tts_isnull[i] &&
			!datum_image_eq(a->old->tts_values[i], a->new->tts_values[i], attr->attbyval, attr->attlen))
			return true;
	}
	return false;
}

static void
update_row(Apply *a, bytea *image, ItemPointer tid, TupleTableSlot *change, MemoryContext store_context)
{
	fetch_old(a, tid);
	pgs_image_store(image, a->image_desc, a->new);
	note_row(a, a->old);
	if (changes_unique(a))
	{
		ExecSimpleRelationDelete(a->info, a->estate, &a->epq, a->old);
		if (!a->deferred)
		{
			MemoryContext old = MemoryContextSwitchTo(store_context);

			a->deferred = tuplestore_begin_heap(false, false, work_mem);
			MemoryContextSwitchTo(old);
		}
		tuplestore_puttupleslot(a->deferred, change);
	}
	else
	{
		note_row(a, a->new);
		ExecSimpleRelationUpdate(a->info, a->estate, &a->epq, a->old, a->new);
	}
	a->rows->updated++;
}

static void
apply_change(Apply *a, TupleTableSlot *slot, MemoryContext caller)
{
	MemoryContext old;
	bytea	   *image;
	int64		weight;
	ItemPointer tid;

	slot_getallattrs(slot);
	image = DatumGetByteaPP(slot->tts_values[Anum_diff_image - 1]);
	weight = DatumGetInt64(slot->tts_values[Anum_diff_weight - 1]);
	tid = (ItemPointer) DatumGetPointer(slot->tts_values[Anum_diff_tid - 1]);
	switch ((PgsChange) DatumGetInt32(slot->tts_values[Anum_diff_change - 1]))
	{
		case PGS_CHANGE_DELETE_SOME:
			old = MemoryContextSwitchTo(caller);
			a->images[a->npending] = datumCopy(PointerGetDatum(image), false, -1);
			a->counts[a->npending++] = Int64GetDatum(-weight);
			a->pending_bytes += VARSIZE_ANY(image);
			if (a->npending == DUPLICATES_BATCH || a->pending_bytes > DUPLICATES_BYTES)
				flush_duplicates(a);
			MemoryContextSwitchTo(old);
			break;
		case PGS_CHANGE_DELETE:
			delete_row(a, tid);
			break;
		case PGS_CHANGE_UPDATE:
			update_row(a, image, tid, slot, caller);
			break;
		case PGS_CHANGE_INSERT:
			for (int64 i = 0; i < weight; i++)
				insert_image(a, image);
			a->rows->inserted += weight;
			break;
	}
}

/*
 * Apply a difference made by pgs_diff_run; count and note what was written.  Ends both tuplestores.
 */
void
pgs_apply_run(Relation rel, Tuplestorestate *diff, TupleDesc desc, PgsNotes *notes, PgsRowCounts *rows)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext per_row;
	Apply		a = {.rows = rows, .notes = notes};
	bool		isnull;

	if (!tuplestore_gettupleslot(diff, true, false, slot))
	{
		/* nothing to write: don't even open the indexes */
		ExecDropSingleTupleTableSlot(slot);
		tuplestore_end(diff);
		return;
	}
	per_row = AllocSetContextCreate(caller, "stream table row", ALLOCSET_DEFAULT_SIZES);
	begin(&a, rel);
	do
	{
		MemoryContextSwitchTo(per_row);
		/* deletes of duplicates come first; finish them before anything else */
		if (DatumGetInt32(slot_getattr(slot, Anum_diff_change, &isnull)) != PGS_CHANGE_DELETE_SOME)
			flush_duplicates(&a);
		apply_change(&a, slot, caller);
		MemoryContextSwitchTo(caller);
		ExecClearTuple(a.old);
		ExecClearTuple(a.new);
		ResetPerTupleExprContext(a.estate);
		MemoryContextReset(per_row);
		CHECK_FOR_INTERRUPTS();
	} while (tuplestore_gettupleslot(diff, true, false, slot));
	flush_duplicates(&a);
	while (a.deferred && tuplestore_gettupleslot(a.deferred, true, false, slot))
	{
		MemoryContextSwitchTo(per_row);
		insert_image(&a, DatumGetByteaPP(slot_getattr(slot, Anum_diff_image, &isnull)));
		MemoryContextSwitchTo(caller);
		ExecClearTuple(a.new);
		ResetPerTupleExprContext(a.estate);
		MemoryContextReset(per_row);
	}
	if (a.deferred)
		tuplestore_end(a.deferred);
	tuplestore_end(diff);
	finish(&a);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(per_row);
}
