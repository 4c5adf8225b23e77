/*
 * inspect.c - SQL functions that look at stream tables and change nothing
 */
#include "postgres.h"

#include "capture/capture.h"
#include "delta/delta.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "provider/provider.h"
#include "query/query.h"
#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(pgs_explain_st);
PG_FUNCTION_INFO_V1(pgs_get_refresh_history);
PG_FUNCTION_INFO_V1(pgs_check_cdc_health);
PG_FUNCTION_INFO_V1(pgs_check_query);
PG_FUNCTION_INFO_V1(pgs_verify_stream_table);
PG_FUNCTION_INFO_V1(pgs_external_streams);
PG_FUNCTION_INFO_V1(pgs_schedule_times);
PG_FUNCTION_INFO_V1(pgs_next_run);
PG_FUNCTION_INFO_V1(pgs_relations_read);
PG_FUNCTION_INFO_V1(pgs_scheduler_running);
PG_FUNCTION_INFO_V1(pgs_maintain_capture);
PG_FUNCTION_INFO_V1(pgs_buffered_rows);

static PgsName *
name_arg(FunctionCallInfo fcinfo)
{
	return pgs_name_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), false);
}

/* explain_st(name) returns table (property, value) */
Datum
pgs_explain_st(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PgsName    *name = name_arg(fcinfo);
	const PgsEngine *engine = pgs_engine_of(name->relid, false);

	InitMaterializedSRF(fcinfo, 0);
	engine->explain(engine, name, rsinfo->setResult, rsinfo->setDesc);
	return (Datum) 0;
}

/* get_refresh_history(name, max_rows) returns table (...), newest first */
Datum
pgs_get_refresh_history(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PgsName    *name = name_arg(fcinfo);
	int			rows = PG_GETARG_INT32(1);
	const PgsEngine *engine = pgs_engine_of(name->relid, false);

	if (rows < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must not be negative")));
	InitMaterializedSRF(fcinfo, 0);
	engine->history(engine, name, rows, rsinfo->setResult, rsinfo->setDesc);
	return (Datum) 0;
}

/* check_cdc_health() returns table (...): one row for each source of each engine */
Datum
pgs_check_cdc_health(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; pgs_engines[i]; i++)
		if (pgs_engine_installed(pgs_engines[i]))
			pgs_engines[i]->health(pgs_engines[i], rsinfo->setResult, rsinfo->setDesc);
	return (Datum) 0;
}

/* For each source, what a change of it will cost where the query as a whole has no delta. */
static List *
source_rules(PgsDefinition *def, bool data_only)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, pgs_query_relations(def->query))
	{
		PgsReason  *r = palloc0(sizeof(PgsReason));
		char	   *changes = data_only && pgs_capture_possible(lfirst_oid(lc)) ?
		pgs_query_describe_changes(def->query, lfirst_oid(lc)) : NULL;

		r->block = get_rel_name(lfirst_oid(lc));
		r->rule = changes ? "B" : "full";
		r->reason = changes ? changes : "the whole is computed when it changes";
		result = lappend(result, r);
	}
	return result;
}

static bool
all_captured(Query *query)
{
	ListCell   *lc;

	foreach(lc, pgs_query_relations(query))
		if (!pgs_capture_possible(lfirst_oid(lc)))
			return false;
	return true;
}

/* How the query as a whole is kept up to date, and then each of its parts. */
static List *
query_rules(PgsDefinition *def)
{
	PgsIncrement *inc = pgs_delta_analyze(def->query, 0);
	bool		data_only = def->data_only && !(def->clock && inc->obstacle);
	PgsReason  *whole = palloc0(sizeof(PgsReason));

	whole->block = "query";
	if (!def->key)
		whole->hint = "No key is selected: a changed row is deleted and inserted, not updated in place.";
	if (!data_only || !all_captured(def->query))
	{
		whole->rule = "full";
		if (def->data_only && !data_only)
			whole->reason = psprintf("the query depends on the clock, and there is no delta rule for %s: every refresh computes it and "
									 "writes only the rows that differ", inc->obstacle);
		else
			whole->reason = def->data_only ?
			"a source's changes cannot be captured: every refresh computes the query and writes only the rows that differ" :
			"every refresh computes the query and writes only the rows that differ";
		return lcons(whole, source_rules(def, data_only));
	}
	if (inc->obstacle)
	{
		whole->rule = "B";
		whole->reason = psprintf("no delta rule for %s: query and stored rows are compared where a change can have "
								 "touched them, and only what differs is written", inc->obstacle);
		return lcons(whole, source_rules(def, data_only));
	}
	whole->rule = "A";
	whole->reason = "the changes of the sources are turned into changes of the result";
	return lcons(whole, pgs_delta_describe(inc));
}

