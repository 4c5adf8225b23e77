/*
 * refresh_internal.h - what the files of this folder share
 */
#ifndef PGS_REFRESH_INTERNAL_H
#define PGS_REFRESH_INTERNAL_H

#include "refresh/refresh.h"
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

/* image.c */
extern TupleDesc pgs_image_desc(TupleDesc desc);
extern void pgs_image_store(bytea *image, TupleDesc image_desc, TupleTableSlot *slot);

/* load.c */
extern bool pgs_load_possible(Relation rel);
extern int64 pgs_load_run(const PgsStream *stream, Relation rel);

/* diff.c: one row of the difference between a query and its stream table */
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
extern char *pgs_diff_sum_sql(const PgsStream *stream, Relation rel, const PgsDiffScope *scope);
extern Tuplestorestate *pgs_diff_run(const PgsStream *stream, Relation rel, const PgsDiffScope *scope, TupleDesc *desc);
extern void pgs_diff_find_duplicates(Relation rel, int n, Datum *images, Datum *counts, List **tids);
extern void pgs_diff_execute(const char *sql, int nargs, Oid *types, Datum *values, DestReceiver *dest);

/* apply.c: values of the rows written, for those who read from the table */
typedef struct PgsNotes
{
	List	   *columns;		/* attribute numbers */
	List	   *values;			/* packed, of each column in turn for each row */
	bool		overflow;		/* more than are worth noting */
	MemoryContext context;
} PgsNotes;
extern void pgs_apply_run(Relation rel, Tuplestorestate *diff, TupleDesc desc, PgsNotes *notes, PgsRowCounts *rows);

#endif							/* PGS_REFRESH_INTERNAL_H */
