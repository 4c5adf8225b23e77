/*
 * attach.c - which sources can be captured, and the triggers on them
 *
 * Only the scheduler attaches triggers, each in a short transaction of its own: CREATE TRIGGER keeps writers out for as
 * long as its transaction lives, and neither the creation of a stream table nor a long refresh may do that.  A writer
 * that began before the trigger was there has ended by then, as the lock waits for it; so a refresh that saw the trigger
 * before it took its snapshot misses nothing.
 *
 * What can't be captured is computed whole at each refresh, and explain_st says why.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/catalog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_subscription_rel.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "module.h"
#include "parser/parse_func.h"
#include "query/query.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#define CAPTURE_NAME "pgstream_capture"
#define GUARD_NAME "pgstream_guard"

/* tries to get the lock for CREATE TRIGGER, and the wait between them: no queue for writers to stand in */
#define LOCK_TRIES 20
#define LOCK_WAIT_US 5000

/* a stream table that waits this long for its refresh gives up its frontier, so that marks needn't be kept for it */
#define FRONTIER_LIFETIME_MS (5 * 60 * 1000)

/* marks are left alone while they fill no more than this */
#define TRIM_BLOCKS 4

/* Whether a relation has a statement trigger of ours, by name; and whether it fires whatever the session does. */
static bool
find_trigger(Relation rel, const char *name, bool *enabled)
{
	*enabled = false;
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (strcmp(trigger->tgname, name) == 0)
		{
			*enabled = trigger->tgenabled == TRIGGER_FIRES_ALWAYS && !TRIGGER_FOR_ROW(trigger->tgtype) &&
				(trigger->tgtype & TRIGGER_TYPE_EVENT_MASK) ==
				(TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE | TRIGGER_TYPE_TRUNCATE) &&
				trigger->tgqual == NULL;
			return true;
		}
	}
	return false;
}

bool
pgs_capture_has_trigger(Oid relid, bool *enabled)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		found = find_trigger(rel, CAPTURE_NAME, enabled);

	table_close(rel, AccessShareLock);
	return found;
}

/* The target of a subscription is written row by row, past every statement trigger. */
static bool
is_subscribed(Oid relid)
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

