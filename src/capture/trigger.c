/*
 * trigger.c - the trigger of sources: what a statement wrote goes to their change buffers
 *
 * Statement triggers with transition tables, enabled always.  As a change commits with the row that it is about, commit order,
 * rollbacks and long transactions need no further thought.  A statement on a partition or child fires the trigger there,
 * and the rows go to the buffers of the tables above it; one on the parent fires that of the parent alone, whatever
 * partitions its rows are in.
 *
 * A subscription's worker writes row by row, and fires no statement triggers but those of TRUNCATE and of the COPY at its beginning.  So its
 * targets have a row trigger as well, which is for that worker alone, and there takes the place of the other for all rows.
 *
 * The two versions of an updated row lie at the same place of the two transition tables (commands/trigger.c puts them there
 * together); those that don't differ in a column that anybody uses are not written.
 */
#include "postgres.h"

#include "capture/capture.h"
#include "capture/capture_internal.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "replication/logicalworker.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

PG_FUNCTION_INFO_V1(pgs_capture);
PG_FUNCTION_INFO_V1(pgs_capture_row);

/* ---- rows ---- */

static int64
row_count(Tuplestorestate *rows)
{
	return rows ? tuplestore_tuple_count(rows) : 0;
}

/* Read a transition table from its beginning; other readers have places of their own. */
static void
rewind_rows(Tuplestorestate *rows)
{
	int			place = tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND);

	tuplestore_select_read_pointer(rows, place);
	tuplestore_rescan(rows);
}

static void
append_all(PgsAppend *a, Tuplestorestate *rows, TupleTableSlot *slot, int weight)
{
	if (rows == NULL)
		return;
	rewind_rows(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
		pgs_append_row(a, slot, weight);
	tuplestore_select_read_pointer(rows, 0);
}

static void
append_updates(PgsAppend *a, TriggerData *data, TupleTableSlot *old, TupleTableSlot *new)
{
	rewind_rows(data->tg_oldtable);
	rewind_rows(data->tg_newtable);
	while (tuplestore_gettupleslot(data->tg_oldtable, true, false, old) &&
		   tuplestore_gettupleslot(data->tg_newtable, true, false, new))
		pgs_append_update(a, old, new);
	tuplestore_select_read_pointer(data->tg_oldtable, 0);
	tuplestore_select_read_pointer(data->tg_newtable, 0);
}

/*
 * Whether an update sets none of the columns that a buffer holds.  The statement says which it sets, and those that are
 * generated from them; triggers before it may have set others.
 */
static bool
is_unconcerned(PgsAppend *a, TriggerData *data)
{
	const TriggerDesc *triggers = data->tg_relation->trigdesc;

	return TRIGGER_FIRED_BY_UPDATE(data->tg_event) && data->tg_updatedcols &&
		!(triggers->trig_update_before_row || triggers->trig_insert_before_row) &&
		!pgs_append_concerns(a, data->tg_updatedcols);
}

static void
append_statement(const PgsSource *source, TriggerData *data)
{
	int64		nold = row_count(data->tg_oldtable);
	int64		nnew = row_count(data->tg_newtable);
	TupleDesc	desc = RelationGetDescr(data->tg_relation);
	TupleTableSlot *old;
	TupleTableSlot *new;
	PgsAppend  *a;

	if (nold + nnew == 0)
		return;
	a = pgs_append_begin(source, data->tg_relation, nold + nnew);
	if (!a)
	{
		pgs_capture_mark(source->relid, PGS_MARK_ROWS);
		return;
	}
	old = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	new = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	if (is_unconcerned(a, data))
		;						/* nobody uses what it set */
	else if (nold > 0 && nold == nnew)
		append_updates(a, data, old, new);
	else
	{
		append_all(a, data->tg_oldtable, old, -1);
		append_all(a, data->tg_newtable, new, 1);
	}
	pgs_append_end(a);
	ExecDropSingleTupleTableSlot(old);
	ExecDropSingleTupleTableSlot(new);
}

/*
 * capture() returns trigger: AFTER ... FOR EACH STATEMENT on a source, its partitions and children
 */
Datum
pgs_capture(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	ListCell   *lc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture() can only be called as a statement trigger")));
	/* the extension may be half dropped, or be restored after its sources: nobody misses the change then */
	if (!pgs_catalog_exists())
		return PointerGetDatum(NULL);
	if (IsLogicalWorker() && !TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) && pgs_capture_has_row_trigger(data->tg_relation))
		return PointerGetDatum(NULL);
	foreach(lc, pgs_source_above(RelationGetRelid(data->tg_relation)))
	{
		PgsSource	source;

		/* asked again for each, as writing to one may make the list invalid */
		if (!pgs_source_get(lfirst_oid(lc), &source))
			continue;
		if (TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) || !(data->tg_oldtable || data->tg_newtable))
			pgs_capture_mark(source.relid, PGS_MARK_ROWS);
		else
			append_statement(&source, data);
	}
	return PointerGetDatum(NULL);
}

/* One row, of which "old" or "new" may be NULL, to the buffer of a source. */
static void
append_one(const PgsSource *source, Relation rel, TupleTableSlot *old, TupleTableSlot *new)
{
	PgsAppend  *a = pgs_append_begin(source, rel, 1);

	if (!a)
	{
		pgs_capture_mark(source->relid, PGS_MARK_ROWS);
		return;
	}
	if (old && new)
		pgs_append_update(a, old, new);
	else
		pgs_append_row(a, old ? old : new, old ? -1 : 1);
	pgs_append_end(a);
}

/*
 * capture_row() returns trigger: AFTER ... FOR EACH ROW on what a subscription writes to, ENABLE REPLICA
 */
Datum
pgs_capture_row(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;
	ListCell   *lc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(data->tg_event) || !TRIGGER_FIRED_AFTER(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture_row() can only be called as an AFTER ROW trigger")));
	/* a session that says it is a replica fires the statement triggers */
	if (!IsLogicalWorker() || !pgs_catalog_exists())
		return PointerGetDatum(NULL);
	foreach(lc, pgs_source_above(RelationGetRelid(data->tg_relation)))
	{
		PgsSource	source;

		if (!pgs_source_get(lfirst_oid(lc), &source))
			continue;
		if (TRIGGER_FIRED_BY_INSERT(data->tg_event))
			append_one(&source, data->tg_relation, NULL, data->tg_trigslot);
		else if (TRIGGER_FIRED_BY_DELETE(data->tg_event))
			append_one(&source, data->tg_relation, data->tg_trigslot, NULL);
		else
			append_one(&source, data->tg_relation, data->tg_trigslot, data->tg_newslot);
	}
	return PointerGetDatum(NULL);
}
