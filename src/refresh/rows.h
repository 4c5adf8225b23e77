/*
 * rows.h - reading, comparing and writing the rows of a stream table, within this folder
 */
#ifndef PGS_ROWS_H
#define PGS_ROWS_H

#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "refresh/refresh.h"
#include "tcop/dest.h"

/* image.c */
extern TupleDesc pgs_image_desc(TupleDesc desc);
extern void pgs_image_store(bytea *image, TupleDesc image_desc, TupleTableSlot *slot);
extern bytea *pgs_image_of(TupleTableSlot *slot, TupleDesc image_desc);

/* load.c */
typedef struct PgsLoader PgsLoader;
extern PgsLoader *pgs_loader_begin(Relation rel);
extern void pgs_loader_add(PgsLoader *l, TupleTableSlot *slot);
extern int64 pgs_loader_end(PgsLoader *l);
extern bool pgs_load_possible(Relation rel);
extern int64 pgs_load_run(const PgsStream *stream, Relation rel, Query *output);

/* diff.c: one change of the stored rows */
typedef enum PgsChange
{
	PGS_CHANGE_DELETE_SOME,		/* delete -weight of several equal rows */
	PGS_CHANGE_DELETE,
	PGS_CHANGE_UPDATE,
	PGS_CHANGE_INSERT			/* weight times */
} PgsChange;
enum
{
	Anum_diff_change = 1, Anum_diff_image, Anum_diff_weight, Anum_diff_tid, Natts_diff = Anum_diff_tid
};
/* where an output column has one of some values: rows that changes of a source can have touched */
typedef struct PgsDiffScope
{
	int			resno;
	ArrayType  *values;			/* of the column's type; NULL: none */
	bool		has_null;
} PgsDiffScope;
extern TupleDesc pgs_diff_desc(void);
extern char *pgs_diff_sum_sql(const PgsStream *stream, Relation rel, const PgsDiffScope *scope);
extern char *pgs_diff_values_sql(const PgsStream *stream, Relation rel);
extern char *pgs_diff_sum_sql_then(const PgsStream *stream, Relation rel);
extern Query *pgs_diff_query(const PgsStream *stream, Relation rel, Query *output);
extern Tuplestorestate *pgs_diff_run(const PgsStream *stream, Relation rel, const PgsDiffScope *scope, TupleDesc *desc);
extern void pgs_diff_find_duplicates(Relation rel, int n, Datum *images, Datum *counts, List **tids);
extern void pgs_diff_execute(const char *sql, int nargs, Oid *types, Datum *values, DestReceiver *dest);

/* writer.c */
typedef struct PgsWriter
{
	Relation	rel;
	EState	   *estate;
	ResultRelInfo *info;
	EPQState	epq;
	TupleTableSlot *old;
	TupleTableSlot *new;
} PgsWriter;
extern void pgs_writer_begin(PgsWriter *w, Relation rel);
extern void pgs_writer_end(PgsWriter *w);
extern void pgs_writer_insert(PgsWriter *w);
extern void pgs_writer_update(PgsWriter *w);
extern void pgs_writer_delete(PgsWriter *w);
extern void pgs_writer_next(PgsWriter *w);

/* apply.c */
typedef struct PgsApply PgsApply;
extern PgsApply *pgs_apply_begin(Relation rel, int64 nrows, PgsRowCounts *rows);
extern TupleTableSlot *pgs_apply_stored(PgsApply *a);
extern void pgs_apply_delete(PgsApply *a);
extern void pgs_apply_update(PgsApply *a, bytea *image);
extern void pgs_apply_insert(PgsApply *a, bytea *image, int64 weight);
extern void pgs_apply_delete_image(PgsApply *a, bytea *image, int64 count);
extern void pgs_apply_end(PgsApply *a);
extern void pgs_apply_run(Relation rel, Tuplestorestate *diff, TupleDesc desc, PgsRowCounts *rows);

#endif							/* PGS_ROWS_H */
