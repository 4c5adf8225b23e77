/*
 * define.c - create, change and repair stream tables of the builtin engine
 *
 * A stream table is four things: an ordinary table, the view that holds its query, the guard trigger, and a row in
 * the catalog.  What users may be refused (rights on the schema, a name that is taken) is done by the very commands that
 * they would have typed, as themselves.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "delta/delta.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/nodeFuncs.h"
#include "provider/provider.h"
#include "query/query.h"
#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define GUARD_NAME "pgstream_guard"

/* settings that decide how a value turns into text, or text into a value */
static const char *const pinned[] = {
	"TimeZone", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output", "lc_monetary", "lc_numeric",
	"lc_time", "xmlbinary", "xmloption", "default_text_search_config"
};

static ArrayType *
current_settings(void)
{
	Datum		elems[2 * lengthof(pinned)];

	for (int i = 0; i < lengthof(pinned); i++)
	{
		elems[2 * i] = CStringGetTextDatum(pinned[i]);
		elems[2 * i + 1] = CStringGetTextDatum(GetConfigOptionByName(pinned[i], NULL, false));
	}
	return construct_array(elems, lengthof(elems), TEXTOID, -1, false, TYPALIGN_INT);
}

static void
run_command(const char *sql)
{
	int			rc;

	SPI_connect();
	rc = SPI_execute(sql, false, 0);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
	SPI_finish();
}

/* Altering, refreshing, dropping need ownership of the table. */
void
pgs_define_require_owner(Oid relid)
{
	if (!pgs_owns_relation(relid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(relid));
}

/* The role that a stream table belongs to, and as which its query runs. */
Oid
pgs_define_owner(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Oid			owner = rel->rd_rel->relowner;

	table_close(rel, NoLock);
	return owner;
}

static PgsMode
parse_mode(const char *text)
{
	PgsMode		mode = pgs_mode_parse(text);

	if (mode == PGS_MODE_IMMEDIATE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("refresh mode IMMEDIATE is not supported by the builtin engine yet"),
				 errhint("Use DIFFERENTIAL with a short schedule, such as '500ms'.")));
	return mode;
}

/* A query that has to be computed at each refresh doesn't follow changes: whoever wants that has to say so. */
void
pgs_define_refuse_mode(const PgsDefinition *def, PgsMode mode)
{
	const char *reason = mode == PGS_MODE_DIFFERENTIAL ? pgs_delta_unsettled(def) : NULL;

	if (reason)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot keep this query as a stream table in refresh mode DIFFERENTIAL: %s", reason),
				 errhint("Leave it out, declare a function of yours IMMUTABLE if it is, or use refresh mode AUTO or FULL: then every refresh computes the whole query.")));
}

static bool
has_guard(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		found = false;

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
		if (strcmp(rel->trigdesc->triggers[i].tgname, GUARD_NAME) == 0)
			found = true;
	table_close(rel, NoLock);
	return found;
}

/* The trigger that refuses direct writes, and what makes the table fit for publication without a key. */
static void
dress_table(Oid relid)
{
	char	   *table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));

	if (!has_guard(relid))
		run_command(psprintf("CREATE TRIGGER " GUARD_NAME " BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s "
							 "FOR EACH STATEMENT EXECUTE FUNCTION " PGS_INTERNAL_SCHEMA ".guard()", table));
	run_command(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " GUARD_NAME ", REPLICA IDENTITY FULL", table));
	pgs_stream_link(relid);
}

static void
refuse_taken(const PgsName *name)
{
	if (OidIsValid(name->relid))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("cannot create stream table \"%s\": a relation with that name already exists", name->name),
				 errhint("Drop it, or choose another name.")));
}

/* Once per session that starts a scheduler: what a restart of the server will need. */
static void
advise_preload(void)
{
	static bool said = false;

	if (said || pgs_schedule_preloaded || !pgs_scheduler_enabled || pgs_schedule_workers(MyDatabaseId) > 0)
		return;
	said = true;
	ereport(NOTICE,
			(errmsg("stream tables of this database are refreshed until the server restarts"),
			 errhint("To go on after a restart, add " PGS_EXTENSION " to shared_preload_libraries.")));
}

/*
 * Create a stream table from its options: query required, schedule NULL for a manual one.  Fills in name->relid.
 * Returns the new catalog row.
 */
PgsStream *
pgs_define_create(PgsName *name, const PgsOptions *options)
{
	PgsStream  *stream = palloc0(sizeof(PgsStream));
	Oid			owner = GetUserId();
	PgsDefinition *def;

	stream->schedule = pgs_schedule_normalise(options->schedule);
	stream->mode = parse_mode(options->mode ? options->mode : "DIFFERENTIAL");
	refuse_taken(name);
	def = pgs_query_define(options->query, owner);
	pgs_query_refuse(def->reasons);
	pgs_define_refuse_mode(def, stream->mode);

	stream->id = pgs_stream_next_id();
	stream->viewid = pgs_query_create_view(stream->id, def->sql, owner);
	/* rows with a key are updated in place: with some room in each page, beside their old versions */
	run_command(psprintf("CREATE TABLE %s%s AS SELECT * FROM " PGS_INTERNAL_SCHEMA ".%s WITH NO DATA",
						 quote_qualified_identifier(name->schema, name->name), def->key ? " WITH (fillfactor = 90)" : "",
						 pgs_query_view_name(stream->id)));
	stream->relid = name->relid = get_relname_relid(name->name, get_namespace_oid(name->schema, false));
	dress_table(stream->relid);

	stream->user_query = def->user_query;
	stream->query_sql = def->sql;
	stream->key = def->key;
	stream->data_only = pgs_delta_data_only(def);
	stream->status = PGS_STATUS_INITIALIZING;
	stream->settings = current_settings();
	stream->created_at = GetCurrentTimestamp();
	pgs_stream_insert(stream);
	if (options->initialize)
		pgs_refresh_one(stream->relid, "INITIAL", NULL);
	else
		pgs_refresh_probe(stream);
	if (stream->schedule)
		advise_preload();
	/* also for a manual one: the scheduler attaches what captures its sources' changes, and leaves again */
	pgs_schedule_wake_on_commit();
	return stream;
}

