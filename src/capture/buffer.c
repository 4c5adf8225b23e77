/*
 * buffer.c - change buffers: what was written to a source, as rows with weights
 *
 * A buffer is two append-only tables of the same columns, its segments.  Each of their rows tells transaction and command, and then either
 * holds a pack of rows (capture/pack.c), or is a row itself, one too large to be packed: its weight (-1 for an old version, +1 for
 * a new one), and the columns of the source that some stream table uses, each named after its number in the source.  Those are
 * what packs are made of, too.
 *
 * Writers append to the current segment and keep their lock on it until they commit (capture/append.c); readers read both
 * (capture/gather.c).  When the current one has grown, the other becomes current (capture/empty.c), and what is consumed of the
 * first is truncated once nobody holds a lock on it: nobody ever waits.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/relation.h"
#include "capture/capture_internal.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/tablecmds.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* ---- definition ---- */

/* The source's column that a column of a buffer holds. */
AttrNumber
pgs_buffer_source_attno(Form_pg_attribute attr)
{
	return pg_strtoint16(NameStr(attr->attname) + 1);
}

/*
 * Whether a column of a buffer can hold the values of one of its source.  One that no stream table uses any more may have been
 * altered, or dropped, behind the buffer's back.
 */
bool
pgs_buffer_holds(Form_pg_attribute attr, Form_pg_attribute source)
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
	stmt->tableElts = list_make5(makeColumnDef("xid", XID8OID, -1, InvalidOid),
								 makeColumnDef("cid", INT8OID, -1, InvalidOid),
								 makeColumnDef("weight", INT2OID, -1, InvalidOid),
								 makeColumnDef("packed", INT4OID, -1, InvalidOid),
								 makeColumnDef("pack", BYTEAOID, -1, InvalidOid));
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

		if (!attr->attisdropped && pgs_buffer_holds(attr, TupleDescAttr(RelationGetDescr(rel), pgs_buffer_source_attno(attr) - 1)))
			result = bms_add_member(result, pgs_buffer_source_attno(attr));
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
		{
			bool		is_row;
			Datum		packed = slot_getattr(slot, Anum_buffer_packed, &is_row);

			result += is_row ? 1 : DatumGetInt32(packed);
		}
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
