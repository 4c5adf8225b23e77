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
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic.h"
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
#define ALL_EVENTS (TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE | TRIGGER_TYPE_TRUNCATE)

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
				(trigger->tgtype & TRIGGER_TYPE_EVENT_MASK) == ALL_EVENTS &&
				trigger->tgqual == NULL;
			return true;
		}
	}
	return false;
}

static Oid
capture_function(void)
{
	return LookupFuncName(list_make2(makeString(PGS_INTERNAL_SCHEMA), makeString("capture")), 0, NULL, false);
}

/*
 * For which events a source has capture triggers; whether together they fire for everything, whatever the session does; and
 * of which columns they note the values (NIL: of none).
 */
static int
find_capture(Relation rel, bool *enabled, List **columns)
{
	Oid			funcid = capture_function();
	int			events = 0;
	int			found = 0;

	*columns = NIL;
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgfoid != funcid)
			continue;
		found |= trigger->tgtype & TRIGGER_TYPE_EVENT_MASK;
		if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS || TRIGGER_FOR_ROW(trigger->tgtype) || trigger->tgqual)
			continue;
		events |= trigger->tgtype & TRIGGER_TYPE_EVENT_MASK;
		for (int j = 0; j < trigger->tgnargs; j++)
			*columns = list_append_unique_int(*columns, pg_strtoint16(trigger->tgargs[j]));
	}
	*enabled = events == ALL_EVENTS;
	return found;
}

bool
pgs_capture_has_trigger(Oid relid, bool *enabled)
{
	Relation	rel = table_open(relid, AccessShareLock);
	List	   *columns;
	bool		found = find_capture(rel, enabled, &columns) != 0;

	table_close(rel, AccessShareLock);
	return found;
}

