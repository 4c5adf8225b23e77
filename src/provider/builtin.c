/*
 * builtin.c - the engine of this extension, behind the provider's struct
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "commands/trigger.h"
#include "delta/delta.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "module.h"
#include "provider/provider.h"
#include "query/query.h"
#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

static bool
owns(const PgsEngine *self, Oid relid)
{
	return pgs_stream_get(relid, true) != NULL;
}

static void
create(const PgsEngine *self, PgsName *name, const PgsOptions *options)
{
	(void) pgs_define_create(name, options);
}

static void
replace_query(PgsStream *stream, const char *query)
{
	PgsDefinition *def = pgs_query_define(query, pgs_define_owner(stream->relid));

	pgs_query_refuse(def->reasons);
	pgs_define_refuse_mode(def, stream->mode);
	if (!pgs_define_same_columns(stream, def))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("new query of stream table \"%s\" has other columns", get_rel_name(stream->relid)),
				 errhint("Drop and create it, or use " PGS_SCHEMA ".upsert_stream_table, which does.")));
	pgs_define_replace(stream, def);
}

static void
alter(const PgsEngine *self, const PgsName *name, const PgsOptions *options)
{
	PgsStream  *stream;
	bool		changed;

	pgs_define_require_owner(name->relid);
	(void) pgs_refresh_lock(name->relid, PGS_WAIT);
	stream = pgs_stream_lock(name->relid, false);
	/* the query is to fit the mode that comes with it */
	changed = pgs_define_options(stream, options);
	if (options->query)
		replace_query(stream, options->query);
	else if (options->mode && OidIsValid(stream->viewid))
		pgs_define_refuse_mode(pgs_query_define(pgs_query_view_sql(stream->viewid), pgs_define_owner(stream->relid)), stream->mode);
	if (changed && !options->query)
		pgs_stream_store(stream);
	if (options->query && stream->populated)
		pgs_refresh_one(name->relid, "MANUAL", NULL);
}

static void
drop(const PgsEngine *self, const PgsName *name, bool cascade)
{
	char	   *sql = psprintf("DROP TABLE %s%s", quote_qualified_identifier(name->schema, name->name),
							   cascade ? " CASCADE" : "");

	(void) pgs_refresh_lock(name->relid, PGS_WAIT);
	/* as a command, so that the event trigger cleans up, as it does for any DROP */
	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
}

static void
refresh(const PgsEngine *self, const PgsName *name)
{
	pgs_define_require_owner(name->relid);
	pgs_refresh_one(name->relid, "MANUAL", NULL);
	pgs_schedule_wake_on_commit();
}

static void
repair(const PgsEngine *self, const PgsName *name)
{
	pgs_define_require_owner(name->relid);
	(void) pgs_refresh_lock(name->relid, PGS_WAIT);
	/* before the row, as in every refresh: DROP ... CASCADE of a source wants the row while it holds the source */
	(void) pgs_refresh_lock_relations(pgs_stream_get(name->relid, false), PGS_WAIT);
	pgs_define_repair(pgs_stream_lock(name->relid, false));
	pgs_refresh_one(name->relid, "MANUAL", NULL);
	pgs_schedule_wake_on_commit();
}

/* ---- explain ---- */

static char *
timestamp_text(TimestampTz t)
{
	if (t == 0 || TIMESTAMP_NOT_FINITE(t))
		return NULL;
	return pstrdup(timestamptz_to_str(t));
}

static char *
key_text(const PgsStream *stream)
{
	StringInfoData buf;
	ListCell   *lc;

	if (stream->key == NIL)
		return "none: a changed row is deleted and inserted";
	initStringInfo(&buf);
	foreach(lc, stream->key)
		appendStringInfo(&buf, "%s%s", foreach_current_index(lc) ? ", " : "",
						 quote_identifier(get_attname(stream->relid, lfirst_int(lc), false)));
	return buf.data;
}

static char *
next_due_text(const PgsStream *stream)
{
	PgsDag	   *dag = pgs_dag_build();

	for (int i = 0; i < dag->n; i++)
		if (dag->streams[i]->relid == stream->relid)
		{
			char	   *text = timestamp_text(pgs_due_at(dag, i, true));

			return text ? text : "never by itself";
		}
	return NULL;
}

static char *
scheduler_text(void)
{
	if (!pgs_scheduler_enabled)
		return "off (dbt_pgstream.scheduler)";
	if (pgs_schedule_workers(MyDatabaseId) == 0)
		return "not running: any change of a stream table starts it";
	if (!pgs_schedule_preloaded)
		return "running until the server restarts: add " PGS_EXTENSION " to shared_preload_libraries";
	return "running";
}

/* What a change of each source means, where a query has no delta of its own. */
static void
explain_scopes(Query *query, Tuplestorestate *store, TupleDesc desc)
{
	ListCell   *lc;

	foreach(lc, pgs_query_relations(query))
	{
		Oid			relid = lfirst_oid(lc);
		char	   *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
													  get_rel_name(relid));
		char	   *changes = pgs_capture_possible(relid) ? pgs_query_describe_changes(query, relid) : NULL;

		pgs_put_property(store, desc, "source", psprintf("%s%s: %s", name, pgs_stream_get(relid, true) ? " (stream table)" : "",
														 changes ? changes : "computed whole when it changes"));
	}
}

