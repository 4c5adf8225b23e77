/*
 * capture_internal.h - what the files of this folder share
 */
#ifndef PGS_CAPTURE_INTERNAL_H
#define PGS_CAPTURE_INTERNAL_H

#include "capture/capture.h"
#include "catalog/pg_trigger.h"

#define PGS_ALL_EVENTS (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE | TRIGGER_TYPE_TRUNCATE)

/* buffer.c */
extern void pgs_capture_command(const char *sql);
extern AttrNumber pgs_buffer_source_attno(Form_pg_attribute attr);
extern bool pgs_buffer_holds(Form_pg_attribute attr, Form_pg_attribute source);

/* pack.c */
typedef struct PgsPackColumn
{
	int			at;				/* in the segment, from 0 */
	int			from;			/* in the rows that are packed */
	int16		len;			/* and the rest as in pg_attribute */
	bool		byval;
	char		align;
	bool		may_shorten;	/* a varlena whose length may take a byte */
} PgsPackColumn;
typedef struct PgsPack
{
	PgsPackColumn *columns;		/* that rows have */
	int			ncolumns;
	int			last;			/* number of the last column of the rows that is packed */
	char	   *data;			/* aligned; the length of the value lies before it */
	int			limit;			/* bytes */
	int			empty;			/* bytes before the first row */
	int			used;
	int			nrows;
} PgsPack;
extern void pgs_pack_begin(PgsPack *pack, TupleDesc desc, const AttrNumber *attnos, int limit);
extern bool pgs_pack_put(PgsPack *pack, TupleTableSlot *slot, bool is_old);
extern bool pgs_pack_put_both(PgsPack *pack, TupleTableSlot *old, TupleTableSlot *new);
extern bytea *pgs_pack_value(PgsPack *pack);
extern void pgs_pack_reset(PgsPack *pack);
extern void pgs_pack_end(PgsPack *pack);
typedef struct PgsUnpack
{
	TupleDesc	desc;			/* of the segment */
	PgsPackColumn *columns;
	int			ncolumns;
	char	   *memory[2];		/* of this pack and the one before */
	Size		room[2];
	int			turn;
	char	   *data;			/* of this pack, aligned */
	char	   *next;
	char	   *end;
} PgsUnpack;
extern void pgs_unpack_init(PgsUnpack *u, TupleDesc desc);
extern void pgs_unpack_begin(PgsUnpack *u, const bytea *pack);
extern bool pgs_unpack_next(PgsUnpack *u, Datum *values, bool *nulls, bool *is_old);
extern void pgs_unpack_end(PgsUnpack *u);

/* frontier.c */
typedef struct PgsFrontier
{
	Datum		snapshot;		/* pg_snapshot */
	FullTransactionId xmin;
	FullTransactionId xmax;
	FullTransactionId own;
	int64		own_cid;
	FullTransactionId asked;	/* the last one that had to be looked up, and the answer */
	bool		answer;
} PgsFrontier;
extern bool pgs_frontier_consumed(PgsFrontier *f, FullTransactionId xid, int64 cid);

/* gather.c */
extern bool pgs_gather_segment(Oid segment, PgsFrontier *f, PgsDelta *delta);

/* empty.c */
extern bool pgs_capture_hold_refreshes(Oid relid);
extern void pgs_capture_forget_frontier(Oid relid);

/* obstacle.c */
extern Oid	pgs_capture_function(void);
extern bool pgs_capture_is_attached(Relation rel);
extern bool pgs_capture_is_subscribed(Oid relid);
extern bool pgs_capture_has_row_trigger(Relation rel);
extern List *pgs_capture_members(Oid relid);

#endif							/* PGS_CAPTURE_INTERNAL_H */