/* check_query(query) returns table (block, rule, reason, hint) */
Datum
pgs_check_query(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PgsDefinition *def = pgs_query_define(text_to_cstring(PG_GETARG_TEXT_PP(0)), GetUserId());
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, list_concat(query_rules(def), def->reasons))
	{
		PgsReason  *r = lfirst(lc);
		Datum		values[4] = {
			CStringGetTextDatum(r->block), CStringGetTextDatum(r->rule), CStringGetTextDatum(r->reason),
			r->hint ? CStringGetTextDatum(r->hint) : (Datum) 0
		};
		bool		nulls[4] = {false, false, false, r->hint == NULL};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* verify_stream_table(name) returns table (missing, unexpected, ok) */
Datum
pgs_verify_stream_table(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PgsName    *name = name_arg(fcinfo);
	const PgsEngine *engine = pgs_engine_of(name->relid, false);
	PgsStream  *stream;
	int64		missing;
	int64		unexpected;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (engine != &pgs_engine_builtin)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot verify stream table \"%s\" of %s", name->name, engine->name),
				 errhint("Only stream tables of the builtin engine can be verified.")));
	pgs_define_require_owner(name->relid);
	stream = pgs_stream_get(name->relid, false);
	if (!OidIsValid(stream->viewid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("stream table \"%s\" cannot be verified: its query has lost a source", name->name),
				 stream->last_error ? errdetail("%s", stream->last_error) : 0));
	pgs_refresh_verify(stream, &missing, &unexpected);
	InitMaterializedSRF(fcinfo, 0);
	values[0] = Int64GetDatum(missing);
	values[1] = Int64GetDatum(unexpected);
	values[2] = BoolGetDatum(missing == 0 && unexpected == 0);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}

/* external_streams(): stream tables of the other engines that are installed */
Datum
pgs_external_streams(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; pgs_engines[i]; i++)
		if (pgs_engines[i]->schema && pgs_engine_installed(pgs_engines[i]))
			pgs_external_list(pgs_engines[i], rsinfo->setResult, rsinfo->setDesc);
	return (Datum) 0;
}

/* schedule_times(): for each stream table of ours (relid, due by schedule, next try of the scheduler) */
Datum
pgs_schedule_times(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	PgsDag	   *dag = pgs_dag_build();

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < dag->n; i++)
	{
		TimestampTz due = pgs_due_by_schedule(dag, i, true);
		TimestampTz next = pgs_due_at(dag, i, true);
		Datum		values[3] = {
			ObjectIdGetDatum(dag->streams[i]->relid), TimestampTzGetDatum(due), TimestampTzGetDatum(next)
		};
		bool		nulls[3] = {false, TIMESTAMP_NOT_FINITE(due), TIMESTAMP_NOT_FINITE(next)};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* next_run(schedule, after) returns timestamptz: what a schedule means, in the session's time zone */
Datum
pgs_next_run(PG_FUNCTION_ARGS)
{
	PgsSchedule schedule;
	TimestampTz next;

	pgs_schedule_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &schedule);
	next = pgs_schedule_next(&schedule, PG_GETARG_TIMESTAMPTZ(1), session_timezone);
	if (TIMESTAMP_NOT_FINITE(next))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}

/* relations_read(view) returns setof oid: what a stored query reads, through views too */
Datum
pgs_relations_read(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	foreach(lc, pgs_dag_read_relations(PG_GETARG_OID(0)))
	{
		Datum		value = ObjectIdGetDatum(lfirst_oid(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}

/* maintain_capture() returns boolean: whether a trigger came or went, so that another call may find more to do */
Datum
pgs_maintain_capture(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pgs_capture_maintain(pgs_schedule_is_eager));
}

/* scheduler_running() returns boolean */
Datum
pgs_scheduler_running(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(pgs_schedule_workers(MyDatabaseId) > 0);
}

/* buffered_rows(source) returns bigint: rows in its change buffer, NULL if it has none */
Datum
pgs_buffered_rows(PG_FUNCTION_ARGS)
{
	PgsSource	source;

	if (!pgs_source_get(PG_GETARG_OID(0), &source))
		PG_RETURN_NULL();
	PG_RETURN_INT64(pgs_buffer_count(&source));
}
