/*
 * upsert.c - make a stream table what a dbt model says, with as little work as that needs
 *
 *   created     there was none
 *   unchanged   its query means the same: equal parse trees after views are expanded, whatever the text looks like
 *   altered     the same query, other options
 *   rebound     the same query by name, but a source is another relation than before (swapped, or dropped and back)
 *   replaced    another query with the same columns: oid, indexes, grants and dependents stay
 *   recreated   other columns, or another engine
 *
 * Trees are compared as deparsed text with every name qualified; the stored side is the view, so a renamed source
 * shows its new name.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "module.h"
#include "portability/instr_time.h"
#include "provider/provider.h"
#include "query/query.h"
#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(pgs_upsert_stream_table);

typedef struct
{
	PgsName		name;
	PgsOptions	options;
	const char *engine;			/* asked for; NULL: whatever it has, or the default */
	bool		full_refresh;
	const char *action;			/* the result */
	const char *detail;
} Upsert;

/* ---- arguments ---- */

static char *
option_text(const JsonbValue *value, const char *key)
{
	switch (value->type)
	{
		case jbvNull:
			return NULL;
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvBool:
			return value->val.boolean ? "true" : "false";
		default:
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"%s\" must be text", key)));
	}
}

static void
set_option(Upsert *u, const char *key, char *text)
{
	if (strcmp(key, "schedule") == 0)
		u->options.schedule = text ? text : "manual";
	else if (strcmp(key, "refresh_mode") == 0)
		u->options.mode = text;
	else if (strcmp(key, "initialize") == 0)
	{
		if (text && !parse_bool(text, &u->options.initialize))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"initialize\" must be true or false, not \"%s\"", text)));
	}
	else if (strcmp(key, "engine") == 0)
		u->engine = text;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unknown option \"%s\"", key),
				 errhint("Known options are schedule, refresh_mode, initialize and engine.")));
}

static void
read_options(Upsert *u, Jsonb *options)
{
	JsonbIterator *it = JsonbIteratorInit(&options->root);
	JsonbIteratorToken token;
	JsonbValue	value;
	char	   *key = NULL;

	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	u->options.initialize = true;
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = pnstrdup(value.val.string.val, value.val.string.len);
		else if (token == WJB_VALUE)
			set_option(u, key, option_text(&value, key));
	}
}

/* ---- telling ---- */

static char *
described(int64 inserted, int64 updated, int64 deleted, instr_time start)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, start);
	if (updated == 0 && deleted == 0)
		return psprintf(INT64_FORMAT " rows in %.0f ms", inserted, INSTR_TIME_GET_MILLISEC(now));
	return psprintf("+" INT64_FORMAT " ~" INT64_FORMAT " -" INT64_FORMAT " rows in %.0f ms",
					inserted, updated, deleted, INSTR_TIME_GET_MILLISEC(now));
}

/* ---- actions, each ending in one result ---- */

static void
create(Upsert *u, const char *action, const char *why)
{
	const PgsEngine *engine = pgs_engine_for_new(u->engine);
	PgsOptions	options = u->options;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	if (!options.schedule)
		options.schedule = "1m";
	else if (pgs_schedule_normalise(options.schedule) == NULL && engine->schema)
		options.schedule = NULL;
	u->name.relid = InvalidOid;
	engine->create(engine, &u->name, &options);
	u->action = action;
	if (engine == &pgs_engine_builtin && options.initialize)
		u->detail = described(pgs_stream_get(u->name.relid, false)->rows_inserted, 0, 0, start);
	else
		u->detail = options.initialize ? psprintf("by %s", engine->name) : "not populated yet";
	if (why)
		u->detail = psprintf("%s; %s", u->detail, why);
}

/* Views and stream tables that read a relation, for telling which ones a DROP ... CASCADE takes along. */
static char *
dependents(Oid relid)
{
	Oid			type = OIDOID;
	Datum		value = ObjectIdGetDatum(relid);
	char	   *result = NULL;
	MemoryContext caller = CurrentMemoryContext;
	int			level = NewGUCNestLevel();

	pgs_restrict_search_path();
	SPI_connect();
	if (SPI_execute_with_args("SELECT pg_catalog.string_agg(DISTINCT r.ev_class::pg_catalog.regclass::pg_catalog.text, ', ') "
							  "FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid "
							  "JOIN pg_catalog.pg_class c ON c.oid = r.ev_class "
							  "WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass "
							  "AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = $1 "
							  "AND c.relnamespace <> '" PGS_INTERNAL_SCHEMA "'::pg_catalog.regnamespace",
							  1, &type, &value, NULL, true, 1) == SPI_OK_SELECT)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		if (text)
			result = MemoryContextStrdup(caller, text);
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
	return result;
}

