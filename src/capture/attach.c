/*
 * attach.c - change buffers and capture triggers come and go with the stream tables that want them
 *
 * Only the scheduler attaches triggers, each in a short transaction of its own: CREATE TRIGGER keeps writers out for as
 * long as its transaction lives, and neither the creation of a stream table nor a long refresh may do that.  A writer
 * that began before the trigger was there has ended by then, as the lock waits for it; so a refresh that saw the trigger
 * before it took its snapshot misses nothing.  The same holds for the refreshes of a stream table that others read from,
 * whose refresh lock stands for the lock on writers, and for the columns of a buffer.
 *
 * Locks are tried, not waited for: a queue behind us would be a queue of writers.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/relation.h"
#include "capture/capture_internal.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "commands/trigger.h"
#include "compat.h"
#include "miscadmin.h"
#include "module.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#define CAPTURE_NAME "pgstream_capture"

/* tries to get the lock for CREATE TRIGGER, and the wait between them: no queue for writers to stand in */
#define LOCK_TRIES 20
#define LOCK_WAIT_US 5000

static void
run(const char *sql)
{
	int			level = NewGUCNestLevel();

	pgs_restrict_search_path();
	pgs_capture_command(sql);
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

static bool
is_stream(Oid relid)
{
	return pgs_stream_get(relid, true) != NULL;
}

/* ---- triggers ---- */

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
#define ROW_NAME CAPTURE_NAME "_row"

static bool
has_trigger(Oid relid, const char *name)
{
	return OidIsValid(get_trigger_oid(relid, name, true));
}

/* Drop a trigger, if it is there: only that takes a lock that readers hold up. */
static void
drop_trigger(Oid relid, const char *name)
{
	if (has_trigger(relid, name))
		run(psprintf("DROP TRIGGER %s ON %s", name, relation_name(relid)));
}

static void
drop_statement_triggers(Oid relid)
{
	for (int i = 0; i < lengthof(parts); i++)
		drop_trigger(relid, parts[i].name);
}

/* Whether a relation has triggers of our names that don't do their work, and would have to be dropped. */
static bool
has_leftovers(Oid relid)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		result;

	if (!rel)
		return false;
	result = !pgs_capture_has_row_trigger(rel) && has_trigger(relid, ROW_NAME);
	if (!pgs_capture_is_attached(rel))
		for (int i = 0; i < lengthof(parts); i++)
			result = result || has_trigger(relid, parts[i].name);
	relation_close(rel, NoLock);
	return result;
}

static bool
wants_row_trigger(Relation rel)
{
	/* (one of a partitioned table would be cloned to its partitions) */
	return rel->rd_rel->relkind != RELKIND_PARTITIONED_TABLE && !pgs_capture_has_row_trigger(rel);
}

/*
 * The trigger for rows that a subscription writes; it stays when the subscription goes.  Rows written before it was there passed every
 * trigger: whoever reads the source computes the whole.
 */
static void
create_row_trigger(Oid relid, Oid sourceid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		wanted = wants_row_trigger(rel);

	table_close(rel, NoLock);
	if (!wanted)
		return;
	drop_trigger(relid, ROW_NAME);
	run(psprintf("CREATE TRIGGER " ROW_NAME " AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION "
				 PGS_INTERNAL_SCHEMA ".capture_row()", relation_name(relid)));
	run(psprintf("ALTER TABLE ONLY %s ENABLE REPLICA TRIGGER " ROW_NAME, relation_name(relid)));
	pgs_capture_mark(sourceid, PGS_MARK_DDL);
}

static void
create_triggers(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		attached = pgs_capture_is_attached(rel);

	table_close(rel, NoLock);
	if (attached)
		return;
	drop_statement_triggers(relid);
	for (int i = 0; i < lengthof(parts); i++)
	{
		run(psprintf("CREATE TRIGGER %s AFTER %s ON %s %sFOR EACH STATEMENT EXECUTE FUNCTION " PGS_INTERNAL_SCHEMA
					 ".capture()", parts[i].name, parts[i].event, relation_name(relid), parts[i].tables));
		run(psprintf("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %s", relation_name(relid), parts[i].name));
	}
}

/* ---- wishes ---- */

/* What a source should have: triggers, and a buffer of some columns. */
typedef struct
{
	Oid			relid;
	Bitmapset  *columns;
	bool		eager;			/* somebody is to follow it at once */
} Wish;

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

/* Lock a relation, its partitions and children to look at them; false, at once, if DDL holds one. */
static bool
lock_to_look(Oid relid)
{
	ListCell   *lc;

	foreach(lc, find_all_inheritors(relid, NoLock, NULL))
		if (!ConditionalLockRelationOid(lfirst_oid(lc), AccessShareLock))
			return false;
	return true;
}

