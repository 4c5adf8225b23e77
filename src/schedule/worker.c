/*
 * worker.c - the background workers that refresh the stream tables of one database
 *
 * One scheduler per database sleeps until something is due.  Several groups due at once are shared with helpers,
 * up to dbt_pgstream.max_workers.  All of them do the same: look what is due, take the first group whose refresh
 * locks are free, refresh it in one transaction, look again.  Nobody hands out work, so nobody's death loses any.
 *
 * Who starts the scheduler: a session that creates or resumes a stream table, if none is alive; after a restart of
 * the server, the launcher.  A scheduler that finds nothing scheduled, or another scheduler, goes away with exit code
 * 0, which tells the postmaster to forget it.  After a crash of the server the postmaster itself starts it again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "capture/capture.h"
#include "compat.h"
#include "miscadmin.h"
#include "module.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* the scheduler looks again after this long, whatever it believes to know */
#define MAX_SLEEP_MS (10 * 60 * 1000)
/* when due tables are locked by somebody else */
#define LOCKED_SLEEP_MS 200
/* how long a scheduler with nothing to do waits for the transaction that started it, or for the next */
#define LINGER_MS 5000
/* triggers and marks are looked after no more often than this */
#define MAINTAIN_MS 500
#define NOTHING_TO_DO (-1)
/* the longest sleep in which writers need not wake us, who would only find that nothing is due yet */
#define DEAF_MS 1000
#define RESTART_SECONDS 5

PGDLLEXPORT void pgs_schedule_worker_main(Datum arg);

static volatile sig_atomic_t shutdown_requested = false;

/* ---- waking ---- */

static bool wake_at_commit = false;

/* How many schedulers and helpers a database has. */
int
pgs_schedule_workers(Oid dboid)
{
	return pgs_wake_workers(dboid, false);
}

/*
 * Before the commit, start a scheduler if there is none (afterwards an error could not be borne); after it, wake those
 * there are.  A new one that looks too early waits a while, and is woken by us, too.
 */
static void
at_commit(XactEvent event, void *arg)
{
	if (!wake_at_commit)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			if (pgs_scheduler_enabled && pgs_schedule_workers(MyDatabaseId) == 0)
				(void) pgs_schedule_start_worker(MyDatabaseId, false);
			break;
		case XACT_EVENT_COMMIT:
			(void) pgs_wake_workers(MyDatabaseId, true);
			wake_at_commit = false;
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			wake_at_commit = false;
			break;
		default:
			break;
	}
}

/* What this transaction did changes what is due: tell the scheduler when it commits. */
void
pgs_schedule_wake_on_commit(void)
{
	static bool registered = false;

	if (!registered)
	{
		RegisterXactCallback(at_commit, NULL);
		registered = true;
	}
	wake_at_commit = true;
}

/*
 * Ask the postmaster for a worker; false if all of max_worker_processes are taken.
 */
bool
pgs_schedule_start_worker(Oid dboid, bool helper)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = helper ? BGW_NEVER_RESTART : RESTART_SECONDS;
	worker.bgw_main_arg = ObjectIdGetDatum(dboid);
	strlcpy(worker.bgw_library_name, PGS_EXTENSION, BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "pgs_schedule_worker_main", BGW_MAXLEN);
	snprintf(worker.bgw_name, BGW_MAXLEN, PGS_EXTENSION " %s for database %u", helper ? "helper" : "scheduler", dboid);
	strlcpy(worker.bgw_type, PGS_WORKER_TYPE, BGW_MAXLEN);
	worker.bgw_extra[0] = helper;
	return RegisterDynamicBackgroundWorker(&worker, &handle);
}

/* ---- the worker ---- */

/*
 * SIGTERM: cancel what runs, then leave with exit code 0.  A FATAL exit, as of die(), would make the postmaster start
 * us again, for ever if the database is being dropped.
 */