static const char *
relation_kind(Oid relid)
{
	switch (get_rel_relkind(relid))
	{
		case RELKIND_VIEW:
			return "view";
		case RELKIND_MATVIEW:
			return "materialized view";
		case RELKIND_FOREIGN_TABLE:
			return "foreign table";
		case RELKIND_SEQUENCE:
			return "sequence";
		default:
			return "table";
	}
}

static void
drop_relation(const PgsName *name, const char *kind)
{
	char	   *sql = psprintf("DROP %s %s CASCADE", kind, quote_qualified_identifier(name->schema, name->name));

	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
}

static void
recreate(Upsert *u, const PgsEngine *engine, const char *why)
{
	char	   *lost = dependents(u->name.relid);

	if (lost)
		why = psprintf("%s; dropped with it: %s", why, lost);
	/* pg_stream has no CASCADE; ours needs it, or a view on the table would hold the model back */
	engine->drop(engine, &u->name, engine != &pgs_engine_pg_stream);
	create(u, "recreated", why);
}

static void
replace_other(Upsert *u)
{
	const char *kind = relation_kind(u->name.relid);

	if (!u->full_refresh)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE),
				 errmsg("Cannot create stream table %s: a %s with that name already exists",
						quote_qualified_identifier(u->name.schema, u->name.name), kind),
				 errhint("Run dbt with --full-refresh to replace it.")));
	drop_relation(&u->name, kind);
	create(u, "created", psprintf("replaced a %s", kind));
}

/* ---- comparison ---- */

/*
 * A deparsed query after one more round trip.  The first deparse of a tree as written, or of one stored in a view, can
 * differ in what doesn't matter (a column with or without its table); the second no longer does.
 */
static char *
normal_form(const char *sql)
{
	int			level = NewGUCNestLevel();
	char	   *result;

	pgs_restrict_search_path();
	result = pgs_query_deparse(pgs_query_parse(sql));
	AtEOXact_GUC(false, level);
	return result;
}

static bool
has_view(const PgsStream *stream)
{
	return OidIsValid(stream->viewid) && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(stream->viewid));
}

static bool
same_meaning(const PgsStream *stream, const PgsDefinition *def)
{
	return has_view(stream) &&
		strcmp(normal_form(pgs_query_view_sql(stream->viewid)), normal_form(def->sql)) == 0;
}

/* Apply options, populate what is still empty, and say whether that was anything. */
static void
keep(Upsert *u, PgsStream *stream, const PgsDefinition *def)
{
	bool		populate = u->options.initialize && !stream->populated;
	PgsOptions	options = u->options;
	PgsStream	probe = *stream;

	u->action = "unchanged";
	u->detail = "";
	/* look before locking: a run over unchanged models waits for no refresh */
	if (pgs_define_options(&probe, &options))
	{
		stream = pgs_stream_lock(u->name.relid, false);
		if (pgs_define_options(stream, &options))
		{
			pgs_define_refuse_mode(def, stream->mode);
			pgs_stream_store(stream);
		}
		u->action = "altered";
		u->detail = psprintf("schedule %s, refresh mode %s", stream->schedule ? stream->schedule : "manual",
							 pgs_mode_name(stream->mode));
	}
	if (populate)
	{
		pgs_refresh_one(u->name.relid, "DBT", NULL);
		u->action = "altered";
		u->detail = "populated";
	}
}

static void
replace(Upsert *u, const PgsDefinition *def, const char *action, const char *why)
{
	PgsRefreshResult result;
	PgsStream  *stream;
	instr_time	start;

	INSTR_TIME_SET_CURRENT(start);
	(void) pgs_refresh_lock(u->name.relid, PGS_WAIT);
	stream = pgs_stream_lock(u->name.relid, false);
	(void) pgs_define_options(stream, &u->options);
	pgs_define_refuse_mode(def, stream->mode);
	pgs_define_replace(stream, def);
	u->action = action;
	if (!u->options.initialize && !stream->populated)
	{
		pgs_refresh_probe(stream);
		u->detail = "not populated yet";
		return;
	}
	pgs_refresh_one(u->name.relid, "DBT", &result);
	u->detail = described(result.rows.inserted, result.rows.updated, result.rows.deleted, start);
	if (why)
		u->detail = psprintf("%s; %s", u->detail, why);
}

