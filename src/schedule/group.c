/*
 * group.c - refresh stream tables that are due and hang together, on behalf of a worker
 */
#include "postgres.h"

#include "refresh/refresh.h"
#include "schedule/schedule.h"
#include "utils/timestamp.h"

/* Those of "relids" that are due now, in order. */
static List *
still_due(List *relids)
{
	TimestampTz next;
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, pgs_due_groups(pgs_dag_build(), GetCurrentTimestamp(), true, &next))
	{
		ListCell   *relid;

		foreach(relid, (List *) lfirst(lc))
			if (list_member_oid(relids, lfirst_oid(relid)))
				result = lappend_oid(result, lfirst_oid(relid));
	}
	return result;
}

/*
 * Refresh a group in the current transaction, as far as its locks are free; failures of single tables are recorded.
 * Returns whether anything was tried.
 */
bool
pgs_group_refresh(List *relids)
{
	List	   *locked = NIL;
	ListCell   *lc;

	if (!pgs_catalog_lock(false) || !pgs_catalog_exists())
		return false;			/* the extension is being dropped, or was just now */
	foreach(lc, relids)
		if (pgs_refresh_lock(lfirst_oid(lc), PGS_NOWAIT))
			locked = lappend_oid(locked, lfirst_oid(lc));
	/* another worker may have done it between our look and our lock */
	if (locked)
		locked = still_due(locked);
	if (locked == NIL)
		return false;
	return pgs_refresh_group(locked, PGS_NOWAIT, true, "SCHEDULER") != NIL;
}

/*
 * Record in a new transaction that a whole group failed, so that it backs off instead of being tried for ever.
 */
void
pgs_group_record_failure(List *relids, TimestampTz start, ErrorData *error)
{
	ListCell   *lc;

	foreach(lc, relids)
		pgs_refresh_record_failure(lfirst_oid(lc), start, error, "SCHEDULER");
}