/*
 * Relations whose changes some stream table wants to know, and of which columns.  What DDL holds is left for another time, and makes the
 * list not "complete".
 */
static List *
wanted(List *streams, PgsIsEager is_eager, bool *complete)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, streams)
	{
		PgsStream  *stream = lfirst(lc);
		Query	   *query;
		ListCell   *source;

		if (!stream->data_only || !OidIsValid(stream->viewid) || stream->mode == PGS_MODE_FULL ||
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(stream->viewid)))
			continue;
		if (!lock_to_look(stream->viewid))
		{
			*complete = false;
			continue;
		}
		query = pgs_query_of_view(stream->viewid);
		foreach(source, pgs_query_sources(stream->viewid))
		{
			Wish	   *wish;

			if (!lock_to_look(lfirst_oid(source)))
			{
				*complete = false;
				continue;
			}
			if (!pgs_capture_possible(lfirst_oid(source)))
				continue;
			wish = wish_for(&result, lfirst_oid(source));
			wish->columns = bms_add_members(wish->columns, pgs_query_columns_used(query, wish->relid));
			wish->eager |= is_eager(stream, streams);
		}
	}
	return result;
}

/* ---- attaching ---- */

static bool
buffer_is_whole(const PgsSource *source)
{
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->buffers[0])) &&
		SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->buffers[1]));
}

/* What the buffer of a source should hold: what is wanted, and where not all wishes are known, or it can't lose columns, what it holds. */
static Bitmapset *
columns_for(const Wish *wish, const PgsSource *source, const Bitmapset *held, bool complete)
{
	return complete && pgs_buffer_may_narrow(source) ? wish->columns : bms_union(wish->columns, held);
}

/*
 * Whether a source has its buffer, with all columns, and all triggers (one that is disabled stays so); and, where all wishes are known,
 * no columns that nobody wants: those make work for writers.
 */
static bool
is_fulfilled(const Wish *wish, bool complete)
{
	PgsSource	source;
	Bitmapset  *held;
	bool		subscribed;
	ListCell   *lc;

	if (!pgs_source_get(wish->relid, &source) || source.eager != wish->eager || !buffer_is_whole(&source))
		return false;
	held = pgs_buffer_columns(&source);
	if (!bms_equal(held, columns_for(wish, &source, held, complete)))
		return false;
	if (is_stream(wish->relid))
		return true;
	subscribed = pgs_capture_is_subscribed(wish->relid);
	foreach(lc, pgs_capture_members(wish->relid))
	{
		Relation	rel = try_relation_open(lfirst_oid(lc), AccessShareLock);
		bool		attached;

		if (!rel)
			continue;
		attached = pgs_capture_is_attached(rel) && !(subscribed && wants_row_trigger(rel));
		relation_close(rel, NoLock);
		if (!attached)
			return false;
	}
	return true;
}

/*
 * Keep everybody from writing to a table, by the lock of CREATE TRIGGER: readers, however long they take, are no obstacle.  DROP TRIGGER
 * takes the strongest lock, so that it is wanted where some are to be replaced.
 */
static bool
lock_member(Oid relid)
{
	LOCKMODE	mode;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		return false;
	mode = has_leftovers(relid) ? AccessExclusiveLock : ShareRowExclusiveLock;
	/* looked at again: before we had the lock, somebody may have disabled one */
	return lock_soon(relid, mode) && (mode == AccessExclusiveLock || !has_leftovers(relid));
}

/* Keep everybody from writing to a source until the end of the transaction. */
static bool
lock_writers(Oid relid)
{
	ListCell   *lc;

	if (is_stream(relid))
		return pgs_capture_hold_refreshes(relid);
	foreach(lc, pgs_capture_members(relid))
		if (!lock_member(lfirst_oid(lc)))
			return false;
	return true;
}

static bool
lock_buffer(const PgsSource *source)
{
	for (int i = 0; i < lengthof(source->buffers); i++)
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->buffers[i])) &&
			!lock_soon(source->buffers[i], AccessExclusiveLock))
			return false;
	return true;
}

/*
 * A frontier tells nothing of changes that no buffer holds.  A stream table may have one from before its source, or a column of it, was
 * captured no more (for a while, as when its refresh mode was FULL): it is given up before the capture begins again.  "held" are
 * the columns in the buffer, if it is "known".  False if somebody keeps a lock.
 */
