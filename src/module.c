/*
 * module.c - loading: settings, and the launcher when preloaded
 *
 * Nothing here needs shared_preload_libraries.  With it, the launcher starts the scheduler of every database after a
 * restart; without it, the first stream table of a session starts the scheduler of its database.
 */
#include "postgres.h"

#include <limits.h>

#include "capture/capture.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "module.h"
#include "schedule/schedule.h"
#include "utils/guc.h"

PG_MODULE_MAGIC;

char	   *pgs_engine = NULL;
bool		pgs_scheduler_enabled = true;
int			pgs_max_workers = 3;
int			pgs_launcher_naptime = 60;
int			pgs_max_consecutive_errors = 10;
int			pgs_retry_base = 1000;
int			pgs_retry_max = 3600 * 1000;
double		pgs_full_refresh_factor = 2.0;
int			pgs_history_retention = 7 * 24;

PGDLLEXPORT void _PG_init(void);

static bool
check_engine(char **newval, void **extra, GucSource source)
{
	static const char *const known[] = {"auto", "builtin", "pg_stream", "pg_trickle"};

	for (int i = 0; i < lengthof(known); i++)
		if (strcmp(*newval, known[i]) == 0)
			return true;
	GUC_check_errdetail("Known engines are auto, builtin, pg_stream, pg_trickle.");
	return false;
}

void
_PG_init(void)
{
	DefineCustomStringVariable("dbt_pgstream.engine",
							   "Engine of new stream tables: auto, builtin, pg_stream or pg_trickle.",
							   "An existing stream table always stays with the engine that owns it.",
							   &pgs_engine, "auto", PGC_USERSET, 0, check_engine, NULL, NULL);
	DefineCustomBoolVariable("dbt_pgstream.scheduler",
							 "Whether stream tables are refreshed by their schedules.",
							 NULL, &pgs_scheduler_enabled, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dbt_pgstream.max_workers",
							"Background workers that may refresh the stream tables of one database at a time.",
							NULL, &pgs_max_workers, 3, 1, 64, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dbt_pgstream.launcher_naptime",
							"Time between two looks of the launcher for databases without a scheduler.",
							NULL, &pgs_launcher_naptime, 60, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("dbt_pgstream.max_consecutive_errors",
							"Failed refreshes in a row after which a stream table is suspended (0: never).",
							NULL, &pgs_max_consecutive_errors, 10, 0, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dbt_pgstream.retry_base",
							"Wait after the first failed refresh; each further one doubles it.",
							NULL, &pgs_retry_base, 1000, 1, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("dbt_pgstream.retry_max",
							"Longest wait between two tries of a failing stream table.",
							NULL, &pgs_retry_max, 3600 * 1000, 1, INT_MAX, PGC_SUSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomRealVariable("dbt_pgstream.full_refresh_factor",
							 "How many times dearer than computing the whole a refresh by delta may be, by the planner's costs.",
							 "For refresh mode DIFFERENTIAL; in mode AUTO it is 1.",
							 &pgs_full_refresh_factor, 2.0, 0.0, 1e10, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("dbt_pgstream.history_retention",
							"Hours for which the refresh history is kept (-1: for ever).",
							NULL, &pgs_history_retention, 7 * 24, -1, INT_MAX, PGC_SUSET, 0, NULL, NULL, NULL);
	MarkGUCPrefixReserved("dbt_pgstream");
	pgs_capture_install_hook();

	if (process_shared_preload_libraries_in_progress)
		pgs_schedule_register_launcher();
}
