/*
 * stream_table.c - SQL functions that change stream tables: arguments -> engine -> one call
 *
 * Each checks what its caller may do through the engine: ownership for ours, the engine's own rules for the others.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "provider/provider.h"
#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "compat.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(pgs_create_stream_table);
PG_FUNCTION_INFO_V1(pgs_alter_stream_table);
PG_FUNCTION_INFO_V1(pgs_drop_stream_table);
PG_FUNCTION_INFO_V1(pgs_refresh_stream_table);
PG_FUNCTION_INFO_V1(pgs_refresh_all);
PG_FUNCTION_INFO_V1(pgs_repair_stream_table);

/* A text argument, or NULL where it is NULL. */
static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static char *
required_arg(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/* create_stream_table(name, query, schedule, refresh_mode, initialize) returns void */
Datum
pgs_create_stream_table(PG_FUNCTION_ARGS)
{
	PgsName    *name = pgs_name_parse(required_arg(fcinfo, 0, "name"), true);
	PgsOptions	options = {
		.query = required_arg(fcinfo, 1, "query"),
		.schedule = text_arg(fcinfo, 2),
		.mode = text_arg(fcinfo, 3),
		.initialize = PG_ARGISNULL(4) || PG_GETARG_BOOL(4)
	};
	const PgsEngine *engine = pgs_engine_for_new(NULL);

	engine->create(engine, name, &options);
	PG_RETURN_VOID();
}

/* alter_stream_table(name, query, schedule, refresh_mode, status) returns void; NULL leaves a thing as it is */
Datum
pgs_alter_stream_table(PG_FUNCTION_ARGS)
{
	PgsName    *name = pgs_name_parse(required_arg(fcinfo, 0, "name"), false);
	PgsOptions	options = {
		.query = text_arg(fcinfo, 1),
		.schedule = text_arg(fcinfo, 2),
		.mode = text_arg(fcinfo, 3),
		.status = text_arg(fcinfo, 4)
	};
	const PgsEngine *engine = pgs_engine_of(name->relid, false);

	engine->alter(engine, name, &options);
	PG_RETURN_VOID();
}

/* drop_stream_table(name, cascade) returns void */
Datum
pgs_drop_stream_table(PG_FUNCTION_ARGS)
{
	PgsName    *name = pgs_name_parse(required_arg(fcinfo, 0, "name"), false);
	const PgsEngine *engine = pgs_engine_of(name->relid, false);

	engine->drop(engine, name, !PG_ARGISNULL(1) && PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}

/* refresh_stream_table(name) returns void */
Datum
pgs_refresh_stream_table(PG_FUNCTION_ARGS)
{
	PgsName    *name = pgs_name_parse(required_arg(fcinfo, 0, "name"), false);
	const PgsEngine *engine = pgs_engine_of(name->relid, false);

	engine->refresh(engine, name);
	PG_RETURN_VOID();
}

/* Those of the builtin engine that the caller owns and that have a query, upstreams first. */
static List *
refreshable(void)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, pgs_dag_relids(pgs_dag_build()))
		if (pgs_owns_relation(lfirst_oid(lc), GetUserId()))
			result = lappend_oid(result, lfirst_oid(lc));
	return result;
}

/*
 * refresh_all() returns integer: how many could not be refreshed
 *
 * All stream tables that the caller owns, due or not, in DAG order and in one snapshot.  One that fails is recorded and
 * reported as a warning, and holds up no other.
 */
Datum
pgs_refresh_all(PG_FUNCTION_ARGS)
{
	int			failures = 0;
	ListCell   *lc;

	foreach(lc, pgs_refresh_group(refreshable(), PGS_WAIT, true, "MANUAL"))
	{
		PgsRefreshResult *result = lfirst(lc);

		if (!result->error)
			continue;
		failures++;
		ereport(WARNING,
				(errcode(result->error->sqlerrcode),
				 errmsg("stream table \"%s\" could not be refreshed: %s",
						get_rel_name(result->relid), result->error->message),
				 result->error->detail ? errdetail("%s", result->error->detail) : 0,
				 result->error->hint ? errhint("%s", result->error->hint) : 0));
	}
	pgs_schedule_wake_on_commit();
	PG_RETURN_INT32(failures);
}

/* repair_stream_table(name) returns void */
Datum
pgs_repair_stream_table(PG_FUNCTION_ARGS)
{
	PgsName    *name = pgs_name_parse(required_arg(fcinfo, 0, "name"), false);
	const PgsEngine *engine = pgs_engine_of(name->relid, false);

	engine->repair(engine, name);
	PG_RETURN_VOID();
}
