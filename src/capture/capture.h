/*
 * capture.h - what has changed since a stream table was last right
 *
 * Writers append what they write to the change buffers of its sources; a stream table remembers a frontier.  What is visible
 * now and was not visible then is its delta.
 */
#ifndef PGS_CAPTURE_H
#define PGS_CAPTURE_H

#include "access/tupdesc.h"
#include "catalog/pgs_catalog.h"
#include "executor/tuptable.h"
#include "query/query.h"
#include "utils/relcache.h"
#include "utils/tuplestore.h"

/* mark.c */
typedef enum PgsMarkKind
{
	PGS_MARK_ROWS = 'r',		/* rows were written */
	PGS_MARK_DDL = 'd',			/* something else happened that may change what is read */
	PGS_MARK_CODE = 'c'			/* a function, operator or type may mean something else now: for those who use any but the server's */
} PgsMarkKind;
enum
{
	Anum_change_relid = 1, Anum_change_kind, Anum_change_xid, Anum_change_cid, Natts_change = Anum_change_cid
};
extern void pgs_capture_mark(Oid relid, PgsMarkKind kind);
extern void pgs_capture_new_frontier(void);

/* buffer.c */
enum
{
	Anum_buffer_xid = 1, Anum_buffer_cid,
	Anum_buffer_weight,			/* of a row that is not packed */
	Anum_buffer_packed, Anum_buffer_pack,	/* how many rows, and they */
	Natts_buffer_head = Anum_buffer_pack
};
extern void pgs_buffer_create(PgsSource *source, const Bitmapset *columns);
extern Bitmapset *pgs_buffer_columns(const PgsSource *source);
extern void pgs_buffer_set_columns(const PgsSource *source, const Bitmapset *columns);
extern bool pgs_buffer_may_narrow(const PgsSource *source);
extern void pgs_buffer_drop(const PgsSource *source);
extern int64 pgs_buffer_count(const PgsSource *source);
extern void pgs_capture_drop_table(Oid relid);

/* append.c */
typedef struct PgsAppend PgsAppend;
extern PgsAppend *pgs_append_begin(const PgsSource *source, Relation rel, int64 nrows);
extern void pgs_append_row(PgsAppend *a, TupleTableSlot *slot, int weight);
extern void pgs_append_update(PgsAppend *a, TupleTableSlot *old, TupleTableSlot *new);
extern bool pgs_append_concerns(PgsAppend *a, const Bitmapset *updated);
extern void pgs_append_end(PgsAppend *a);

/* gather.c: rows of a relation with weights, as a named tuplestore */
typedef struct PgsDelta
{
	Oid			relid;
	const char *name;			/* in the query environment */
	int			natts;			/* columns of the relation that it holds; one more is the weight, int8 */
	AttrNumber *attnos;			/* their numbers in the relation */
	TupleDesc	desc;
	Tuplestorestate *store;
	double		rows;
	bool		is_clock;		/* no relation, but the time of the query, which was "since" */
	TimestampTz since;
	Query	   *subquery;		/* no relation, but a subquery, whose delta is a WITH query */
	CommonTableExpr *cte;
} PgsDelta;
extern PgsDelta *pgs_delta_for_columns(Oid relid, const Bitmapset *columns);
extern PgsDelta *pgs_delta_for_relation(Relation rel);
extern void pgs_delta_put(PgsDelta *delta, TupleTableSlot *slot, int64 weight);
extern int	pgs_delta_place(const PgsDelta *delta, int attno);

/* frontier.c */
typedef enum PgsChanges
{
	PGS_CHANGES_NONE,			/* nothing to do */
	PGS_CHANGES_ROWS,			/* known rows of some sources */
	PGS_CHANGES_ANY				/* anything: compute the whole */
} PgsChanges;
extern PgsChanges pgs_capture_changes(const PgsStream *stream, Query *query, const List *sources, List **deltas,
									  const char **reason);
extern bool pgs_capture_has_frontier(const PgsStream *stream);
extern void pgs_capture_set_frontier(PgsStream *stream, Datum snapshot, int64 cid);
extern char *pgs_capture_home(void);

/* spare.c */
extern void pgs_capture_install_hook(void);

/* wake.c */
#define PGS_WORKER_TYPE "dbt_pgstream scheduler"
extern int	pgs_wake_workers(Oid dboid, bool wake);
extern void pgs_wake_at_commit(void);

/* attach.c, obstacle.c, empty.c */
extern bool pgs_capture_possible(Oid relid);
extern const char *pgs_capture_obstacle(const PgsStream *stream, const List *sources);
typedef bool (*PgsIsEager) (const PgsStream *stream, const List *all);
extern bool pgs_capture_maintain(PgsIsEager is_eager);
extern void pgs_capture_empty(const List *streams);

#endif							/* PGS_CAPTURE_H */
