/*
 * capture.h - what has changed since a stream table was last right
 *
 * Writers leave a change mark for each source that they touch; a stream table remembers a frontier.  A mark that is
 * visible now and was not visible then is a change.
 */
#ifndef PGS_CAPTURE_H
#define PGS_CAPTURE_H

#include "catalog/pgs_catalog.h"

/* mark.c */
typedef enum PgsMarkKind
{
	PGS_MARK_ROWS = 'r',		/* rows were written */
	PGS_MARK_DDL = 'd'			/* something else happened that may change what is read */
} PgsMarkKind;
extern void pgs_capture_mark(Oid relid, PgsMarkKind kind);
extern void pgs_capture_new_frontier(void);

/* frontier.c */
extern List *pgs_capture_read_marks(void);
extern bool pgs_capture_unchanged(const PgsStream *stream, const List *sources, const List *marks);
extern void pgs_capture_set_frontier(PgsStream *stream, Datum snapshot, int64 cid);
extern char *pgs_capture_home(void);

/* attach.c */
extern bool pgs_capture_has_trigger(Oid relid, bool *enabled);
extern const char *pgs_capture_obstacle(const PgsStream *stream, const List *sources);
extern bool pgs_capture_maintain(void);

#endif							/* PGS_CAPTURE_H */