static bool
forget_frontiers(const Wish *wish, const List *streams, bool known, const Bitmapset *held)
{
	ListCell   *lc;

	foreach(lc, streams)
	{
		PgsStream  *stream = lfirst(lc);

		if (!pgs_capture_has_frontier(stream) || !OidIsValid(stream->viewid) ||
			!list_member_oid(pgs_query_sources(stream->viewid), wish->relid) ||
			(known && bms_is_subset(pgs_query_columns_used(pgs_query_of_view(stream->viewid), wish->relid), held)))
			continue;
		if (!pgs_capture_hold_refreshes(stream->relid))
			return false;
		pgs_capture_forget_frontier(stream->relid);
	}
	return true;
}

/* False if there is nothing to do, or somebody keeps a lock. */
static bool
attach(const Wish *wish, const List *streams, bool complete)
{
	PgsSource	source = {.relid = wish->relid};
	bool		known;
	Bitmapset  *held;
	Bitmapset  *columns;
	bool		subscribed;
	ListCell   *lc;

	if (is_fulfilled(wish, complete))
		return false;
	if (!lock_writers(wish->relid) || is_fulfilled(wish, complete))
		return false;
	known = pgs_source_get(wish->relid, &source);
	held = known ? pgs_buffer_columns(&source) : NULL;
	if (!forget_frontiers(wish, streams, known && buffer_is_whole(&source), held))
		return false;
	if (known && !buffer_is_whole(&source))
	{
		pgs_buffer_drop(&source);
		known = false;
	}
	if (!known)
		pgs_buffer_create(&source, wish->columns);
	else
	{
		columns = columns_for(wish, &source, held, complete);
		if (!bms_equal(columns, held))
		{
			if (!lock_buffer(&source))
				return false;
			pgs_buffer_set_columns(&source, columns);
		}
	}
	if (is_stream(wish->relid))
		source.members = list_make1_oid(wish->relid);
	else
	{
		source.members = pgs_capture_members(wish->relid);
		subscribed = pgs_capture_is_subscribed(wish->relid);
		foreach(lc, source.members)
		{
			create_triggers(lfirst_oid(lc));
			if (subscribed)
				create_row_trigger(lfirst_oid(lc), wish->relid);
		}
	}
	source.eager = wish->eager;
	pgs_source_put(&source);
	return true;
}

/* ---- detaching ---- */

/* Relations with a capture trigger. */
static List *
attached_relations(void)
{
	Relation	rel = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *result = NIL;

	ScanKeyInit(&key, Anum_pg_trigger_tgfoid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(pgs_capture_function()));
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
		result = list_append_unique_oid(result, ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static bool
is_wished(const List *wishes, Oid relid)
{
	ListCell   *lc;

	foreach(lc, wishes)
		if (((Wish *) lfirst(lc))->relid == relid)
			return true;
	return false;
}

/* Drop the buffer of a source that nobody wants any more, or that is gone. */
static bool
detach_source(const PgsSource *source)
{
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source->relid)) && !lock_writers(source->relid))
		return false;
	if (!lock_buffer(source))
		return false;
	pgs_buffer_drop(source);
	return true;
}

/* Drop triggers that write to no buffer: of a source that was detached, or restored from a dump. */
static bool
detach_triggers(Oid relid)
{
	if (pgs_source_above(relid) != NIL)
		return false;
	if (!lock_soon(relid, AccessExclusiveLock))
		return false;
	drop_statement_triggers(relid);
	drop_trigger(relid, ROW_NAME);
	return true;
}

/*
 * Bring buffers and triggers in line with what the stream tables want, at most one source in a transaction, or
 * empty what is consumed.  "is_eager" tells whether a stream table is to follow its sources at once.  To be called in a short transaction of its own, by a superuser, and again if
 * something was changed: then it returns true.
 */
bool
pgs_capture_maintain(PgsIsEager is_eager)
{
	List	   *streams;
	List	   *wishes;
	bool		complete = true;
	ListCell   *lc;

	/* DROP EXTENSION wants all of these and the sources: whoever comes second must not wait while holding a source */
	if (!pgs_catalog_lock(false) ||
		!pgs_lock_object_at_once(ProcedureRelationId, pgs_capture_function(), 0, AccessShareLock))
		return false;
	streams = pgs_stream_list();
	wishes = wanted(streams, is_eager, &complete);
	foreach(lc, wishes)
		if (attach(lfirst(lc), streams, complete))
			return true;
	/* what is held just now may be wanted */
	foreach(lc, complete ? pgs_source_list() : NIL)
		if (!is_wished(wishes, ((PgsSource *) lfirst(lc))->relid) && detach_source(lfirst(lc)))
			return true;
	foreach(lc, attached_relations())
		if (detach_triggers(lfirst_oid(lc)))
			return true;
	pgs_capture_empty(streams);
	return false;
}
