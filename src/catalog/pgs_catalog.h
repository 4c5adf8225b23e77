/*
 * pgs_catalog.h - the catalogs of the builtin engine, as plain structs
 *
 * Tuples stay inside this folder.  Rows are read with the newest committed state plus our own changes (the catalog
 * snapshot), because what the engine knows of a stream table must not depend on how old its caller's snapshot is.
 */
#ifndef PGS_CATALOG_H
#define PGS_CATALOG_H

#include "access/transam.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"
#include "utils/array.h"

typedef enum PgsMode
{
	PGS_MODE_DIFFERENTIAL, PGS_MODE_FULL, PGS_MODE_AUTO, PGS_MODE_IMMEDIATE
} PgsMode;

typedef enum PgsStatus
{
	PGS_STATUS_INITIALIZING, PGS_STATUS_ACTIVE, PGS_STATUS_PAUSED, PGS_STATUS_SUSPENDED, PGS_STATUS_ERROR
} PgsStatus;

typedef struct PgsStream
{
	int64		id;
	Oid			relid;
	Oid			viewid;				/* the defining query; InvalidOid once a source was dropped */
	char	   *user_query;			/* as the user wrote it */
	char	   *query_sql;			/* views expanded, names qualified, as of the last definition */
	char	   *schedule;			/* NULL: manual */
	PgsMode		mode;
	PgsStatus	status;
	bool		populated;
	TimestampTz last_refresh_at;	/* 0: never */
	FullTransactionId refresh_xid;	/* who refreshed last; what an older snapshot must not overwrite */
	int			errors;				/* in a row */
	char	   *last_error;			/* NULL: none */
	TimestampTz retry_at;			/* 0: no back-off in force */
	ArrayType  *settings;			/* text[] name, value, name, value: the creator's output settings */
	List	   *key;				/* attribute numbers that are unique in the query's result, or NIL */
	int64		total_refreshes;
	int64		rows_inserted;
	int64		rows_updated;
	int64		rows_deleted;
	double		total_ms;
	char	   *last_action;
	TimestampTz created_at;
	bool		data_only;			/* the result depends on the rows of the sources alone */
	Datum		frontier;			/* pg_snapshot of the last refresh, if its sources were captured; 0: none */
	int64		frontier_cid;		/* and its command id, within refresh_xid */
	char	   *frontier_home;		/* where it was taken; see capture/frontier.c */
	TimestampTz frontier_time;		/* what now() was */
} PgsStream;

/* relids.c */
typedef enum PgsCatalog
{
	PGS_CATALOG_STREAM, PGS_CATALOG_STREAM_PKEY, PGS_CATALOG_STREAM_RELID, PGS_CATALOG_STREAM_ID_SEQ,
	PGS_CATALOG_HISTORY, PGS_CATALOG_HISTORY_TIME, PGS_CATALOG_HISTORY_ID_SEQ, PGS_CATALOG_CHANGE,
	PGS_CATALOG_SOURCE, PGS_CATALOG_SOURCE_PKEY, PGS_CATALOG_COUNT
} PgsCatalog;
extern Oid	pgs_catalog_relid(PgsCatalog which);
extern Oid	pgs_catalog_function(const char *name, int nargs, const Oid *types);
extern bool pgs_catalog_lock(bool wait);
extern bool pgs_catalog_exists(void);

/* stream.c */
extern PgsStream *pgs_stream_get(Oid relid, bool missing_ok);
extern PgsStream *pgs_stream_lock(Oid relid, bool missing_ok);
extern List *pgs_stream_list(void);
extern int64 pgs_stream_next_id(void);
extern void pgs_stream_insert(const PgsStream *stream);
extern void pgs_stream_store(const PgsStream *stream);
extern void pgs_stream_delete(Oid relid);
extern PgsMode pgs_mode_parse(const char *text);
extern const char *pgs_mode_name(PgsMode mode);
extern PgsStatus pgs_status_parse(const char *text);
extern const char *pgs_status_name(PgsStatus status);

/* source.c: a relation whose changes are captured */
typedef struct PgsSource
{
	Oid			relid;
	Oid			buffers[2];		/* segments of its change buffer */
	int			current;		/* the one that is written to */
	bool		eager;			/* a commit of changes wakes the scheduler */
	List	   *members;		/* itself and the partitions or children whose triggers write to it */
} PgsSource;
extern bool pgs_source_get(Oid relid, PgsSource *source);
extern List *pgs_source_above(Oid relid);
extern List *pgs_source_list(void);
extern void pgs_source_put(const PgsSource *source);
extern void pgs_source_delete(Oid relid);

/* history.c */
extern void pgs_history_add(int64 stream_id, TimestampTz start, const char *action, const char *status,
							int64 inserted, int64 updated, int64 deleted,
							const char *initiated_by, const char *error, const char *reason);
extern void pgs_history_forget(int64 stream_id);

/* link.c */
extern void pgs_stream_link(Oid relid);
extern void pgs_stream_adopt(Oid relid);

#endif							/* PGS_CATALOG_H */
