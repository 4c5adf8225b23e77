/*
 * refresh.h - one refresh: lock, snapshot, difference or load, apply, record
 */
#ifndef PGS_REFRESH_H
#define PGS_REFRESH_H

#include "catalog/pgs_catalog.h"
#include "executor/tuptable.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"

typedef struct PgsRowCounts
{
	int64		inserted;
	int64		updated;
	int64		deleted;
} PgsRowCounts;

/* what one refresh did to one stream table */
typedef struct PgsRefreshResult
{
	Oid			relid;
	TimestampTz start;			/* of the work, wall clock */
	TimestampTz as_of;			/* of the snapshot */
	const char *action;			/* INITIAL, FULL, DIFFERENTIAL, or NO_DATA where nothing differed */
	const char *reason;			/* why that one; NULL where it goes without saying */
	PgsRowCounts rows;
	Datum		frontier;			/* pg_snapshot, 0 where the sources were not captured */
	int64		frontier_cid;
	ErrorData  *error;			/* NULL: success */
} PgsRefreshResult;

/* whether a refresh waits for locks that DDL or another refresh holds */
typedef enum PgsWait
{
	PGS_WAIT, PGS_NOWAIT
} PgsWait;

/* refresh.c */
extern bool pgs_refresh_lock(Oid relid, PgsWait wait);
extern bool pgs_refresh_lock_relations(const PgsStream *stream, PgsWait wait);
extern List *pgs_refresh_group(List *relids, PgsWait wait, bool catch_errors, const char *initiated_by);
extern void pgs_refresh_one(Oid relid, const char *initiated_by, PgsRefreshResult *result);
extern void pgs_refresh_record_failure(Oid relid, TimestampTz start, ErrorData *error, const char *initiated_by);

/* explain.c */
typedef struct PgsProperty
{
	const char *name;
	const char *value;
} PgsProperty;
extern List *pgs_refresh_explain(const PgsStream *stream);

/* attempt.c */
extern ErrorData *pgs_in_subtransaction(void (*step) (void *), void *arg);

/* state.c */
extern void pgs_state_drop(int64 stream_id, int from);

/* locate.c */
extern Oid	pgs_locate_index(const List *key, Relation rel);

/* verify.c */
extern void pgs_refresh_verify(const PgsStream *stream, int64 *missing, int64 *unexpected);
extern void pgs_refresh_probe(const PgsStream *stream);
extern List *pgs_refresh_plan(const PgsStream *stream);

#endif							/* PGS_REFRESH_H */