static void
request_shutdown(SIGNAL_ARGS)
{
	int			save_errno = errno;

	shutdown_requested = true;
	InterruptPending = true;
	QueryCancelPending = true;
	SetLatch(MyLatch);
	errno = save_errno;
}

/*
 * Become the scheduler of the database, for as long as this process lives: a session lock that crash and exit release.
 * An advisory lock of class 64, where the SQL functions use 1 and 2, so that no user can hold it.
 */
static bool
become_scheduler(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0x64627470, 0x67737472, 64);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
begin_transaction(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
commit_transaction(void)
{
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

/* What a look found; lists live in the memory context given. */
typedef struct
{
	bool		installed;
	List	   *groups;			/* of lists of relids that are due */
	TimestampTz next;			/* when more is due */
} Look;

static Look
look(bool changed, MemoryContext context)
{
	Look		result = {.next = DT_NOEND};

	begin_transaction();
	result.installed = pgs_catalog_exists();
	if (result.installed && pgs_scheduler_enabled)
	{
		List	   *groups = pgs_due_groups(pgs_dag_build(), GetCurrentTimestamp(), changed, &result.next);
		MemoryContext old = MemoryContextSwitchTo(context);
		ListCell   *lc;

		foreach(lc, groups)
			result.groups = lappend(result.groups, list_copy(lfirst(lc)));
		MemoryContextSwitchTo(old);
	}
	commit_transaction();
	return result;
}

static void
leave_if_asked(void)
{
	if (shutdown_requested)
		proc_exit(0);
}

/* Run one step in its own transaction; an error is logged and returned. */
static ErrorData *
failed_step(MemoryContext context)
{
	ErrorData  *error;

	HOLD_INTERRUPTS();
	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	MemoryContextSwitchTo(context);
	RESUME_INTERRUPTS();
	pgstat_report_activity(STATE_IDLE, NULL);
	leave_if_asked();
	return error;
}

/* Attach triggers, remove old marks: each step in a transaction of its own, and all of it now and then only. */
static void
maintain(MemoryContext context)
{
	static TimestampTz last = 0;
	volatile bool more = true;

	if (!TimestampDifferenceExceeds(last, GetCurrentTimestamp(), MAINTAIN_MS))
		return;
	PG_TRY();
	{
		while (more)
		{
			begin_transaction();
			more = pgs_catalog_exists() && pgs_capture_maintain(pgs_schedule_is_eager);
			commit_transaction();
			leave_if_asked();
		}
	}
	PG_CATCH();
	{
		(void) failed_step(context);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	last = GetCurrentTimestamp();
}

static void
record_failure(List *group, TimestampTz start, ErrorData *error, MemoryContext context)
{
	PG_TRY();
	{
		begin_transaction();
		pgs_group_record_failure(group, start, error);
		commit_transaction();
	}
	PG_CATCH();
	{
		(void) failed_step(context);
	}
	PG_END_TRY();
}

/* Refresh one group; false if it is locked by others, or done. */
static bool
run_group(List *group, MemoryContext context)
{
	volatile bool done = false;
	TimestampTz start = GetCurrentTimestamp();

	pgstat_report_activity(STATE_RUNNING, "refreshing stream tables");
	PG_TRY();
	{
		begin_transaction();
		done = pgs_group_refresh(group);
		commit_transaction();
	}
	PG_CATCH();
	{
		record_failure(group, start, failed_step(context), context);
		done = true;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	pgstat_report_activity(STATE_IDLE, NULL);
	return done;
}

/* Share several groups with helpers, as far as there may be any. */
static void
call_helpers(int ngroups)
{
	int			wanted = Min(ngroups, pgs_max_workers) - pgs_schedule_workers(MyDatabaseId);

	while (wanted-- > 0)
		if (!pgs_schedule_start_worker(MyDatabaseId, true))
			break;
}

/*
 * One look and what follows from it; returns how long to sleep, in milliseconds (0: look again at once).  "changed": somebody
 * may have written to a source since the last one.
 */
static long
work_once(bool helper, bool changed, MemoryContext context)
{
	Look		found = {.installed = true};
	bool		progress = false;
	ListCell   *lc;

	PG_TRY();
	{
		found = look(changed, context);
	}
	PG_CATCH();
	{
		(void) failed_step(context);
		return LINGER_MS;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	/* stream tables without a schedule want their sources captured, too */
	if (found.installed && !helper)
		maintain(context);
	if (!found.installed || (found.groups == NIL && found.next == DT_NOEND))
		return NOTHING_TO_DO;
	if (!helper)
		call_helpers(list_length(found.groups));
	foreach(lc, found.groups)
	{
		leave_if_asked();
		progress |= run_group(lfirst(lc), context);
	}
	if (found.groups != NIL)
		return progress ? 0 : LOCKED_SLEEP_MS;
	/* rounded up, not to wake a moment too early */
	return Max(1, Min(MAX_SLEEP_MS, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), found.next) + 1));
}

/*
 * Sleep; returns whether we were woken.  Who has just looked for changes and knows that nothing is due for a moment lets writers
 * go on writing in the meantime: "deaf".
 */
static bool
sleep_until_woken(long ms, bool deaf)
{
	static uint32 wait_event = 0;
	int			events;

	if (wait_event == 0)
		wait_event = pgs_wait_event("DbtPgstreamSchedulerMain");
	events = WaitLatch(MyLatch, (deaf ? 0 : WL_LATCH_SET) | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ms, wait_event);
	ResetLatch(MyLatch);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	leave_if_asked();
	/* a cancel that came while nothing ran has nothing to cancel */
	QueryCancelPending = false;
	CHECK_FOR_INTERRUPTS();
	/* what woke us while we were deaf was before this */
	return deaf || (events & WL_LATCH_SET) != 0;
}

/*
 * What a database or role sets for its sessions must not keep stream tables from being refreshed, as with autovacuum (see
 * postmaster/autovacuum.c).  And a refresh takes its snapshot after its locks, which only READ COMMITTED does.
 */
static void
override_settings(void)
{
	static const struct
	{
		const char *name;
		const char *value;
	}			settings[] = {
		{"statement_timeout", "0"}, {"lock_timeout", "0"}, {"idle_in_transaction_session_timeout", "0"},
		{"default_transaction_read_only", "off"}, {"default_transaction_isolation", "read committed"}
	};

	for (int i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
}

void
pgs_schedule_worker_main(Datum arg)
{
	bool		helper = MyBgworkerEntry->bgw_extra[0];
	TimestampTz idle_since = 0;
	bool		changed = true;
	MemoryContext context;

	pqsignal(SIGTERM, request_shutdown);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(arg), InvalidOid, 0);
	pgstat_report_appname(MyBgworkerEntry->bgw_name);
	override_settings();
	if (!helper && !become_scheduler())
		proc_exit(0);

	context = AllocSetContextCreate(TopMemoryContext, "dbt_pgstream worker", ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		long		ms;

		MemoryContextReset(context);
		MemoryContextSwitchTo(context);
		leave_if_asked();
		ms = work_once(helper, changed || helper, context);
		if (ms == NOTHING_TO_DO)
		{
			/*
			 * No extension, or no schedule: gone, or not yet committed by who started us.  A worker that stayed for
			 * ever would stand in the way of DROP DATABASE.  A schedule that commits in the instant between the last
			 * look and the exit waits for the next change, or for the launcher.
			 */
			TimestampTz now = GetCurrentTimestamp();

			if (idle_since == 0)
				idle_since = now;
			ms = LINGER_MS - TimestampDifferenceMilliseconds(idle_since, now);
			if (helper || ms <= 0)
				proc_exit(0);
		}
		else
			idle_since = 0;
		/* what was written until now has been seen, or sets the latch */
		if (ms == 0)
			changed = false;
		else
		{
			if (helper)
				proc_exit(0);
			changed = sleep_until_woken(ms, changed && ms < DEAF_MS);
		}
	}
}
