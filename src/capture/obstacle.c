/*
 * obstacle.c - which sources can be captured, and which are, completely
 *
 * A refresh may rely on change buffers only if nothing can have passed them by.  It asks before it takes its snapshot: every
 * relation of each source has its triggers, enabled whatever the session does, and the buffer holds every column that the
 * query uses.  What can't be captured is computed whole at each refresh, and explain_st says why.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/relation.h"
#include "capture/capture_internal.h"
#include "catalog/catalog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "compat.h"
#include "module.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define GUARD_NAME "pgstream_guard"

/* ---- triggers ---- */

Oid
pgs_capture_function(void)
{
	return pgs_catalog_function("capture", 0, NULL);
}

/* For which events a relation has capture triggers, and for which of them they fire whatever the session does. */
static int
find_capture(Relation rel, int *enabled)
{
	Oid			funcid = pgs_capture_function();
	int			found = 0;

	*enabled = 0;
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];
		int			events = trigger->tgtype & TRIGGER_TYPE_EVENT_MASK;

		if (trigger->tgfoid != funcid)
			continue;
		found |= events;
		/* rows are there only with transition tables of both kinds that the event has */
		if (trigger->tgenabled == TRIGGER_FIRES_ALWAYS && !TRIGGER_FOR_ROW(trigger->tgtype) && !trigger->tgqual &&
			(!(events & (TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)) || trigger->tgoldtable) &&
			(!(events & (TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_INSERT)) || trigger->tgnewtable))
			*enabled |= events;
	}
	return found;
}

/* Whether a relation has all of its capture triggers, enabled or not. */
bool
pgs_capture_is_attached(Relation rel)
{
	int			enabled;

	return find_capture(rel, &enabled) == PGS_ALL_EVENTS;
}

/* Whether a relation has the trigger that tells of rows written by a subscription, and it fires then. */
bool
pgs_capture_has_row_trigger(Relation rel)
{
	Oid			funcid = pgs_catalog_function("capture_row", 0, NULL);
	int			events = TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE;

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgfoid == funcid && TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) && !trigger->tgqual &&
			trigger->tgnattr == 0 && (trigger->tgtype & events) == events &&
			(trigger->tgenabled == TRIGGER_FIRES_ON_REPLICA || trigger->tgenabled == TRIGGER_FIRES_ALWAYS))
			return true;
	}
	return false;
}

/* Whether the guard of a stream table is there, and fires whatever the session does. */
static bool
find_guard(Relation rel, bool *enabled)
{
	*enabled = false;
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (strcmp(trigger->tgname, GUARD_NAME) == 0)
		{
			*enabled = trigger->tgenabled == TRIGGER_FIRES_ALWAYS && !TRIGGER_FOR_ROW(trigger->tgtype) &&
				(trigger->tgtype & TRIGGER_TYPE_EVENT_MASK) == PGS_ALL_EVENTS &&
				trigger->tgqual == NULL;
			return true;
		}
	}
	return false;
}

/* ---- relations ---- */

