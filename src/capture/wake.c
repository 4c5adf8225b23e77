/*
 * wake.c - a commit that captured changes wakes the scheduler
 *
 * Only for sources that a stream table with a schedule of less than a second reads from; for the others a look at the clock
 * is soon enough.  The scheduler is found by looking through all processes, once: after that a commit costs a test of a latch
 * that is mostly set already.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "compat.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/timestamp.h"

/* how often a backend looks for a scheduler that wasn't there */
#define LOOK_AGAIN_MS 1000

/* Count the schedulers and helpers of a database, and wake them if asked to; the last one found is returned, too. */
static int
visit(Oid dboid, bool wake, PGPROC **found)
{
	int			n = 0;

	for (int i = 0; i < pgs_proc_count(); i++)
	{
		PGPROC	   *proc = pgs_proc_at(i);
		int			pid = proc->pid;
		const char *type;

		if (pid == 0 || proc->databaseId != dboid)
			continue;
		type = GetBackgroundWorkerTypeByPid(pid);
		if (!type || strcmp(type, PGS_WORKER_TYPE) != 0)
			continue;
		if (wake)
			SetLatch(&proc->procLatch);
		*found = proc;
		n++;
	}
	return n;
}

/* How many schedulers and helpers a database has; "wake" wakes them. */
int
pgs_wake_workers(Oid dboid, bool wake)
{
	PGPROC	   *found;

	return visit(dboid, wake, &found);
}

static bool wake_at_commit = false;

/* A process that has ended may have given its place to another: one latch set for nothing. */
static void
wake_scheduler(void)
{
	static PGPROC *scheduler = NULL;
	static int	pid = 0;
	static TimestampTz looked = 0;

	if (scheduler && scheduler->pid == pid && scheduler->databaseId == MyDatabaseId)
	{
		SetLatch(&scheduler->procLatch);
		return;
	}
	scheduler = NULL;
	if (looked != 0 && !TimestampDifferenceExceeds(looked, GetCurrentTimestamp(), LOOK_AGAIN_MS))
		return;
	looked = GetCurrentTimestamp();
	if (visit(MyDatabaseId, true, &scheduler) > 0)
		pid = scheduler->pid;
}

static void
at_end(XactEvent event, void *arg)
{
	if (!wake_at_commit)
		return;
	if (event == XACT_EVENT_COMMIT)
		wake_scheduler();
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		wake_at_commit = false;
}

/* This transaction captured changes that somebody waits for. */
void
pgs_wake_at_commit(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(at_end, NULL);
		registered = true;
	}
	wake_at_commit = true;
}