/* Whether a new query has just the columns that the table has: names, types, modifiers, collations, order. */
bool
pgs_define_same_columns(const PgsStream *stream, const PgsDefinition *def)
{
	Relation	rel = table_open(stream->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	int			i = 0;
	bool		same = true;
	ListCell   *lc;

	foreach(lc, def->query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Form_pg_attribute attr;

		if (tle->resjunk)
			continue;
		while (i < desc->natts && TupleDescAttr(desc, i)->attisdropped)
			i++;
		if (i == desc->natts)
		{
			same = false;
			break;
		}
		attr = TupleDescAttr(desc, i++);
		same = same && strcmp(NameStr(attr->attname), tle->resname) == 0 &&
			attr->atttypid == exprType((Node *) tle->expr) &&
			attr->atttypmod == exprTypmod((Node *) tle->expr) &&
			attr->attcollation == exprCollation((Node *) tle->expr);
	}
	table_close(rel, NoLock);
	return same && i == desc->natts;
}

static void
drop_view(Oid viewid)
{
	ObjectAddress view;

	if (!OidIsValid(viewid) || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(viewid)))
		return;
	ObjectAddressSet(view, RelationRelationId, viewid);
	/* internal: our own event trigger need not hear of it */
	performDeletion(&view, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
	CommandCounterIncrement();
}

/*
 * Give a stream table another query with the same columns, in place: indexes, grants and dependents stay.  The caller
 * holds the refresh lock and has the row locked; "stream" is changed and stored, its content is refreshed later.
 */
void
pgs_define_replace(PgsStream *stream, const PgsDefinition *def)
{
	pgs_query_refuse(def->reasons);
	drop_view(stream->viewid);
	stream->viewid = pgs_query_create_view(stream->id, def->sql, pgs_define_owner(stream->relid));
	pgs_dag_refuse_cycle(stream->relid, stream->viewid);
	stream->user_query = def->user_query;
	stream->query_sql = def->sql;
	stream->key = def->key;
	stream->data_only = pgs_delta_data_only(def);
	pgs_capture_set_frontier(stream, (Datum) 0, 0);
	stream->settings = current_settings();
	if (stream->status == PGS_STATUS_ERROR || stream->status == PGS_STATUS_SUSPENDED)
		stream->status = PGS_STATUS_ACTIVE;
	stream->errors = 0;
	stream->last_error = NULL;
	stream->retry_at = 0;
	pgs_stream_store(stream);
	pgs_schedule_wake_on_commit();
}

static bool
same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool
set_status(PgsStream *stream, const char *text)
{
	PgsStatus	wanted = pgs_status_parse(text);

	if (wanted != PGS_STATUS_ACTIVE && wanted != PGS_STATUS_PAUSED)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("status of a stream table cannot be set to %s", pgs_status_name(wanted)),
				 errhint("Use ACTIVE to run or resume it, PAUSED to stop its schedule.")));
	if (stream->status == wanted)
		return false;
	if (wanted == PGS_STATUS_ACTIVE)
	{
		/* a lost source is not found by resuming */
		stream->status = !OidIsValid(stream->viewid) ? PGS_STATUS_ERROR :
			stream->populated ? PGS_STATUS_ACTIVE : PGS_STATUS_INITIALIZING;
		stream->errors = 0;
		stream->retry_at = 0;
	}
	else
		stream->status = wanted;
	return true;
}

/*
 * Change schedule, mode and status as far as they are given and differ; returns whether any did.  The caller has the
 * row locked, sees to it that mode and query fit, and stores it.
 */
bool
pgs_define_options(PgsStream *stream, const PgsOptions *options)
{
	bool		changed = false;

	if (options->schedule)
	{
		char	   *schedule = pgs_schedule_normalise(options->schedule);

		changed |= !same_text(stream->schedule, schedule);
		stream->schedule = schedule;
	}
	if (options->mode)
	{
		PgsMode		mode = parse_mode(options->mode);

		changed |= stream->mode != mode;
		stream->mode = mode;
	}
	if (options->status)
		changed |= set_status(stream, options->status);
	if (changed)
		pgs_schedule_wake_on_commit();
	return changed;
}

/*
 * Put right whatever may be missing: the link to the extension, the guard, the view of the query (if its sources exist
 * again by name).  The caller holds the refresh lock, has the row locked, and refreshes afterwards.
 */
void
pgs_define_repair(PgsStream *stream)
{
	dress_table(stream->relid);
	if (!OidIsValid(stream->viewid) || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(stream->viewid)))
	{
		PgsDefinition *def = pgs_query_define(stream->query_sql, pgs_define_owner(stream->relid));
		char	   *user_query = stream->user_query;
		ArrayType  *settings = stream->settings;

		pgs_define_replace(stream, def);
		/* it is the old definition, bound anew */
		stream->user_query = user_query;
		stream->settings = settings;
	}
	if (stream->status == PGS_STATUS_ERROR || stream->status == PGS_STATUS_SUSPENDED)
		stream->status = PGS_STATUS_ACTIVE;
	stream->errors = 0;
	stream->retry_at = 0;
	/* whatever went wrong, marks may not tell: compute */
	pgs_capture_set_frontier(stream, (Datum) 0, 0);
	pgs_stream_store(stream);
}
