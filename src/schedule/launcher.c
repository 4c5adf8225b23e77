/*
 * launcher.c - after a start of the server, give every database with stream tables its scheduler back
 *
 * Runs only where the library is preloaded.  It is connected to no database and cannot see which of them have the
 * extension, so it starts a scheduler in each that has none; one without the extension leaves again at once.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "compat.h"
#include "miscadmin.h"
#include "module.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "schedule/schedule.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PGDLLEXPORT void pgs_schedule_launcher_main(Datum arg);

bool		pgs_schedule_preloaded = false;

/* Called while the postmaster loads shared_preload_libraries. */
void
pgs_schedule_register_launcher(void)
{
	BackgroundWorker worker = {0};

	pgs_schedule_preloaded = true;
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, PGS_EXTENSION, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pgs_schedule_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, PGS_EXTENSION " launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, PGS_EXTENSION " launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

/* Databases that can be connected to; read as the autovacuum launcher does (postmaster/autovacuum.c). */
static List *
list_databases(MemoryContext context)
{
	List	   *result = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;

		if (!database->datallowconn || database->datistemplate || database_is_invalid_form(database))
			continue;
		old = MemoryContextSwitchTo(context);
		result = lappend_oid(result, database->oid);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	return result;
}

void
pgs_schedule_launcher_main(Datum arg)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "dbt_pgstream launcher", ALLOCSET_DEFAULT_SIZES);

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	for (;;)
	{
		ListCell   *lc;

		MemoryContextReset(context);
		if (pgs_scheduler_enabled)
			foreach(lc, list_databases(context))
				if (pgs_schedule_workers(lfirst_oid(lc)) == 0)
					(void) pgs_schedule_start_worker(lfirst_oid(lc), false);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 pgs_launcher_naptime * 1000L, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}
