/*
 * events.c - follow what the server's own DDL does to stream tables and their sources
 *
 *   DROP TABLE of a stream table       its view, catalog row and history go with it
 *   DROP ... CASCADE of a source       takes the view that holds the query; the stream table keeps its rows, and its
 *                                      status says what happened
 *   ALTER TABLE ... OWNER              the view follows, as it is read with its owner's rights
 *   ALTER TABLE ... ADD/DROP COLUMN    refused on a stream table, whose columns are its query's
 *
 *   a function or type defined anew    a mark: results may differ though no row does
 *
 * Renames and changes of schema need nothing: everything is known by OID.  These run for every role, whatever it may
 * do to our catalogs, so they touch them directly, not through SQL.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "module.h"
#include "query/query.h"
#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(pgs_on_sql_drop);
PG_FUNCTION_INFO_V1(pgs_on_alter);
PG_FUNCTION_INFO_V1(pgs_on_define);

static void
require_event_trigger(FunctionCallInfo fcinfo)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function can only be called as an event trigger")));
}

/*
 * Read what a command did, by SQL.  We run as whoever typed the command, with a search_path of theirs: no operator of ours
 * may come from it.
 */
static List *
read_pinned(List *(*read) (const char *sql), const char *sql)
{
	int			level = NewGUCNestLevel();
	List	   *result;

	pgs_restrict_search_path();
	result = read(sql);
	AtEOXact_GUC(false, level);
	return result;
}

/* ---- drop ---- */

typedef struct
{
	Oid			relid;
	char	   *identity;
	bool		original;		/* named in the command, not dropped by CASCADE */
	bool		is_query;		/* in the schema of the stored queries */
} Dropped;

#define DROPPED \
	"SELECT CASE WHEN classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objsubid = 0 " \
	"THEN objid ELSE 0 END, object_type || ' ' || object_identity, original, " \
	"COALESCE(schema_name = '" PGS_INTERNAL_SCHEMA "', false) " \
	"FROM pg_catalog.pg_event_trigger_dropped_objects() " \
	"WHERE original OR classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND objsubid = 0"

/* Relations that the current command has dropped; and any other object that it named. */
static List *
dropped_objects(const char *sql)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *result = NIL;

	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the dropped objects");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		MemoryContext old = MemoryContextSwitchTo(caller);
		Dropped    *dropped = palloc0(sizeof(Dropped));
		bool		isnull;

		dropped->relid = DatumGetObjectId(SPI_getbinval(tuple, desc, 1, &isnull));
		dropped->identity = SPI_getvalue(tuple, desc, 2);
		dropped->original = DatumGetBool(SPI_getbinval(tuple, desc, 3, &isnull));
		dropped->is_query = DatumGetBool(SPI_getbinval(tuple, desc, 4, &isnull));
		result = lappend(result, dropped);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return result;
}

/* Most drops in a database are not our business: tell them cheaply. */
static bool
concern_us(const List *objects, const List *sources)
{
	ListCell   *lc;
	ListCell   *source;

	foreach(lc, objects)
	{
		Dropped    *dropped = lfirst(lc);

		if (dropped->is_query || (OidIsValid(dropped->relid) && pgs_stream_get(dropped->relid, true)))
			return true;
		foreach(source, sources)
			if (list_member_oid(((PgsSource *) lfirst(source))->members, dropped->relid))
				return true;
	}
	return false;
}

static bool
was_dropped(const List *objects, Oid relid)
{
	ListCell   *lc;

	foreach(lc, objects)
		if (((Dropped *) lfirst(lc))->relid == relid)
			return OidIsValid(relid);
	return false;
}

/* A source that is gone needs no buffer; one that has lost a partition or child has lost rows that no trigger saw. */
static void
forget_source(const PgsSource *source, const List *objects)
{
	ListCell   *lc;

	if (was_dropped(objects, source->relid))
	{
		pgs_buffer_drop(source);
		return;
	}
	foreach(lc, source->members)
		if (was_dropped(objects, lfirst_oid(lc)))
			pgs_capture_mark(source->relid, PGS_MARK_DDL);
}

/* What the user named in the command: the source that is gone, as far as can be told. */
static const char *
named_object(const List *objects)
{
	ListCell   *lc;

	foreach(lc, objects)
	{
		Dropped    *dropped = lfirst(lc);

		if (dropped->original && dropped->identity)
			return dropped->identity;
	}
	return "a source";
}

static void
forget_stream(Oid relid)
{
	PgsStream  *stream = pgs_stream_lock(relid, true);
	ObjectAddress view;

	if (!stream)
		return;
	pgs_history_forget(stream->id);
	pgs_stream_delete(relid);
	pgs_state_drop(stream->id, 1);
	if (OidIsValid(stream->viewid) && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(stream->viewid)))
	{
		ObjectAddressSet(view, RelationRelationId, stream->viewid);
		performDeletion(&view, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	}
	pgs_schedule_wake_on_commit();
}

static void
orphan_stream(Oid relid, const char *source)
{
	PgsStream  *stream = pgs_stream_lock(relid, true);

	if (!stream)
		return;
	stream->viewid = InvalidOid;
	stream->status = PGS_STATUS_ERROR;
	stream->last_error = psprintf("%s was dropped", source);
	pgs_stream_store(stream);
}

/*
 * Event trigger on sql_drop.  Rows are taken in id order, as every locker of several does.
 */