/* Whether a relation is the target of a subscription, which writes row by row, past every statement trigger but that of TRUNCATE. */
static bool
is_target(Oid relid)
{
	Relation	rel = table_open(SubscriptionRelRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&key, Anum_pg_subscription_rel_srrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(rel, SubscriptionRelSrrelidSrsubidIndexId, true, NULL, 1, &key);
	found = systable_getnext(scan) != NULL;
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* Why the rows of one table can change without our knowing, whatever triggers it has; NULL if they can't. */
static const char *
uncapturable(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION && rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return "is no plain table";
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return "is emptied by a crash";
	if (IsCatalogRelation(rel))
		return "is a system catalog";
	return NULL;
}

/* Whether a subscription may write to a source, or to a part of it; then all parts have the row trigger, as rows are routed. */
bool
pgs_capture_is_subscribed(Oid relid)
{
	ListCell   *lc;

	foreach(lc, pgs_capture_members(relid))
		if (is_target(lfirst_oid(lc)))
			return true;
	return false;
}

/*
 * A relation with all its partitions and children, by OID; the caller holds locks on them or can bear that they change.
 */
List *
pgs_capture_members(Oid relid)
{
	return has_subclass(relid) ? find_all_inheritors(relid, NoLock, NULL) : list_make1_oid(relid);
}

/*
 * The same of a whole source, a stream table or not.  A partition is not captured as a source of its own, as statements on
 * its parent don't fire its triggers.
 */
static const char *
source_uncapturable(Relation rel)
{
	const char *why = uncapturable(rel);
	ListCell   *lc;

	if (why)
		return why;
	if (rel->rd_rel->relispartition || has_superclass(RelationGetRelid(rel)))
		return "is a partition or child of another table";
	if (rel->rd_rel->relrowsecurity)
		return "has row security";
	foreach(lc, pgs_capture_members(RelationGetRelid(rel)))
	{
		Relation	member;

		if (lfirst_oid(lc) == RelationGetRelid(rel))
			continue;
		member = try_relation_open(lfirst_oid(lc), AccessShareLock);
		if (!member)
			continue;
		why = uncapturable(member);
		if (why)
			why = psprintf("has a part, \"%s\", that %s", RelationGetRelationName(member), why);
		relation_close(member, AccessShareLock);
		if (why)
			return why;
	}
	return NULL;
}

/* Whether changes of a relation can be told by triggers of ours, there or yet to come. */
bool
pgs_capture_possible(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		result = pgs_stream_get(relid, true) != NULL || source_uncapturable(rel) == NULL;

	table_close(rel, NoLock);
	return result;
}

/* ---- now ---- */

static const char *
trigger_obstacle(Relation rel)
{
	bool		subscribed = pgs_capture_is_subscribed(RelationGetRelid(rel));
	ListCell   *lc;

	foreach(lc, pgs_capture_members(RelationGetRelid(rel)))
	{
		Relation	member = try_relation_open(lfirst_oid(lc), AccessShareLock);
		int			enabled;
		int			found;
		bool		rows;

		if (!member)
			continue;
		found = find_capture(member, &enabled);
		rows = !subscribed || member->rd_rel->relkind == RELKIND_PARTITIONED_TABLE || pgs_capture_has_row_trigger(member);
		relation_close(member, AccessShareLock);
		if (found != PGS_ALL_EVENTS)
			return "has no capture trigger yet";
		if (enabled != PGS_ALL_EVENTS)
			return "has its capture trigger disabled";
		if (!rows)
			return "is written by a subscription, and has no capture trigger for that yet";
	}
	return NULL;
}

static const char *
guard_obstacle(Relation rel)
{
	bool		enabled;

	if (!find_guard(rel, &enabled))
		return "has lost its guard trigger";
	return enabled ? NULL : "has its guard trigger disabled";
}

static const char *
source_obstacle(Oid relid, Query *query, Oid owner)
{
	Relation	rel;
	const char *why;
	PgsSource	source;
	bool		is_stream = pgs_stream_get(relid, true) != NULL;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return "a source is gone";
	rel = table_open(relid, AccessShareLock);
	why = is_stream ? uncapturable(rel) : source_uncapturable(rel);
	/* past its guard, too */
	if (!why && is_stream && is_target(relid))
		why = "is a stream table that a subscription writes to";
	if (!why)
		why = is_stream ? guard_obstacle(rel) : trigger_obstacle(rel);
	/* without the right to read it, only computing can say so */
	if (!why && pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK)
		why = "is readable in part only";
	if (!why && (!pgs_source_get(relid, &source) ||
				 !bms_is_subset(pgs_query_columns_used(query, relid), pgs_buffer_columns(&source))))
		why = "has no change buffer with all columns in use yet";
	if (why)
		why = psprintf("\"%s\" %s", RelationGetRelationName(rel), why);
	table_close(rel, AccessShareLock);
	return why;
}

/*
 * Why a stream table has to be computed at each refresh; NULL if its change buffers tell everything.
 */
const char *
pgs_capture_obstacle(const PgsStream *stream, const List *sources)
{
	Relation	rel;
	Query	   *query;
	Oid			owner;
	bool		enabled;
	const char *why = NULL;
	ListCell   *lc;

	if (!stream->data_only)
		return "its query depends on more than the rows of its sources";
	if (stream->mode == PGS_MODE_FULL)
		return "its refresh mode is FULL";
	rel = table_open(stream->relid, AccessShareLock);
	owner = rel->rd_rel->relowner;
	if (!find_guard(rel, &enabled) || !enabled)
		why = "its own guard trigger is not there, or disabled";
	table_close(rel, AccessShareLock);
	query = pgs_query_of_view(stream->viewid);
	foreach(lc, sources)
	{
		if (why)
			break;
		why = source_obstacle(lfirst_oid(lc), query, owner);
	}
	return why;
}
