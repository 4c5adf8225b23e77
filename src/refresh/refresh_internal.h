/*
 * refresh_internal.h - what the files of this folder share
 */
#ifndef PGS_REFRESH_INTERNAL_H
#define PGS_REFRESH_INTERNAL_H

#include "capture/capture.h"
#include "delta/delta.h"
#include "nodes/plannodes.h"
#include "refresh/refresh.h"
#include "refresh/rows.h"
#include "storage/lockdefs.h"
#include "tcop/dest.h"

/* identity.c */
typedef struct PgsIdentity
{
	Oid			userid;
	int			sec_context;
	int			guc_level;
} PgsIdentity;
extern void pgs_identity_assume(PgsIdentity *saved, Oid owner, ArrayType *settings);
extern void pgs_identity_restore(const PgsIdentity *saved);

/* numeric.c, extreme.c: what aggregates need */
extern ArrayType *pgs_profile_add(ArrayType *a, ArrayType *b);
extern Datum pgs_numeric_rounded(Datum sum, ArrayType *profile);
extern Datum pgs_numeric_sum(Datum sum, ArrayType *profile, bool *finite);
extern bool pgs_extreme_add(const PgsAggregate *agg, Datum *value, bool *isnull, const Datum *change,
							const bool *change_null);

/* relative.c */
extern bool pgs_relative_reset(bool value);
extern bool pgs_relative_met(void);

/* attempt.c */
extern void pgs_refresh_inconsistent(const char *what);
extern ErrorData *pgs_attempt(void (*step) (void *), void *arg);

/* execute.c */
extern PlannedStmt *pgs_execute_plan(Query *query);
extern void pgs_execute_as_superuser(const char *sql);
extern struct QueryEnvironment *pgs_execute_environment(const List *deltas);
extern void pgs_execute_run(PlannedStmt *plan, const List *deltas, DestReceiver *dest);
extern Tuplestorestate *pgs_execute_collect(PlannedStmt *plan, const List *deltas, TupleDesc *desc);

/* locate.c */
extern void pgs_locate_make_index(const PgsStream *stream);
extern Query *pgs_locate_query(const List *key, bool few, Relation rel, Query *delta);
extern void pgs_locate_run(const List *key, Relation rel, PlannedStmt *plan, const List *deltas, PgsRowCounts *counts,
						   PgsDelta *noted);

/* keys.c */
typedef struct PgsKeys
{
	int			nkeys;
	FmgrInfo   *hash;
	FmgrInfo   *eq;
	Oid		   *collations;
} PgsKeys;
extern void pgs_keys_open(PgsKeys *keys, const PgsBlock *block);
extern int64 pgs_keys_hash(PgsKeys *keys, const Datum *values, const bool *nulls);
extern bool pgs_keys_equal(PgsKeys *keys, const Datum *x, const bool *xnull, const Datum *y, const bool *ynull);
extern int64 pgs_keys_store(PgsKeys *keys, TupleTableSlot *from, TupleTableSlot *to);
extern PgsDelta *pgs_keys_delta(const PgsBlock *block, const char *name);

/* groups.c, partitions.c */
extern PgsDelta *pgs_groups_change(const PgsBlock *block, PlannedStmt *plan, const List *deltas);
extern PgsDelta *pgs_partitions_change(const PgsBlock *block, PlannedStmt *plan, const List *deltas);

/* state.c */
extern void pgs_state_prepare(int64 stream_id, const PgsIncrement *inc);
extern bool pgs_state_fits(const PgsBlock *block);
extern bool pgs_state_exists(int64 stream_id, int number);
extern void pgs_state_fill(const PgsBlock *block);
extern Query *pgs_state_change_query(const PgsBlock *block, Query *delta);
extern Query *pgs_state_again_query(const PgsBlock *block, double rows, PgsDelta **keys);
extern PgsDelta *pgs_state_change(const PgsBlock *block, PlannedStmt *plan, const List *deltas);

/* scope.c */
extern bool pgs_scope_find(const PgsStream *stream, Query *query, List *deltas, List **scopes);

/* incremental.c */
extern bool pgs_incremental_run(const PgsStream *stream, Relation rel, PgsIncrement *inc, List *deltas,
								PgsRefreshResult *result);
extern PgsIncrement *pgs_incremental_fill(const PgsStream *stream, Query *query, const PgsIncrement *inc);
extern bool pgs_incremental_lock(int64 stream_id, const PgsIncrement *inc, LOCKMODE mode);

#endif							/* PGS_REFRESH_INTERNAL_H */
