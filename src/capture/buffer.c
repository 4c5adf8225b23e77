/*
 * buffer.c - change buffers: what was written to a source, as rows with weights
 *
 * A buffer is two append-only tables of the same columns: transaction, command, weight (-1 for an old version of a row, +1 for
 * a new one), and the columns of the source that some stream table uses, each named after its number in the source.  Writers
 * append to the current segment and keep their lock on it until they commit; readers read both.  When the current one
 * has grown, the other becomes current (capture/empty.c), and what is consumed of the first is truncated once nobody holds
 * a lock on it: nobody ever waits.
 *
 * Rows are written as COPY does (commands/copyfrom.c), many at a time.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/relation.h"
#include "capture/capture_internal.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/tablecmds.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#define BATCH_ROWS 1000
#define BATCH_BYTES 65535
/* a statement of more rows keeps its own ring of buffers, as COPY does, so as not to push everybody's out */
#define BULK_ROWS 10000

struct PgsAppend
{
	Relation	rel;			/* the current segment */
	AttrNumber *attnos;			/* of the rows given, for each column of the segment after the head */
	Datum	   *values;
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

/* ---- definition ---- */

/* The source's column that a column of a buffer holds. */
static AttrNumber
source_attno(Form_pg_attribute attr)
{
	return pg_strtoint16(NameStr(attr->attname) + 1);
}

/*
 * Whether a column of a buffer can hold the values of one of its source.  One that no stream table uses any more may have been
 * altered, or dropped, behind the buffer's back.
 */
static bool
holds(Form_pg_attribute attr, Form_pg_attribute source)
{
	return !source->attisdropped &&
		(source->atttypid == attr->atttypid || getBaseType(source->atttypid) == attr->atttypid);
}

static ColumnDef *
column_definition(Oid relid, int attno)
{
	Oid			type;
	int32		typmod;
	Oid			collation;

	get_atttypetypmodcoll(relid, attno, &type, &typmod, &collation);
	/* a domain's constraints are the source's business; a NULL here is an old row's */
	return makeColumnDef(psprintf("c%d", attno), getBaseTypeAndTypmod(type, &typmod), typmod, collation);
}

static Oid
create_segment(Oid relid, char which, const Bitmapset *columns)
{
	CreateStmt *stmt = makeNode(CreateStmt);
	ObjectAddress address;
	int			attno = -1;

	stmt->relation = makeRangeVar(PGS_INTERNAL_SCHEMA, psprintf("b_%u_%c", relid, which), -1);
	stmt->oncommit = ONCOMMIT_NOOP;
	stmt->tableElts = list_make3(makeColumnDef("xid", XID8OID, -1, InvalidOid),
								 makeColumnDef("cid", INT8OID, -1, InvalidOid),
								 makeColumnDef("weight", INT2OID, -1, InvalidOid));
	while ((attno = bms_next_member(columns, attno)) >= 0)
		stmt->tableElts = lappend(stmt->tableElts, column_definition(relid, attno));
	address = DefineRelation(stmt, RELKIND_RELATION, BOOTSTRAP_SUPERUSERID, NULL, NULL);
	CommandCounterIncrement();
	NewRelationCreateToastTable(address.objectId, (Datum) 0);
	pgs_stream_adopt(address.objectId);
	return address.objectId;
}

/*
 * Make the buffer of a source, for some columns of it; the caller sees to it that nobody writes to the source meanwhile.
 * Fills in "source", and leaves it to the caller to store it.
 */
void
pgs_buffer_create(PgsSource *source, const Bitmapset *columns)
{
	Oid			save_userid;
	int			save_sec;

	GetUserIdAndSecContext(&save_userid, &save_sec);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, save_sec | SECURITY_LOCAL_USERID_CHANGE);
	source->buffers[0] = create_segment(source->relid, 'a', columns);
	source->buffers[1] = create_segment(source->relid, 'b', columns);
	source->current = 0;
	SetUserIdAndSecContext(save_userid, save_sec);
	CommandCounterIncrement();
}