Datum
pgs_on_sql_drop(PG_FUNCTION_ARGS)
{
	List	   *objects;
	List	   *sources;
	ListCell   *lc;

	require_event_trigger(fcinfo);
	/* DROP EXTENSION itself may get us here when half of it is gone */
	if (!pgs_catalog_exists())
		PG_RETURN_NULL();
	objects = read_pinned(dropped_objects, DROPPED);
	sources = pgs_source_list();
	if (!concern_us(objects, sources))
		PG_RETURN_NULL();
	foreach(lc, sources)
		forget_source(lfirst(lc), objects);
	foreach(lc, pgs_stream_list())
	{
		PgsStream  *stream = lfirst(lc);

		if (was_dropped(objects, stream->relid))
			forget_stream(stream->relid);
		else if (was_dropped(objects, stream->viewid))
			orphan_stream(stream->relid, named_object(objects));
	}
	PG_RETURN_NULL();
}

/* ---- alter ---- */

/* OIDs that a query of ours gives. */
static List *
read_oids(const char *sql)
{
	MemoryContext caller = CurrentMemoryContext;
	List	   *result = NIL;

	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read the DDL commands");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);
		bool		isnull;

		result = lappend_oid(result, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1,
																	&isnull)));
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return result;
}

/* The objects of the current command for which a condition holds. */
static List *
commanded(const char *condition)
{
	return read_pinned(read_oids, psprintf("SELECT DISTINCT objid FROM pg_catalog.pg_event_trigger_ddl_commands() WHERE %s", condition));
}

/* The columns must still be those of the query. */
static void
refuse_other_columns(Relation rel, Oid viewid)
{
	Relation	view = table_open(viewid, AccessShareLock);
	TupleDesc	a = RelationGetDescr(rel);
	TupleDesc	b = RelationGetDescr(view);
	bool		same = a->natts == b->natts;

	for (int i = 0; same && i < a->natts; i++)
	{
		Form_pg_attribute x = TupleDescAttr(a, i);
		Form_pg_attribute y = TupleDescAttr(b, i);

		same = !x->attisdropped && strcmp(NameStr(x->attname), NameStr(y->attname)) == 0 &&
			x->atttypid == y->atttypid && x->atttypmod == y->atttypmod && x->attcollation == y->attcollation;
	}
	table_close(view, NoLock);
	if (!same)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("cannot change the columns of stream table \"%s\"", RelationGetRelationName(rel)),
				 errdetail("They are the columns of its query."),
				 errhint("Change the query: edit the dbt model, or use " PGS_SCHEMA ".alter_stream_table.")));
}

/*
 * A trigger switched off and on again, columns computed anew, a tree of partitions: whatever ALTER TABLE did, marks of
 * rows need not tell of it.
 */
static void
note_altered(Oid relid, bool is_stream)
{
	ListCell   *lc;

	if (is_stream)
		pgs_capture_mark(relid, PGS_MARK_DDL);
	/* what it is a part of now, and what it was a part of when the triggers were attached */
	foreach(lc, pgs_source_above(relid))
		pgs_capture_mark(lfirst_oid(lc), PGS_MARK_DDL);
	foreach(lc, pgs_source_list())
		if (list_member_oid(((PgsSource *) lfirst(lc))->members, relid))
			pgs_capture_mark(((PgsSource *) lfirst(lc))->relid, PGS_MARK_DDL);
}

/* Whether a command defines what queries use by name: a function, aggregate, operator, cast or type. */
static bool
defines_code(CommandTag tag)
{
	switch (tag)
	{
		case CMDTAG_CREATE_FUNCTION:
		case CMDTAG_ALTER_FUNCTION:
		case CMDTAG_ALTER_ROUTINE:
		case CMDTAG_CREATE_AGGREGATE:
		case CMDTAG_ALTER_AGGREGATE:
		case CMDTAG_CREATE_OPERATOR:
		case CMDTAG_ALTER_OPERATOR:
		case CMDTAG_CREATE_CAST:
		case CMDTAG_ALTER_TYPE:
		case CMDTAG_ALTER_DOMAIN:
			return true;
		default:
			return false;
	}
}

/*
 * Event trigger on ddl_command_end of whatever may change the meaning of a query without changing a row.  Code that is not the server's
 * concerns those who use some, by whatever way it is called; anything else, everybody.
 */
Datum
pgs_on_define(PG_FUNCTION_ARGS)
{
	EventTriggerData *data = (EventTriggerData *) fcinfo->context;

	require_event_trigger(fcinfo);
	if (pgs_catalog_exists())
		pgs_capture_mark(InvalidOid, defines_code(data->tag) && commanded(psprintf("objid < %u", FirstNormalObjectId)) == NIL ?
						 PGS_MARK_CODE : PGS_MARK_DDL);
	PG_RETURN_NULL();
}

/*
 * Event trigger on ddl_command_end of ALTER TABLE.
 */
Datum
pgs_on_alter(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	require_event_trigger(fcinfo);
	if (!pgs_catalog_exists())
		PG_RETURN_NULL();
	foreach(lc, commanded("classid = 'pg_catalog.pg_class'::pg_catalog.regclass"))
	{
		PgsStream  *stream = pgs_stream_get(lfirst_oid(lc), true);
		Relation	rel;

		note_altered(lfirst_oid(lc), stream != NULL);

		if (!stream || !OidIsValid(stream->viewid))
			continue;
		rel = table_open(stream->relid, AccessShareLock);
		refuse_other_columns(rel, stream->viewid);
		/* the caller could change the owner of the table, so the view's follows without another check */
		ATExecChangeOwner(stream->viewid, rel->rd_rel->relowner, true, AccessExclusiveLock);
		table_close(rel, NoLock);
	}
	PG_RETURN_NULL();
}
