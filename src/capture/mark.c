/*
 * mark.c - writers leave a mark: (relation, transaction, command), and which rows
 *
 * A statement trigger on each source, enabled always, inserts one row into an append-only table; the engine does the same
 * for the stream tables that it writes, and the event triggers for DDL.  As the mark commits with the change itself, commit
 * order, rollbacks and long transactions need no further thought.
 *
 * The command id is that of the end of the statement, so it is never older than the rows: a refresh in the middle of a
 * statement (from a function that it calls) finds the mark newer than itself.
 *
 * A transaction marks each relation once for each subtransaction, until it takes a frontier itself.
 *
 * Where a stream table can use it (query/restrict.c), the mark says which rows: the trigger, told the columns, leaves one mark
 * for each of them and each row written, old and new, from the transition tables.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(pgs_capture);


/* relations marked by this subtransaction already; a full array only costs marks too many */
static struct
{
	FullTransactionId xid;
	SubTransactionId subxact;
	int			n;
	Oid			relids[32];
}			marked;

static bool
already_marked(Oid relid)
{
	FullTransactionId xid = GetTopFullTransactionIdIfAny();

	if (!FullTransactionIdEquals(xid, marked.xid) || marked.subxact != GetCurrentSubTransactionId())
	{
		marked.n = 0;
		return false;
	}
	for (int i = 0; i < marked.n; i++)
		if (marked.relids[i] == relid)
			return true;
	return false;
}

static void
remember_marked(Oid relid)
{
	marked.xid = GetTopFullTransactionId();
	marked.subxact = GetCurrentSubTransactionId();
	if (marked.n < lengthof(marked.relids))
		marked.relids[marked.n++] = relid;
}

/* The transaction takes a frontier: what it writes from now on needs marks of its own. */
void
pgs_capture_new_frontier(void)
{
	marked.n = 0;
}

static void
insert_mark(Relation rel, Oid relid, PgsMarkKind kind, int attnum, bytea *value)
{
	Datum		values[Natts_change];
	bool		nulls[Natts_change] = {false};

	values[Anum_change_relid - 1] = ObjectIdGetDatum(relid);
	values[Anum_change_kind - 1] = CharGetDatum((char) kind);
	values[Anum_change_xid - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[Anum_change_cid - 1] = Int64GetDatum(GetCurrentCommandId(true));
	values[Anum_change_attnum - 1] = Int16GetDatum(attnum);
	values[Anum_change_value - 1] = PointerGetDatum(value);
	nulls[Anum_change_value - 1] = value == NULL;
	simple_heap_insert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
}

/*
 * Leave a mark for a relation, or for everything (InvalidOid).  Works for any role: the caller's rights were those to make
 * the change itself.
 */
void
pgs_capture_mark(Oid relid, PgsMarkKind kind)
{
	Relation	rel;

	if (kind == PGS_MARK_ROWS && already_marked(relid))
		return;
	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), RowExclusiveLock);
	insert_mark(rel, relid, kind, 0, NULL);
	/* not held to the end: a writer's transaction must not keep anybody from the catalogs */
	table_close(rel, RowExclusiveLock);
	if (kind == PGS_MARK_ROWS)
		remember_marked(relid);
}

/* The bytes of a value: flat, of any type that has a length. */
bytea *
pgs_capture_pack(Datum value, Form_pg_attribute attr)
{
	Size		len;
	char	   *data;
	bytea	   *result;

	if (attr->attbyval)
	{
		data = (char *) &value;
		len = sizeof(Datum);
	}
	else if (attr->attlen == -1)
	{
		data = (char *) PG_DETOAST_DATUM(value);
		len = VARSIZE(data);
	}
	else
	{
		data = DatumGetPointer(value);
		len = attr->attlen;
	}
	result = palloc(VARHDRSZ + len);
	SET_VARSIZE(result, VARHDRSZ + len);
	memcpy(VARDATA(result), data, len);
	return result;
}

/* The reverse, into the current memory context. */
Datum
pgs_capture_unpack(bytea *packed, int16 typlen, bool typbyval)
{
	Size		len = VARSIZE_ANY_EXHDR(packed);
	Datum		value;
	char	   *copy;

	if (typbyval)
	{
		memcpy(&value, VARDATA_ANY(packed), sizeof(Datum));
		return value;
	}
	copy = palloc(len);
	memcpy(copy, VARDATA_ANY(packed), len);
	return PointerGetDatum(copy);
}

/* Mark the columns named by the trigger's arguments of all rows of a transition table. */
static void
mark_rows(TriggerData *data, Tuplestorestate *rows)
{
	Relation	source = data->tg_relation;
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), RowExclusiveLock);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(RelationGetDescr(source), &TTSOpsMinimalTuple);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "change marks", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	/* other readers of the same table have places of their own */
	int			place = tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND);

	tuplestore_select_read_pointer(rows, place);
	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		MemoryContextSwitchTo(per_row);
		for (int i = 0; i < data->tg_trigger->tgnargs; i++)
		{
			int			attnum = pg_strtoint16(data->tg_trigger->tgargs[i]);
			bool		isnull;
			Datum		value = slot_getattr(slot, attnum, &isnull);

			insert_mark(rel, RelationGetRelid(source), PGS_MARK_ROWS, attnum,
						isnull ? NULL : pgs_capture_pack(value, TupleDescAttr(RelationGetDescr(source), attnum - 1)));
		}
		MemoryContextSwitchTo(caller);
		MemoryContextReset(per_row);
	}
	tuplestore_select_read_pointer(rows, 0);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(per_row);
	table_close(rel, RowExclusiveLock);
}

/*
 * Leave the marks of rows that the engine itself wrote to a stream table: for each row one value of each column, in turn;
 * packed, NULL for null.
 */
void
pgs_capture_mark_values(Oid relid, const List *columns, const List *values)
{
	Relation	rel;
	ListCell   *lc;

	if (already_marked(relid))
		return;
	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), RowExclusiveLock);
	foreach(lc, values)
		insert_mark(rel, relid, PGS_MARK_ROWS, list_nth_int(columns, foreach_current_index(lc) % list_length(columns)),
					lfirst(lc));
	table_close(rel, RowExclusiveLock);
}

static int64
row_count(Tuplestorestate *rows)
{
	return rows ? tuplestore_tuple_count(rows) : 0;
}

/*
 * Leave marks for what a statement wrote.  Nothing for a statement without rows, where the rows are there to be counted.
 */
static void
mark_statement(TriggerData *data)
{
	Oid			relid = RelationGetRelid(data->tg_relation);
	int64		rows = row_count(data->tg_oldtable) + row_count(data->tg_newtable);

	if (data->tg_trigger->tgnargs == 0 || TRIGGER_FIRED_BY_TRUNCATE(data->tg_event) || rows > PGS_MAX_NOTED_ROWS)
		pgs_capture_mark(relid, PGS_MARK_ROWS);
	else if (!already_marked(relid))
	{
		if (data->tg_oldtable)
			mark_rows(data, data->tg_oldtable);
		if (data->tg_newtable)
			mark_rows(data, data->tg_newtable);
	}
}

/*
 * capture([column number, ...]) returns trigger: AFTER ... FOR EACH STATEMENT on a source
 */
Datum
pgs_capture(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture() can only be called as a statement trigger")));
	/* the extension may be half dropped, or be restored after its sources: nobody misses the mark then */
	if (pgs_catalog_exists())
		mark_statement(data);
	return PointerGetDatum(NULL);
}