static void
explain_blocks(const PgsStream *stream, Tuplestorestate *store, TupleDesc desc)
{
	PgsDefinition *def = pgs_query_define(pgs_query_view_sql(stream->viewid), pgs_define_owner(stream->relid));
	const char *obstacle = pgs_capture_obstacle(stream, pgs_query_sources(stream->viewid));
	Query	   *query = pgs_query_of_view(stream->viewid);
	PgsIncrement *inc = pgs_delta_analyze(query, stream->id);
	ListCell   *lc;

	pgs_put_property(store, desc, "capture", obstacle ? psprintf("none: %s", obstacle) :
					 "complete: a refresh is skipped while no source has changed");
	if (obstacle)
		pgs_put_property(store, desc, "rule", "full: a refresh computes the query and writes only the rows that differ");
	else if (inc->obstacle)
		pgs_put_property(store, desc, "rule",
						 psprintf("B: query and stored rows are compared where a change can have touched them, "
								  "as there is no delta rule for %s", inc->obstacle));
	else
		pgs_put_property(store, desc, "rule", "A: the changes of the sources are turned into changes of the result");
	if (inc->obstacle)
		explain_scopes(query, store, desc);
	foreach(lc, pgs_delta_describe(inc))
	{
		PgsReason  *r = lfirst(lc);

		pgs_put_property(store, desc, r->block, psprintf("%s: %s", r->rule, r->reason));
	}
	foreach(lc, def->reasons)
	{
		PgsReason  *r = lfirst(lc);

		pgs_put_property(store, desc, "note", psprintf("%s: %s", r->block, r->reason));
	}
}

static void
explain(const PgsEngine *self, const PgsName *name, Tuplestorestate *store, TupleDesc desc)
{
	PgsStream  *stream = pgs_stream_get(name->relid, false);
	bool		owner;
	ListCell   *lc;

	pgs_put_property(store, desc, "stream table", quote_qualified_identifier(name->schema, name->name));
	pgs_put_property(store, desc, "engine", self->name);
	pgs_put_property(store, desc, "status", pgs_status_name(stream->status));
	owner = pgs_owns_relation(name->relid, GetUserId());
	if (stream->last_error && owner)
		pgs_put_property(store, desc, "last error", stream->last_error);
	pgs_put_property(store, desc, "refresh mode", pgs_mode_name(stream->mode));
	pgs_put_property(store, desc, "schedule", stream->schedule ? stream->schedule : "manual");
	pgs_put_property(store, desc, "next refresh", next_due_text(stream));
	pgs_put_property(store, desc, "last refresh", timestamp_text(stream->last_refresh_at));
	pgs_put_property(store, desc, "scheduler", scheduler_text());
	pgs_put_property(store, desc, "key", key_text(stream));
	if (!OidIsValid(stream->viewid))
	{
		pgs_put_property(store, desc, "query", stream->query_sql);
		pgs_put_property(store, desc, "note", "a source is gone: run dbt again, or repair_stream_table once it is back");
		return;
	}
	pgs_put_property(store, desc, "query", pgs_query_view_sql(stream->viewid));
	explain_blocks(stream, store, desc);
	/* the plan may show values of the query's constants and statistics: for the owner */
	if (!owner)
		return;
	foreach(lc, pgs_refresh_explain(stream))
	{
		PgsProperty *p = lfirst(lc);

		pgs_put_property(store, desc, p->name, p->value);
	}
	foreach(lc, pgs_refresh_plan(stream))
		pgs_put_property(store, desc, "plan", lfirst(lc));
}

/* ---- history and health ---- */

static void
history(const PgsEngine *self, const PgsName *name, int rows, Tuplestorestate *store, TupleDesc desc)
{
	Oid			types[] = {OIDOID, INT4OID};
	Datum		values[] = {ObjectIdGetDatum(name->relid), Int32GetDatum(rows)};

	pgs_put_query(store, desc,
				  "SELECT refresh_id, start_time, end_time, action, status, rows_inserted, rows_updated, rows_deleted, "
				  "duration_ms, initiated_by, error_message FROM " PGS_SCHEMA ".pgs_refresh_history "
				  "WHERE pgs_relid = $1 ORDER BY refresh_id DESC LIMIT $2",
				  lengthof(types), types, values);
}

static void
health(const PgsEngine *self, Tuplestorestate *store, TupleDesc desc)
{
	pgs_put_query(store, desc, "SELECT * FROM " PGS_INTERNAL_SCHEMA ".source_health", 0, NULL, NULL);
}

const PgsEngine pgs_engine_builtin = {
	.name = "builtin",
	.owns = owns,
	.create = create,
	.alter = alter,
	.drop = drop,
	.refresh = refresh,
	.repair = repair,
	.explain = explain,
	.history = history,
	.health = health
};