static void
upsert_builtin(Upsert *u)
{
	PgsStream  *stream = pgs_stream_get(u->name.relid, false);
	PgsDefinition *def;

	pgs_define_require_owner(u->name.relid);
	def = pgs_query_define(u->options.query, pgs_define_owner(u->name.relid));
	pgs_query_refuse(def->reasons);
	if (!u->full_refresh && same_meaning(stream, def))
		keep(u, stream, def);
	else if (!pgs_define_same_columns(stream, def))
		recreate(u, &pgs_engine_builtin, "columns changed");
	else if (u->full_refresh)
		replace(u, def, "replaced", "full refresh");
	else if (strcmp(def->sql, stream->query_sql) == 0)
		replace(u, def, "rebound", has_view(stream) ? "a source was swapped" : "a source was dropped and is back");
	else
		replace(u, def, "replaced", NULL);
}

/* ---- other engines ---- */

/* The stored row of an external stream table: query, schedule, mode. */
static void
external_row(Oid relid, char **query, char **schedule, char **mode)
{
	Oid			type = OIDOID;
	Datum		value = ObjectIdGetDatum(relid);
	MemoryContext caller = CurrentMemoryContext;
	char	  **fields[] = {query, schedule, mode};
	int			level = NewGUCNestLevel();

	pgs_restrict_search_path();
	SPI_connect();
	if (SPI_execute_with_args("SELECT defining_query, schedule, refresh_mode "
							  "FROM " PGS_INTERNAL_SCHEMA ".external_streams() WHERE relid = $1",
							  1, &type, &value, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the stream table of relation %u", relid);
	for (int i = 0; i < lengthof(fields); i++)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1);

		*fields[i] = text ? MemoryContextStrdup(caller, text) : NULL;
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
}

/* A definition that is tried. */
typedef struct
{
	const char *query;
	char	   *sql;
} Definition;

static void
define_step(void *arg)
{
	Definition *d = arg;

	d->sql = pgs_query_define(d->query, GetUserId())->sql;
}

/*
 * The normalised text of a query, or NULL if it can't be analysed any more (a source is gone).  What tells of the moment, and not of the
 * query, is raised: an order to stop, a lock, memory.
 */
static char *
try_define(const char *query)
{
	Definition	d = {.query = query};
	ErrorData  *error = pgs_in_subtransaction(define_step, &d);

	if (!error)
		return d.sql;
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
			ReThrowError(error);
		default:
			return NULL;
	}
}

static bool
differs(const char *wanted, const char *stored)
{
	return wanted && (stored == NULL || pg_strcasecmp(wanted, stored) != 0);
}

static void
upsert_external(Upsert *u, const PgsEngine *engine)
{
	char	   *new_sql = pgs_query_define(u->options.query, GetUserId())->sql;
	char	   *query;
	char	   *schedule;
	char	   *mode;
	char	   *old_sql;
	PgsOptions	options = u->options;

	external_row(u->name.relid, &query, &schedule, &mode);
	old_sql = query ? try_define(query) : NULL;
	if (u->full_refresh || old_sql == NULL || strcmp(old_sql, new_sql) != 0)
	{
		recreate(u, engine, u->full_refresh ? "full refresh" : "query changed");
		return;
	}
	options.query = NULL;
	options.status = NULL;
	if (!differs(options.schedule, schedule))
		options.schedule = NULL;
	if (!differs(options.mode, mode))
		options.mode = NULL;
	u->action = options.schedule || options.mode ? "altered" : "unchanged";
	u->detail = psprintf("by %s", engine->name);
	if (options.schedule || options.mode)
		engine->alter(engine, &u->name, &options);
}

/*
 * upsert_stream_table(schema_name, table_name, query, options jsonb, full_refresh) returns (action, detail)
 */
Datum
pgs_upsert_stream_table(PG_FUNCTION_ARGS)
{
	Upsert		u = {
		.name = {
			.schema = text_to_cstring(PG_GETARG_TEXT_PP(0)),
			.name = text_to_cstring(PG_GETARG_TEXT_PP(1))
		},
		.options = {.query = text_to_cstring(PG_GETARG_TEXT_PP(2))},
		.full_refresh = PG_GETARG_BOOL(4)
	};
	TupleDesc	desc;
	const PgsEngine *engine;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	read_options(&u, PG_GETARG_JSONB_P(3));
	/* resolves and checks both parts, and says what is there */
	u.name = *pgs_name_parse(quote_qualified_identifier(u.name.schema, u.name.name), true);
	engine = OidIsValid(u.name.relid) ? pgs_engine_of(u.name.relid, true) : NULL;
	if (!OidIsValid(u.name.relid))
		create(&u, "created", NULL);
	else if (engine == NULL)
		replace_other(&u);
	else if (u.engine && strcmp(u.engine, "auto") != 0 && pgs_engine_for_new(u.engine) != engine)
		recreate(&u, engine, psprintf("engine changed from %s", engine->name));
	else if (engine == &pgs_engine_builtin)
		upsert_builtin(&u);
	else
		upsert_external(&u, engine);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(u.action);
	values[1] = CStringGetTextDatum(u.detail);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
