/*
 * external.c - pg_stream and pg_trickle behind the provider's struct
 *
 * The two have one shape and differ in a schema, a prefix and some arguments, so they are one implementation with a
 * few branches.  Everything goes through their SQL functions as the caller, names quoted, values bound.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "executor/spi.h"
#include "provider/provider.h"
#include "utils/builtins.h"

static Oid text_types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};

static bool
has_query_argument(const PgsEngine *engine)
{
	return engine == &pgs_engine_pg_trickle;
}

static Datum
text_value(const char *value)
{
	return value ? CStringGetTextDatum(value) : (Datum) 0;
}

static Datum
full_name(const PgsName *name)
{
	return CStringGetTextDatum(quote_qualified_identifier(name->schema, name->name));
}

/* Run one statement with text arguments; NULL strings are SQL NULLs.  SPI stays connected. */
static void
run(const char *sql, int nargs, Datum *values)
{
	char		nulls[lengthof(text_types) + 1];
	int			rc;

	Assert(nargs <= lengthof(text_types));
	for (int i = 0; i < nargs; i++)
		nulls[i] = values[i] == (Datum) 0 ? 'n' : ' ';
	SPI_connect();
	rc = SPI_execute_with_args(sql, nargs, text_types, values, nulls, false, 0);
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
}

static void
call(const char *sql, int nargs, Datum *values)
{
	run(sql, nargs, values);
	SPI_finish();
}

static bool
owns(const PgsEngine *self, Oid relid)
{
	Datum		values[] = {CStringGetTextDatum(psprintf("%u", relid))};
	int			level = NewGUCNestLevel();
	bool		found;

	pgs_restrict_search_path();
	run(psprintf("SELECT FROM %s.%s_stream_tables WHERE %s_relid = $1::pg_catalog.oid",
				 self->schema, self->prefix, self->prefix), 1, values);
	found = SPI_processed > 0;
	SPI_finish();
	AtEOXact_GUC(false, level);
	return found;
}

static void
create(const PgsEngine *self, PgsName *name, const PgsOptions *options)
{
	Datum		values[] = {
		full_name(name), CStringGetTextDatum(options->query), text_value(options->schedule),
		CStringGetTextDatum(options->mode ? options->mode : "DIFFERENTIAL"),
		CStringGetTextDatum(options->initialize ? "true" : "false")
	};

	call(psprintf("SELECT %s.create_stream_table(name => $1, query => $2, schedule => $3, refresh_mode => $4, "
				  "initialize => $5::pg_catalog.bool)", self->schema), lengthof(values), values);
}

static void
alter(const PgsEngine *self, const PgsName *name, const PgsOptions *options)
{
	Datum		values[] = {
		full_name(name), text_value(options->schedule), text_value(options->mode), text_value(options->status),
		text_value(options->query)
	};

	if (options->query && !has_query_argument(self))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot change the query of a stream table", self->name),
				 errhint("Drop and create it, or use dbt_pgstream.upsert_stream_table, which does.")));
	call(psprintf("SELECT %s.alter_stream_table(name => $1, schedule => $2, refresh_mode => $3, status => $4%s)",
				  self->schema, has_query_argument(self) ? ", query => $5" : ""),
		 has_query_argument(self) ? 5 : 4, values);
}

static void
drop(const PgsEngine *self, const PgsName *name, bool cascade)
{
	Datum		values[] = {full_name(name)};

	if (cascade && !has_query_argument(self))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot drop a stream table with CASCADE", self->name),
				 errhint("Drop what depends on it first.")));
	call(psprintf("SELECT %s.drop_stream_table($1%s)", self->schema, cascade ? ", true" : ""), 1, values);
}

static void
refresh(const PgsEngine *self, const PgsName *name)
{
	Datum		values[] = {full_name(name)};

	call(psprintf("SELECT %s.refresh_stream_table($1)", self->schema), 1, values);
}

static void
repair(const PgsEngine *self, const PgsName *name)
{
	Datum		values[] = {full_name(name)};

	if (self == &pgs_engine_pg_trickle)
		call(psprintf("SELECT %s.repair_stream_table($1)", self->schema), 1, values);
	else
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("%s cannot repair a stream table", self->name),
				 errhint("Refresh it, or drop and create it.")));
}

static void
explain(const PgsEngine *self, const PgsName *name, Tuplestorestate *store, TupleDesc desc)
{
	Datum		values[] = {full_name(name)};

	pgs_put_property(store, desc, "engine", self->name);
	pgs_put_query(store, desc, psprintf("SELECT property, value FROM %s.explain_st($1)", self->schema),
				  1, text_types, values);
}

static void
history(const PgsEngine *self, const PgsName *name, int rows, Tuplestorestate *store, TupleDesc desc)
{
	Datum		values[] = {full_name(name), CStringGetTextDatum(psprintf("%d", rows))};

	/* they count neither updated rows nor who began */
	pgs_put_query(store, desc,
				  psprintf("SELECT refresh_id, start_time, end_time, action, status, rows_inserted, "
						   "NULL::pg_catalog.int8, rows_deleted, duration_ms, NULL::pg_catalog.text, error_message "
						   "FROM %s.get_refresh_history($1, $2::pg_catalog.int4)", self->schema),
				  2, text_types, values);
}

static void
health(const PgsEngine *self, Tuplestorestate *store, TupleDesc desc)
{
	pgs_put_query(store, desc,
				  psprintf("SELECT source_table, cdc_mode, slot_name, lag_bytes, confirmed_lsn, NULL::pg_catalog.int8, "
						   "alert FROM %s.check_cdc_health()", self->schema), 0, NULL, NULL);
}

/*
 * Append the stream tables of an external engine, in the shape of dbt_pgstream_internal.external_streams().
 */
void
pgs_external_list(const PgsEngine *engine, Tuplestorestate *store, TupleDesc desc)
{
	const char *p = engine->prefix;
	const char *query = has_query_argument(engine) ? "coalesce(t.original_query, t.defining_query)" : "t.defining_query";

	pgs_put_query(store, desc, psprintf("SELECT '%s'::pg_catalog.text, t.%s_relid, t.%s_schema::pg_catalog.text, "
				 "t.%s_name::pg_catalog.text, %s, t.schedule, t.refresh_mode, t.status, t.is_populated, "
				 "t.last_refresh_at, s.staleness, s.stale, t.consecutive_errors, s.total_refreshes "
				 "FROM %s.%s_stream_tables t LEFT JOIN %s.pg_stat_stream_tables s "
				 "ON s.%s_schema = t.%s_schema AND s.%s_name = t.%s_name",
				 engine->name, p, p, p, query, engine->schema, p, engine->schema, p, p, p, p),
				  0, NULL, NULL);
}

#define EXTERNAL_ENGINE(name_, schema_, prefix_) { \
	.name = name_, .schema = schema_, .prefix = prefix_, .owns = owns, .create = create, .alter = alter, \
	.drop = drop, .refresh = refresh, .repair = repair, .explain = explain, .history = history, .health = health \
}

const PgsEngine pgs_engine_pg_stream = EXTERNAL_ENGINE("pg_stream", "pgstream", "pgs");
const PgsEngine pgs_engine_pg_trickle = EXTERNAL_ENGINE("pg_trickle", "pgtrickle", "pgt");
