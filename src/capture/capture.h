/*
 * capture.h - what has changed since a stream table was last right
 *
 * Writers leave a change mark for each source that they touch; a stream table remembers a frontier.  A mark that is
 * visible now and was not visible then is a change.
 */
#ifndef PGS_CAPTURE_H
#define PGS_CAPTURE_H

#include "access/tupdesc.h"
#include "catalog/pgs_catalog.h"

/* mark.c */
typedef enum PgsMarkKind
{
	PGS_MARK_ROWS = 'r',		/* rows were written */
	PGS_MARK_DDL = 'd'			/* something else happened that may change what is read */
} PgsMarkKind;
enum
{
	Anum_change_relid = 1, Anum_change_kind, Anum_change_xid, Anum_change_cid, Anum_change_attnum, Anum_change_value,
	Natts_change = Anum_change_value
};
/* who writes more rows than this leaves one mark for all: then computing the whole is no loss */
#define PGS_MAX_NOTED_ROWS 10000
extern bytea *pgs_capture_pack(Datum value, Form_pg_attribute attr);
extern void pgs_capture_mark_values(Oid relid, const List *columns, const List *values);
extern Datum pgs_capture_unpack(bytea *packed, int16 typlen, bool typbyval);
extern void pgs_capture_mark(Oid relid, PgsMarkKind kind);
extern void pgs_capture_new_frontier(void);

/* frontier.c */
extern List *pgs_capture_read_marks(void);
typedef enum PgsChanges
{
	PGS_CHANGES_NONE,			/* nothing to do */
	PGS_CHANGES_ROWS,			/* known rows of some sources */
	PGS_CHANGES_ANY				/* anything: compute the whole */
} PgsChanges;
extern PgsChanges pgs_capture_changes(const PgsStream *stream, const List *sources, const List *marks, List **changed);
extern bool pgs_capture_is_noted(const PgsStream *stream, Oid relid, int attno, const List *marks);
extern ArrayType *pgs_capture_values(const PgsStream *stream, Oid relid, int attno, const List *marks, bool *has_null);
extern void pgs_capture_set_frontier(PgsStream *stream, Datum snapshot, int64 cid);
extern char *pgs_capture_home(void);

/* attach.c */
extern bool pgs_capture_possible(Oid relid);
extern bool pgs_capture_has_trigger(Oid relid, bool *enabled);
extern List *pgs_capture_columns_for_readers(Oid relid);
extern const char *pgs_capture_obstacle(const PgsStream *stream, const List *sources);
extern bool pgs_capture_maintain(void);

#endif							/* PGS_CAPTURE_H */
