/*
 * module.h - settings of the module, shared by every stage
 */
#ifndef PGS_MODULE_H
#define PGS_MODULE_H

#define PGS_EXTENSION "dbt_pgstream"
#define PGS_SCHEMA "dbt_pgstream"
#define PGS_INTERNAL_SCHEMA "dbt_pgstream_internal"

extern char *pgs_engine;			/* auto, builtin, pg_stream, pg_trickle */
extern bool pgs_scheduler_enabled;
extern int	pgs_max_workers;		/* refresh workers of one database */
extern int	pgs_launcher_naptime;	/* seconds */
extern int	pgs_max_consecutive_errors; /* before SUSPENDED; 0 is never */
extern int	pgs_retry_base;			/* milliseconds, doubled by each error */
extern int	pgs_retry_max;			/* milliseconds */
extern double pgs_full_refresh_factor;	/* how much dearer a delta may be than the whole */
extern int	pgs_history_retention;	/* hours; -1 keeps everything */

#endif							/* PGS_MODULE_H */
