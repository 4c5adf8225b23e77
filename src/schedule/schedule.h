/*
 * schedule.h - when to refresh, what together, in which order, and who does it
 */
#ifndef PGS_SCHEDULE_H
#define PGS_SCHEDULE_H

#include "catalog/pgs_catalog.h"
#include "nodes/bitmapset.h"
#include "pgtime.h"

typedef enum PgsScheduleKind
{
	PGS_SCHEDULE_MANUAL, PGS_SCHEDULE_DURATION, PGS_SCHEDULE_CRON, PGS_SCHEDULE_CALCULATED
} PgsScheduleKind;

/* a cron expression: bit n is set where value n matches */
typedef struct PgsCron
{
	uint64		second;
	uint64		minute;
	uint32		hour;
	uint32		day;			/* 1 to 31 */
	uint16		month;			/* 1 to 12 */
	uint8		weekday;		/* 0 is Sunday */
	bool		any_day;		/* '*': the weekday alone decides */
	bool		any_weekday;
} PgsCron;

typedef struct PgsSchedule
{
	PgsScheduleKind kind;
	int64		usecs;			/* of a duration */
	PgsCron		cron;
} PgsSchedule;

/* the stream tables of the database and what reads what */
typedef struct PgsDag
{
	int			n;
	PgsStream **streams;		/* by id */
	Bitmapset **upstream;		/* positions of the stream tables that streams[i] reads */
	int		   *component;		/* equal for tables that hang together */
	int		   *order;			/* positions, upstreams first */
} PgsDag;

/* duration.c, cron.c */
extern bool pgs_duration_parse(const char *text, int64 *usecs);
extern const char *pgs_cron_parse(const char *text, PgsCron *cron);
extern TimestampTz pgs_cron_next(const PgsCron *cron, TimestampTz after, pg_tz *tz);

/* due.c */
extern void pgs_schedule_parse(const char *text, PgsSchedule *schedule);
extern char *pgs_schedule_normalise(const char *text);
extern TimestampTz pgs_schedule_next(const PgsSchedule *schedule, TimestampTz last, pg_tz *tz);
extern TimestampTz pgs_due_by_schedule(const PgsDag *dag, int i, bool changed);
extern TimestampTz pgs_due_at(const PgsDag *dag, int i, bool changed);
extern List *pgs_due_groups(const PgsDag *dag, TimestampTz now, bool changed, TimestampTz *next);
extern bool pgs_schedule_is_eager(const PgsStream *stream, const List *all);

/* dag.c */
extern PgsDag *pgs_dag_build(void);
extern List *pgs_dag_relids(const PgsDag *dag);
extern void pgs_dag_refuse_cycle(Oid relid, Oid viewid);
extern List *pgs_dag_read_relations(Oid viewid);

/* group.c */
extern bool pgs_group_refresh(List *relids);
extern void pgs_group_record_failure(List *relids, TimestampTz start, ErrorData *error);

/* worker.c, launcher.c */
extern void pgs_schedule_wake_on_commit(void);
extern int	pgs_schedule_workers(Oid dboid);
extern bool pgs_schedule_start_worker(Oid dboid, bool helper);
extern void pgs_schedule_register_launcher(void);
extern bool pgs_schedule_preloaded;

#endif							/* PGS_SCHEDULE_H */
