/*
 * execute.c - plan and run Query trees that read from deltas
 *
 * As REFRESH MATERIALIZED VIEW runs the query of its view (commands/matview.c), with the deltas in the query environment,
 * where the planner finds how many rows each has.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "compat.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "jit/jit.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "refresh/refresh_internal.h"
#include "tcop/tcopprot.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"

/* Plan a query; the active snapshot is the one it will run under. */
PlannedStmt *
pgs_execute_plan(Query *query)
{
	PlannedStmt *plan = pg_plan_query(copyObject(query), "", CURSOR_OPT_PARALLEL_OK, NULL);

	/* a few changed rows must not wait for a compiler, whatever a table without statistics makes the planner fear */
	plan->jitFlags = PGJIT_NONE;
	return plan;
}

/* The deltas under their names. */
QueryEnvironment *
pgs_execute_environment(const List *deltas)
{
	QueryEnvironment *env = create_queryEnv();
	ListCell   *lc;

	foreach(lc, deltas)
	{
		PgsDelta   *delta = lfirst(lc);
		EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

		if (delta->is_clock)
			continue;
		enr->md.name = unconstify(char *, delta->name);
		enr->md.tupdesc = delta->desc;
		enr->md.enrtype = ENR_NAMED_TUPLESTORE;
		enr->md.enrtuples = delta->rows;
		enr->reldata = delta->store;
		register_ENR(env, enr);
	}
	return env;
}

/* Run a plan under the active snapshot, its rows going to "dest". */
void
pgs_execute_run(PlannedStmt *plan, const List *deltas, DestReceiver *dest)
{
	QueryDesc  *desc = CreateQueryDesc(plan, "", GetActiveSnapshot(), InvalidSnapshot, dest, NULL,
									   pgs_execute_environment(deltas), 0);

	ExecutorStart(desc, 0);
	pgs_executor_run(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
}

/* The rows of a plan in a tuplestore, and their shape. */
Tuplestorestate *
pgs_execute_collect(PlannedStmt *plan, const List *deltas, TupleDesc *desc)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(dest, store, CurrentMemoryContext, false, NULL, NULL);
	*desc = ExecCleanTypeFromTL(plan->planTree->targetlist);
	pgs_execute_run(plan, deltas, dest);
	dest->rDestroy(dest);
	return store;
}

/* Run a utility command on a table of ours, or on one whose owner need not have the right to do it. */
void
pgs_execute_as_superuser(const char *sql)
{
	Oid			save_userid;
	int			save_sec;

	GetUserIdAndSecContext(&save_userid, &save_sec);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, save_sec | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec);
	CommandCounterIncrement();
}