/* Columns of a source whose values in changed rows its triggers note. */
static List *
noted_columns(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	List	   *columns;
	bool		enabled;

	(void) find_capture(rel, &enabled, &columns);
	table_close(rel, AccessShareLock);
	return columns;
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

/* Whether changes of a relation can be told by triggers of ours, there or yet to come. */
bool
pgs_capture_possible(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		result = pgs_stream_get(relid, true) != NULL || uncapturable(rel) == NULL;

	table_close(rel, NoLock);
	return result;
}

static const char *
source_obstacle(Oid relid, Oid owner)
{
	Relation	rel;
	const char *why;
	List	   *columns;
	bool		enabled;
	bool		found;
	bool		is_stream;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		return "a source is gone";
	rel = table_open(relid, AccessShareLock);
	is_stream = pgs_stream_get(relid, true) != NULL;
	why = uncapturable(rel);
	found = is_stream ? find_trigger(rel, GUARD_NAME, &enabled) : find_capture(rel, &enabled, &columns) == ALL_EVENTS;
	if (!why && !found)
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
	/* DROP TRIGGER IF EXISTS need not say what doesn't */
	(void) set_config_option("client_min_messages", "warning", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
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

/* What a source should have: capture triggers that note the values of some columns. */
typedef struct
{
	Oid			relid;
	List	   *columns;
} Wish;

static const struct
{
	const char *name;
	const char *event;
	const char *tables;
}			parts[] = {
	{CAPTURE_NAME "_insert", "INSERT", "REFERENCING NEW TABLE AS pgs_new "},
	{CAPTURE_NAME "_update", "UPDATE", "REFERENCING OLD TABLE AS pgs_old NEW TABLE AS pgs_new "},
	{CAPTURE_NAME "_delete", "DELETE", "REFERENCING OLD TABLE AS pgs_old "},
	{CAPTURE_NAME "_truncate", "TRUNCATE", ""}
};

static void
create_trigger(Oid relid, const char *name, const char *event, const char *tables, const char *arguments)
{
	run(psprintf("CREATE TRIGGER %s AFTER %s ON %s %sFOR EACH STATEMENT EXECUTE FUNCTION " PGS_INTERNAL_SCHEMA ".capture(%s)",
				 name, event, relation_name(relid), tables, arguments));
	run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", relation_name(relid), name));
}

static void
drop_triggers(Oid relid)
{
	run(psprintf("DROP TRIGGER IF EXISTS " CAPTURE_NAME " ON %s", relation_name(relid)));
	for (int i = 0; i < lengthof(parts); i++)
		run(psprintf("DROP TRIGGER IF EXISTS %s ON %s", parts[i].name, relation_name(relid)));
}

static char *
column_arguments(const List *columns)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
		appendStringInfo(&buf, "%s'%d'", foreach_current_index(lc) ? ", " : "", lfirst_int(lc));
	return buf.data;
}

/* Whether a source has the triggers that it should have (one that is disabled stays so), or can't have any. */
static bool
is_fulfilled(const Wish *wish)
{
	Relation	rel = table_open(wish->relid, AccessShareLock);
	List	   *columns;
	bool		enabled;
	bool		found = find_capture(rel, &enabled, &columns) == ALL_EVENTS;
	bool		result = uncapturable(rel) != NULL || (found && list_difference_int(wish->columns, columns) == NIL);

	table_close(rel, NoLock);
	return result;
}

/* False if there is nothing to do, or writers keep the lock. */
static bool
attach(const Wish *wish)
{
	if (is_fulfilled(wish))
		return false;
	/* replacing triggers takes the stronger lock */
	if (!lock_soon(wish->relid, AccessExclusiveLock) || is_fulfilled(wish))
		return false;
	drop_triggers(wish->relid);
	if (wish->columns == NIL)
		create_trigger(wish->relid, CAPTURE_NAME, "INSERT OR UPDATE OR DELETE OR TRUNCATE", "", "");
	for (int i = 0; wish->columns != NIL && i < lengthof(parts); i++)
		create_trigger(wish->relid, parts[i].name, parts[i].event, parts[i].tables, column_arguments(wish->columns));
	return true;
}

static bool
detach(Oid relid)
{
	if (!lock_soon(relid, AccessExclusiveLock))
		return false;
	drop_triggers(relid);
	return true;
}

/* Relations with a capture trigger. */
static List *
attached(void)
{
	Oid			funcid = capture_function();
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

/* Whether a column alone tells the rows of a table apart: the best to look changes up by. */
static bool
is_unique(Oid relid, int attno)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		result = false;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(lc)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		result |= index->indisunique && index->indnkeyatts == 1 && index->indkey.values[0] == attno;
		ReleaseSysCache(tuple);
	}
	table_close(rel, NoLock);
	return result;
}

/* Share of distinct values among the rows, as statistics have it; 0: unknown. */
static double
distinct_share(Oid relid, int attno)
{
	HeapTuple	tuple = SearchSysCache3(STATRELATTINH, ObjectIdGetDatum(relid), Int16GetDatum(attno), BoolGetDatum(false));
	double		result;
	HeapTuple	class;

	if (!HeapTupleIsValid(tuple))
		return 0;
	result = ((Form_pg_statistic) GETSTRUCT(tuple))->stadistinct;
	ReleaseSysCache(tuple);
	if (result < 0)
		return -result;
	class = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (HeapTupleIsValid(class))
	{
		result /= Max(((Form_pg_class) GETSTRUCT(class))->reltuples, 1);
		ReleaseSysCache(class);
	}
	return result;
}

/* The column, of several that would do, whose values restrict the most. */
static int
best_column(Oid relid, const List *alternatives)
{
	int			best = ((PgsRestriction *) linitial(alternatives))->attno;
	double		best_share = -1;
	ListCell   *lc;

	foreach(lc, alternatives)
	{
		int			attno = ((PgsRestriction *) lfirst(lc))->attno;
		double		share = is_unique(relid, attno) ? 2 : distinct_share(relid, attno);

		if (share > best_share)
		{
			best = attno;
			best_share = share;
		}
	}
	return best;
}

static bool
has_any_column(const List *alternatives, const List *columns)
{
	ListCell   *lc;

	foreach(lc, alternatives)
		if (list_member_int(columns, ((PgsRestriction *) lfirst(lc))->attno))
			return true;
	return false;
}

/* Add what a query wants to know of a source; columns that are noted already are preferred, so that triggers stay. */
static void
add_columns(Wish *wish, Query *query)
{
	List	   *present = noted_columns(wish->relid);
	ListCell   *lc;

	foreach(lc, pgs_query_restrictions(query, wish->relid))
	{
		if (has_any_column(lfirst(lc), wish->columns))
			continue;
		if (has_any_column(lfirst(lc), present))
		{
			ListCell   *alternative;

			foreach(alternative, (List *) lfirst(lc))
				if (list_member_int(present, ((PgsRestriction *) lfirst(alternative))->attno))
					wish->columns = list_append_unique_int(wish->columns, ((PgsRestriction *) lfirst(alternative))->attno);
		}
		else
			wish->columns = list_append_unique_int(wish->columns, best_column(wish->relid, lfirst(lc)));
	}
}

static Wish *
wish_for(List **wishes, Oid relid)
{
	Wish	   *wish;
	ListCell   *lc;

	foreach(lc, *wishes)
		if (((Wish *) lfirst(lc))->relid == relid)
			return lfirst(lc);
	wish = palloc0(sizeof(Wish));
	wish->relid = relid;
	*wishes = lappend(*wishes, wish);
	return wish;
}

/* Columns of a stream table that those who read from it want to know of its changed rows. */
List *
pgs_capture_columns_for_readers(Oid relid)
{
	Wish		wish = {.relid = relid};
	ListCell   *lc;

	foreach(lc, pgs_stream_list())
	{
		PgsStream  *stream = lfirst(lc);

		if (stream->data_only && OidIsValid(stream->viewid) && stream->mode != PGS_MODE_FULL &&
			list_member_oid(pgs_query_sources(stream->viewid), relid) &&
			SearchSysCacheExists1(RELOID, ObjectIdGetDatum(stream->viewid)))
			add_columns(&wish, pgs_query_of_view(stream->viewid));
	}
	return wish.columns;
}

/* Tables whose changes some scheduled stream table wants to know, and of which columns. */
static List *
wanted(List *streams)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, streams)
	{
		PgsStream  *stream = lfirst(lc);
		Query	   *query;
		ListCell   *source;

		if (!stream->schedule || !stream->data_only || !OidIsValid(stream->viewid) || stream->mode == PGS_MODE_FULL ||
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(stream->viewid)))
			continue;
		query = pgs_query_of_view(stream->viewid);
		foreach(source, pgs_query_sources(stream->viewid))
			if (get_rel_relkind(lfirst_oid(source)) == RELKIND_RELATION &&
				pgs_stream_get(lfirst_oid(source), true) == NULL)
				add_columns(wish_for(&result, lfirst_oid(source)), query);
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
		Datum		xid = heap_getattr(tuple, Anum_change_xid, RelationGetDescr(rel), &isnull);

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
	List	   *streams;
	List	   *wishes;
	ListCell   *lc;

	/* DROP EXTENSION wants all of these and the sources: whoever comes second must not wait while holding a source */
	if (!pgs_catalog_lock(false) ||
		!ConditionalLockDatabaseObject(ProcedureRelationId, capture_function(), 0, AccessShareLock))
		return false;
	streams = pgs_stream_list();
	wishes = wanted(streams);
	foreach(lc, wishes)
		if (attach(lfirst(lc)))
			return true;
	foreach(lc, attached())
	{
		bool		wished = false;
		ListCell   *wish;

		foreach(wish, wishes)
			wished |= ((Wish *) lfirst(wish))->relid == lfirst_oid(lc);
		if (!wished && detach(lfirst_oid(lc)))
			return true;
	}
	if (worth_trimming() && lock_refreshes(streams))
		trim(oldest_frontier());
	return false;
}
