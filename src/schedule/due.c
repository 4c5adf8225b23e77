/*
 * due.c - what is due at a given time: pure functions of catalog rows
 *
 * A table is due one duration after its last refresh, at the first cron time after it, or, if its schedule is
 * "calculated", whenever one that reads from it is due (then it is refreshed just before, in the same snapshot; with
 * nobody reading, once a minute).  After failures the back-off decides, if it is later.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "schedule/schedule.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define CALCULATED_ALONE (60 * USECS_PER_SEC)
/* without a change, nothing is refreshed more often than this */
#define HEARTBEAT USECS_PER_SEC

/*
 * Parse a schedule.  NULL, 'none' and 'manual' mean that nothing is refreshed by itself.  Raises 22023.
 */
void
pgs_schedule_parse(const char *text, PgsSchedule *schedule)
{
	const char *why;

	memset(schedule, 0, sizeof(*schedule));
	if (text == NULL || pg_strcasecmp(text, "none") == 0 || pg_strcasecmp(text, "manual") == 0)
		schedule->kind = PGS_SCHEDULE_MANUAL;
	else if (pg_strcasecmp(text, "calculated") == 0)
		schedule->kind = PGS_SCHEDULE_CALCULATED;
	else if (pgs_duration_parse(text, &schedule->usecs))
		schedule->kind = PGS_SCHEDULE_DURATION;
	else if ((why = pgs_cron_parse(text, &schedule->cron)) == NULL)
		schedule->kind = PGS_SCHEDULE_CRON;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid schedule \"%s\"", text),
				 errdetail("It is no duration, and as a cron expression: %s.", why),
				 errhint("Use a duration ('500ms', '30s', '1h30m', '1d'), a cron expression ('*/5 * * * *', '@hourly'), "
						 "'calculated', or 'manual'.")));
}

/* Check a schedule, and return the form that is stored: NULL for a manual one. */
char *
pgs_schedule_normalise(const char *text)
{
	PgsSchedule schedule;

	pgs_schedule_parse(text, &schedule);
	return schedule.kind == PGS_SCHEDULE_MANUAL ? NULL : pstrdup(text);
}

/*
 * When a table that was last refreshed (or created) at "last" wants to be refreshed by its schedule alone.
 */
TimestampTz
pgs_schedule_next(const PgsSchedule *schedule, TimestampTz last, pg_tz *tz)
{
	switch (schedule->kind)
	{
		case PGS_SCHEDULE_DURATION:
			return last + schedule->usecs;
		case PGS_SCHEDULE_CRON:
			return pgs_cron_next(&schedule->cron, last, tz);
		case PGS_SCHEDULE_CALCULATED:
			return last + CALCULATED_ALONE;
		case PGS_SCHEDULE_MANUAL:
			break;
	}
	return DT_NOEND;
}

/* The creator's time zone, in which cron fields are meant. */
static pg_tz *
time_zone(const PgsStream *stream)
{
	Datum	   *elems;
	int			n;

	deconstruct_array(stream->settings, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i + 1 < n; i += 2)
		if (strcmp(TextDatumGetCString(elems[i]), "TimeZone") == 0)
		{
			pg_tz	   *tz = pg_tzset(TextDatumGetCString(elems[i + 1]));

			if (tz)
				return tz;
		}
	return session_timezone;
}

static bool
refreshed_by_itself(const PgsStream *stream)
{
	return OidIsValid(stream->viewid) && stream->status != PGS_STATUS_PAUSED &&
		stream->status != PGS_STATUS_SUSPENDED;
}

static bool
is_quick(const PgsStream *stream)
{
	PgsSchedule schedule;

	pgs_schedule_parse(stream->schedule, &schedule);
	return schedule.kind == PGS_SCHEDULE_DURATION && schedule.usecs < HEARTBEAT;
}

/*
 * Whether a stream table is to follow its sources at once: by a schedule of less than a second, or as "calculated" among such.
 */
bool
pgs_schedule_is_eager(const PgsStream *stream, const List *all)
{
	PgsSchedule schedule;
	ListCell   *lc;

	pgs_schedule_parse(stream->schedule, &schedule);
	if (schedule.kind == PGS_SCHEDULE_CALCULATED)
		foreach(lc, all)
			if (is_quick(lfirst(lc)))
				return true;
	return is_quick(stream);
}

/*
 * When a table of the DAG should be refreshed by its schedule, whether it can or not; DT_NOEND for never.  "changed": something
 * may have been written since the last refresh; without that, a schedule of less than a second is one of a second.
 */
TimestampTz
pgs_due_by_schedule(const PgsDag *dag, int i, bool changed)
{
	const PgsStream *stream = dag->streams[i];
	PgsSchedule schedule;
	TimestampTz due = DT_NOEND;
	bool		read = false;

	pgs_schedule_parse(stream->schedule, &schedule);
	/* more often than this only for a reason */
	if (schedule.kind == PGS_SCHEDULE_DURATION && !changed)
		schedule.usecs = Max(schedule.usecs, HEARTBEAT);
	if (schedule.kind == PGS_SCHEDULE_CALCULATED)
		for (int j = 0; j < dag->n; j++)
			if (bms_is_member(i, dag->upstream[j]))
			{
				due = Min(due, pgs_due_by_schedule(dag, j, changed));
				read = true;
			}
	if (!read)
		due = pgs_schedule_next(&schedule, stream->last_refresh_at ? stream->last_refresh_at : stream->created_at,
								time_zone(stream));
	return due;
}

/*
 * When the scheduler will try a table of the DAG; DT_NOEND for never.
 */
TimestampTz
pgs_due_at(const PgsDag *dag, int i, bool changed)
{
	const PgsStream *stream = dag->streams[i];

	if (!refreshed_by_itself(stream))
		return DT_NOEND;
	return Max(pgs_due_by_schedule(dag, i, changed), stream->retry_at);
}

/*
 * The tables that are due at "now", as lists of relids: one list per component, each in DAG order.
 * "next" is when something more will be due (DT_NOEND: never).
 */
List *
pgs_due_groups(const PgsDag *dag, TimestampTz now, bool changed, TimestampTz *next)
{
	List	  **groups = palloc0(sizeof(List *) * dag->n);
	List	   *result = NIL;

	*next = DT_NOEND;
	for (int i = 0; i < dag->n; i++)
	{
		int			at = dag->order[i];
		TimestampTz due = pgs_due_at(dag, at, changed);

		if (due > now)
			*next = Min(*next, due);
		else
			groups[dag->component[at]] = lappend_oid(groups[dag->component[at]], dag->streams[at]->relid);
	}
	for (int i = 0; i < dag->n; i++)
		if (groups[i])
			result = lappend(result, groups[i]);
	return result;
}