/* Numbers in the source of the columns that a buffer holds; NULL if buffer or source is gone. */
Bitmapset *
pgs_buffer_columns(const PgsSource *source)
{
	Relation	buffer = try_relation_open(source->buffers[0], AccessShareLock);
	Relation	rel = try_relation_open(source->relid, AccessShareLock);
	Bitmapset  *result = NULL;

	for (int i = Natts_buffer_head; buffer && rel && i < RelationGetNumberOfAttributes(buffer); i++)
	{
		Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(buffer), i);

		if (!attr->attisdropped && holds(attr, TupleDescAttr(RelationGetDescr(rel), source_attno(attr) - 1)))
			result = bms_add_member(result, source_attno(attr));
	}
	if (buffer)
		relation_close(buffer, NoLock);
	if (rel)
		relation_close(rel, NoLock);
	return result;
}

/* An action of ALTER TABLE. */
static void
append_action(StringInfo sql, const char *action)
{
	appendStringInfo(sql, "%s %s", sql->len > 0 ? "," : "", action);
}

/* Run a utility command on a table of ours. */
void
pgs_capture_command(const char *sql)
{
	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
}

/*
 * Let a buffer hold just these columns: others go, and those that are missing or out of date come.  The caller holds both segments
 * exclusively: then no writer has rows in them that it may yet commit, so whoever takes a frontier from now on finds the columns filled.
 */
void
pgs_buffer_set_columns(const PgsSource *source, const Bitmapset *columns)
{
	Bitmapset  *held = pgs_buffer_columns(source);
	StringInfoData actions;
	int			attno = -1;

	initStringInfo(&actions);
	while ((attno = bms_next_member(held, attno)) >= 0)
		if (!bms_is_member(attno, columns))
			append_action(&actions, psprintf("DROP COLUMN %s", column_definition(source->relid, attno)->colname));
	attno = -1;
	while ((attno = bms_next_member(columns, attno)) >= 0)
	{
		ColumnDef  *def;

		if (bms_is_member(attno, held))
			continue;
		def = column_definition(source->relid, attno);
		append_action(&actions, psprintf("DROP COLUMN IF EXISTS %s, ADD COLUMN %s %s", def->colname, def->colname,
										 format_type_extended(def->typeName->typeOid, def->typeName->typemod,
															  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY)));
	}
	for (int i = 0; i < lengthof(source->buffers); i++)
		pgs_capture_command(psprintf("ALTER TABLE " PGS_INTERNAL_SCHEMA ".%s%s", quote_identifier(get_rel_name(source->buffers[i])),
									 actions.data));
}

/*
 * Whether a buffer can lose columns.  A dropped one keeps its number, and there are only so many: where readers came and went that
 * often, it keeps what it has.
 */
bool
pgs_buffer_may_narrow(const PgsSource *source)
{
	Relation	buffer = try_relation_open(source->buffers[0], AccessShareLock);
	bool		result = buffer && RelationGetNumberOfAttributes(buffer) < MaxHeapAttributeNumber / 2;

	if (buffer)
		relation_close(buffer, NoLock);
	return result;
}

/* Remove the buffer of a source, and its row in the catalog. */
void
pgs_buffer_drop(const PgsSource *source)
{
	for (int i = 0; i < lengthof(source->buffers); i++)
		pgs_capture_drop_table(source->buffers[i]);
	pgs_source_delete(source->relid);
}

/* How many rows a buffer holds under the active snapshot. */
int64
pgs_buffer_count(const PgsSource *source)
{
	int64		result = 0;

	for (int i = 0; i < lengthof(source->buffers); i++)
	{
		Relation	rel = try_relation_open(source->buffers[i], AccessShareLock);
		TableScanDesc scan;
		TupleTableSlot *slot;

		if (!rel)
			continue;
		scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
		slot = table_slot_create(rel, NULL);
		while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
			result++;
		ExecDropSingleTupleTableSlot(slot);
		table_endscan(scan);
		table_close(rel, AccessShareLock);
	}
	return result;
}

/* Drop a table of ours, a member of the extension, as if there were no extension. */
void
pgs_capture_drop_table(Oid relid)
{
	ObjectAddress table;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return;
	ObjectAddressSet(table, RelationRelationId, relid);
	performDeletion(&table, DROP_RESTRICT, PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY |
					PERFORM_DELETION_SKIP_EXTENSIONS);
	CommandCounterIncrement();
}

