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