/* Why the rows of a relation can change without our knowing, whatever triggers it has; NULL if they can't. */
static const char *
uncapturable(Relation rel)
{
	if (rel->rd_rel->relkind != RELKIND_RELATION)
		return "is no plain table";
	if (rel->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return "is emptied by a crash";
	if (rel->rd_rel->relispartition || rel->rd_rel->relhassubclass || has_superclass(RelationGetRelid(rel)))
		return "is part of an inheritance or partition tree";
	if (rel->rd_rel->relrowsecurity)
		return "has row security";
	if (is_subscribed(RelationGetRelid(rel)))
		return "is written by a subscription";
	if (IsCatalogRelation(rel))
		return "is a system catalog";
	return NULL;
}

static const char *
source_obstacle(Oid relid, Oid owner)
{
	Relation	rel;
	const char *why;
	bool		enabled;
	bool		is_stream;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return "a source is gone";
	rel = table_open(relid, AccessShareLock);
	is_stream = pgs_stream_get(relid, true) != NULL;
	why = uncapturable(rel);
	if (!why && !find_trigger(rel, is_stream ? GUARD_NAME : CAPTURE_NAME, &enabled))
		why = is_stream ? "has lost its guard trigger" : "has no capture trigger yet";
	else if (!why && !enabled)
		why = is_stream ? "has its guard trigger disabled" : "has its capture trigger disabled";
	/* without the right to read it, only computing can say so */
	if (!why && pg_class_aclcheck(relid, owner, ACL_SELECT) != ACLCHECK_OK)
		why = "is readable in part only";
	if (why)
		why = psprintf("\"%s\" %s", RelationGetRelationName(rel), why);
	table_close(rel, AccessShareLock);
	return why;
}

/*
 * Why a stream table has to be computed at each refresh; NULL if marks tell whether it must.
 */
const char *
pgs_capture_obstacle(const PgsStream *stream, const List *sources)
{
	Relation	rel;
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
	if (!find_trigger(rel, GUARD_NAME, &enabled) || !enabled)
		why = "its own guard trigger is not there, or disabled";
	table_close(rel, AccessShareLock);
	foreach(lc, sources)
	{
		if (why)
			break;
		why = source_obstacle(lfirst_oid(lc), owner);
	}
	return why;
}

/* ---- triggers come and go ---- */

static void
run(const char *sql)
{
	int			level = NewGUCNestLevel();

	pgs_restrict_search_path();
	SPI_connect();
	if (SPI_execute(sql, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", sql);
	SPI_finish();
	AtEOXact_GUC(false, level);
}

static bool
lock_soon(Oid relid, LOCKMODE mode)
{
	for (int i = 0; i < LOCK_TRIES; i++)
	{
		if (ConditionalLockRelationOid(relid, mode))
			return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid));
		pg_usleep(LOCK_WAIT_US);
		CHECK_FOR_INTERRUPTS();
	}
	return false;
}

static char *
relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

/* False if writers keep the lock, or the table is none that a trigger helps with. */
static bool
attach(Oid relid)
{
	Relation	rel;
	bool		fit;
	bool		enabled;

	if (!lock_soon(relid, ShareRowExclusiveLock))
		return false;
	rel = table_open(relid, NoLock);
	fit = uncapturable(rel) == NULL && !find_trigger(rel, CAPTURE_NAME, &enabled);
	table_close(rel, NoLock);
	if (!fit)
		return false;
	run(psprintf("CREATE TRIGGER " CAPTURE_NAME " AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s "
				 "FOR EACH STATEMENT EXECUTE FUNCTION " PGS_INTERNAL_SCHEMA ".capture()", relation_name(relid)));
	run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER " CAPTURE_NAME, relation_name(relid)));
	return true;
}

static bool
detach(Oid relid)
{
	if (!lock_soon(relid, AccessExclusiveLock))
		return false;
	run(psprintf("DROP TRIGGER IF EXISTS " CAPTURE_NAME " ON %s", relation_name(relid)));
	return true;
}

/* Do one thing to the first relation of a list that lets us. */
static bool
do_one(const List *relids, bool (*change) (Oid relid))
{
	ListCell   *lc;

	foreach(lc, relids)
		if (change(lfirst_oid(lc)))
			return true;
	return false;
}

/* Relations with a capture trigger. */
static List *
attached(void)
{
	Oid			funcid = LookupFuncName(list_make2(makeString(PGS_INTERNAL_SCHEMA), makeString("capture")), 0, NULL, false);
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	ScanKeyInit(&key, Anum_pg_trigger_tgfoid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(funcid));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
		result = list_append_unique_oid(result, ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

/* Tables whose changes some scheduled stream table wants to know. */
static List *
wanted(List *streams)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, streams)
	{
		PgsStream  *stream = lfirst(lc);
		ListCell   *source;

		if (!stream->schedule || !stream->data_only || !OidIsValid(stream->viewid) || stream->mode == PGS_MODE_FULL)
			continue;
		foreach(source, pgs_query_sources(stream->viewid))
			if (get_rel_relkind(lfirst_oid(source)) == RELKIND_RELATION &&
				pgs_stream_get(lfirst_oid(source), true) == NULL)
				result = list_append_unique_oid(result, lfirst_oid(source));
	}
	return result;
}

/* ---- emptying ---- */

/* Hold every refresh back for a moment: one that has its snapshot, but hasn't stored its frontier, still needs marks. */
static bool
lock_refreshes(List *streams)
{
	ListCell   *lc;

	foreach(lc, streams)
		if (!ConditionalLockDatabaseObject(pgs_catalog_relid(PGS_CATALOG_STREAM), ((PgsStream *) lfirst(lc))->relid, 0,
										   ExclusiveLock))
			return false;
	return true;
}

/*
 * The oldest transaction that some frontier may not have seen; streams that lag behind give up theirs.  The refresh locks
 * are held, so the frontiers read now are all there are.
 */
static FullTransactionId
oldest_frontier(void)
{
	FullTransactionId oldest = ReadNextFullTransactionId();
	ListCell   *lc;

	foreach(lc, pgs_stream_list())
	{
		PgsStream  *stream = lfirst(lc);
		FullTransactionId xmin;

		if (stream->frontier == (Datum) 0)
			continue;
		if (TimestampDifferenceExceeds(stream->last_refresh_at, GetCurrentTimestamp(), FRONTIER_LIFETIME_MS))
		{
			stream = pgs_stream_lock(stream->relid, true);
			if (stream)
			{
				pgs_capture_set_frontier(stream, (Datum) 0, 0);
				pgs_stream_store(stream);
			}
			continue;
		}
		xmin = DatumGetFullTransactionId(DirectFunctionCall1(pg_snapshot_xmin, stream->frontier));
		if (FullTransactionIdPrecedes(xmin, oldest))
			oldest = xmin;
	}
	return oldest;
}

static bool
worth_trimming(void)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), AccessShareLock);
	BlockNumber blocks = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return blocks > TRIM_BLOCKS;
}

/* Remove the marks that every frontier has seen. */
static void
trim(FullTransactionId oldest)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), RowExclusiveLock);
	Snapshot	snapshot = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, snapshot, 0, NULL);
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		bool		isnull;
		Datum		xid = heap_getattr(tuple, 3, RelationGetDescr(rel), &isnull);

		if (FullTransactionIdPrecedes(DatumGetFullTransactionId(xid), oldest))
			simple_heap_delete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(rel, RowExclusiveLock);
}

/*
 * Bring the triggers in line with what the stream tables want, at most one change of a trigger in a transaction, or
 * remove marks that nobody needs.  To be called in a short transaction of its own, by a superuser, and again if a
 * trigger was changed: then it returns true.
 */
bool
pgs_capture_maintain(void)
{
	List	   *streams = pgs_stream_list();
	List	   *want = wanted(streams);
	List	   *have = attached();
	List	   *missing = list_difference_oid(want, have);
	List	   *surplus = list_difference_oid(have, want);

	if (do_one(missing, attach) || do_one(surplus, detach))
		return true;
	if (worth_trimming() && lock_refreshes(streams))
		trim(oldest_frontier());
	return false;
}