/* ---- writing ---- */

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
	a->attnos = palloc0(sizeof(AttrNumber) * natts);
	a->values = palloc0(sizeof(Datum) * natts);
	a->nulls = palloc(sizeof(bool) * natts);
	a->cid = GetCurrentCommandId(true);
	a->bulk = nrows > BULK_ROWS ? GetBulkInsertState() : NULL;
	a->context = CurrentMemoryContext;
	a->batch = AllocSetContextCreate(CurrentMemoryContext, "change buffer rows", ALLOCSET_DEFAULT_SIZES);
	memset(a->nulls, true, sizeof(bool) * natts);
	a->values[Anum_buffer_xid - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	/* that of the end of the statement: never older than the rows, so that a refresh in its middle finds them new */
	a->values[Anum_buffer_cid - 1] = Int64GetDatum(GetCurrentCommandId(true));
	memset(a->nulls, false, sizeof(bool) * Natts_buffer_head);
	for (int i = Natts_buffer_head; i < natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(segment), i);
		AttrNumber	attno;

		if (attr->attisdropped)
			continue;
		attno = source_attno(attr);
		/* numbers may differ between a partition and its parent, names don't */
		if (RelationGetRelid(rel) != source->relid)
		{
			char	   *name = get_attname(source->relid, attno, true);

			attno = name ? get_attnum(RelationGetRelid(rel), name) : InvalidAttrNumber;
		}
		if (attno > 0 && holds(attr, TupleDescAttr(RelationGetDescr(rel), attno - 1)))
			a->attnos[i] = attno;
	}
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

/* Append a row with its weight. */
void
pgs_append_row(PgsAppend *a, TupleTableSlot *slot, int weight)
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
	a->values[Anum_buffer_weight - 1] = Int16GetDatum(weight);
	for (int i = Natts_buffer_head; i < desc->natts; i++)
		if (a->attnos[i] > 0)
			a->values[i] = slot_getattr(slot, a->attnos[i], &a->nulls[i]);
	old = MemoryContextSwitchTo(a->batch);
	tuple = heap_form_tuple(desc, a->values, a->nulls);
	MemoryContextSwitchTo(old);
	ExecStoreHeapTuple(tuple, a->slots[a->nrows++], false);
	a->bytes += tuple->t_len;
	if (a->nrows == BATCH_ROWS || a->bytes > BATCH_BYTES)
		flush(a);
}

/* Whether two versions of a row differ in a column that the buffer holds. */
bool
pgs_append_differs(PgsAppend *a, TupleTableSlot *x, TupleTableSlot *y)
{
	TupleDesc	desc = RelationGetDescr(a->rel);

	for (int i = Natts_buffer_head; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);
		bool		xnull;
		bool		ynull;
		Datum		xvalue;
		Datum		yvalue;

		if (a->attnos[i] <= 0)
			continue;
		xvalue = slot_getattr(x, a->attnos[i], &xnull);
		yvalue = slot_getattr(y, a->attnos[i], &ynull);
		if (xnull != ynull || (!xnull && !datum_image_eq(xvalue, yvalue, attr->attbyval, attr->attlen)))
			return true;
	}
	return false;
}

/* Whether a statement that sets some columns (numbers less FirstLowInvalidHeapAttributeNumber) sets one that is held. */
bool
pgs_append_concerns(PgsAppend *a, const Bitmapset *updated)
{
	for (int i = Natts_buffer_head; i < RelationGetNumberOfAttributes(a->rel); i++)
		if (a->attnos[i] > 0 && bms_is_member(a->attnos[i] - FirstLowInvalidHeapAttributeNumber, updated))
			return true;
	return false;
}

void
pgs_append_end(PgsAppend *a)
{
	flush(a);
	for (int i = 0; i < a->nslots; i++)
		ExecDropSingleTupleTableSlot(a->slots[i]);
	if (a->bulk)
		FreeBulkInsertState(a->bulk);
	MemoryContextDelete(a->batch);
	/* kept to the end of the transaction: a segment is truncated only when no rows in it may yet commit */
	table_close(a->rel, NoLock);
	pfree(a->attnos);
	pfree(a->values);
	pfree(a->nulls);
	pfree(a);
}
