/*
 * source.c - one row for each captured source: where its change buffer is
 *
 * Every statement that writes to a source asks here, so rows are kept in the backend until the relation cache says that
 * something about the source has changed; whoever stores a row sends that message.  A writer that still has the old row
 * appends to the segment that is no longer current: no harm, as readers read both.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "catalog/pgs_catalog.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

enum
{
	Anum_relid = 1, Anum_buffer_a, Anum_buffer_b, Anum_current, Anum_eager, Anum_members, Natts_source = Anum_members
};

typedef struct
{
	Oid			relid;			/* the hash key */
	bool		exists;
	PgsSource	source;			/* without its members */
	bool		above_known;
	List	   *above;			/* see pgs_source_above; in TopMemoryContext */
} Entry;

static HTAB *cache = NULL;

/* Nothing is deleted from the table here, as a lookup may be in progress: all entries are forgotten at the next one. */
static bool cache_valid = false;

static void
forget_sources(Datum arg, Oid relid)
{
	cache_valid = false;
}

static void
prepare_cache(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_sources, (Datum) 0);
		registered = true;
	}
	if (cache_valid)
		return;
	if (cache)
	{
		HASH_SEQ_STATUS seq;
		Entry	   *entry;

		hash_seq_init(&seq, cache);
		while ((entry = hash_seq_search(&seq)) != NULL)
			list_free(entry->above);
		hash_destroy(cache);
	}
	cache = hash_create("dbt_pgstream sources", 64, &(HASHCTL) {.keysize = sizeof(Oid), .entrysize = sizeof(Entry)},
						HASH_ELEM | HASH_BLOBS);
	cache_valid = true;
}

static List *
oids_of(Datum array)
{
	Datum	   *elems;
	int			n;
	List	   *result = NIL;

	deconstruct_array(DatumGetArrayTypeP(array), OIDOID, sizeof(Oid), true, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i < n; i++)
		result = lappend_oid(result, DatumGetObjectId(elems[i]));
	return result;
}

static Datum
array_of(const List *oids)
{
	Datum	   *elems = palloc(sizeof(Datum) * Max(list_length(oids), 1));
	ListCell   *lc;

	foreach(lc, oids)
		elems[foreach_current_index(lc)] = ObjectIdGetDatum(lfirst_oid(lc));
	return PointerGetDatum(construct_array(elems, list_length(oids), OIDOID, sizeof(Oid), true, TYPALIGN_INT));
}

static void
read_tuple(HeapTuple tuple, TupleDesc desc, bool members, PgsSource *source)
{
	Datum		v[Natts_source];
	bool		null[Natts_source];

	heap_deform_tuple(tuple, desc, v, null);
	source->relid = DatumGetObjectId(v[Anum_relid - 1]);
	source->buffers[0] = DatumGetObjectId(v[Anum_buffer_a - 1]);
	source->buffers[1] = DatumGetObjectId(v[Anum_buffer_b - 1]);
	source->current = DatumGetInt16(v[Anum_current - 1]);
	source->eager = DatumGetBool(v[Anum_eager - 1]);
	source->members = members ? oids_of(v[Anum_members - 1]) : NIL;
}

static SysScanDesc
begin_scan(Relation rel, Oid relid, ScanKeyData *key)
{
	ScanKeyInit(key, Anum_relid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	return systable_beginscan(rel, pgs_catalog_relid(PGS_CATALOG_SOURCE_PKEY), true, NULL, 1, key);
}

/*
 * Where the changes of a relation go, members left out; false if it is not captured.
 */
bool
pgs_source_get(Oid relid, PgsSource *source)
{
	Entry	   *entry;
	bool		found;

	prepare_cache();
	entry = hash_search(cache, &relid, HASH_FIND, &found);
	if (!found)
	{
		Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_SOURCE), AccessShareLock);
		ScanKeyData key;
		SysScanDesc scan = begin_scan(rel, relid, &key);
		HeapTuple	tuple = systable_getnext(scan);
		Entry		fresh = {.relid = relid, .exists = HeapTupleIsValid(tuple)};

		if (fresh.exists)
			read_tuple(tuple, RelationGetDescr(rel), false, &fresh.source);
		systable_endscan(scan);
		table_close(rel, AccessShareLock);
		/* reading may have brought news */
		prepare_cache();
		entry = hash_search(cache, &relid, HASH_ENTER, NULL);
		*entry = fresh;
	}
	if (entry->exists)
		*source = entry->source;
	return entry->exists;
}

/* ---- partitions and children ---- */

static void
add_parents(Oid relid, List **result)
{
	Relation	inherits = table_open(InheritsRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_inherits_inhrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(inherits, InheritsRelidSeqnoIndexId, true, NULL, 1, &key);
	while ((tuple = systable_getnext(scan)) != NULL)
	{
		Oid			parent = ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent;

		if (!list_member_oid(*result, parent))
		{
			*result = lappend_oid(*result, parent);
			add_parents(parent, result);
		}
	}
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
}

/*
 * The captured sources that a relation's rows belong to: itself, and those that it is a partition or child of.  A list of OIDs.
 */
List *
pgs_source_above(Oid relid)
{
	Entry	   *entry;
	bool		found;
	PgsSource	source;
	List	   *family = list_make1_oid(relid);
	List	   *result = NIL;
	MemoryContext old;
	ListCell   *lc;

	prepare_cache();
	entry = hash_search(cache, &relid, HASH_FIND, &found);
	if (found && entry->above_known)
		return list_copy(entry->above);
	add_parents(relid, &family);
	foreach(lc, family)
		if (pgs_source_get(lfirst_oid(lc), &source))
			result = lappend_oid(result, lfirst_oid(lc));
	/* it is there now; gone again if reading brought news */
	entry = hash_search(cache, &relid, HASH_FIND, &found);
	if (!found)
		return result;
	old = MemoryContextSwitchTo(TopMemoryContext);
	entry->above = list_copy(result);
	entry->above_known = true;
	MemoryContextSwitchTo(old);
	return result;
}

/* All captured sources: a list of PgsSource. */
List *
pgs_source_list(void)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_SOURCE), AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	List	   *result = NIL;
	HeapTuple	tuple;

	while ((tuple = systable_getnext(scan)) != NULL)
	{
		PgsSource  *source = palloc(sizeof(PgsSource));

		read_tuple(tuple, RelationGetDescr(rel), true, source);
		result = lappend(result, source);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static void
tell_others(Oid relid)
{
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relid)))
		CacheInvalidateRelcacheByRelid(relid);
	CommandCounterIncrement();
	cache_valid = false;
}

/* Store the row of a source, new or not. */
void
pgs_source_put(const PgsSource *source)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_SOURCE), RowExclusiveLock);
	Datum		v[Natts_source] = {
		ObjectIdGetDatum(source->relid), ObjectIdGetDatum(source->buffers[0]), ObjectIdGetDatum(source->buffers[1]),
		Int16GetDatum(source->current), BoolGetDatum(source->eager), array_of(source->members)
	};
	bool		null[Natts_source] = {0};
	HeapTuple	new = heap_form_tuple(RelationGetDescr(rel), v, null);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, source->relid, &key);
	HeapTuple	old = systable_getnext(scan);

	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, new);
	else
		CatalogTupleInsert(rel, new);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	tell_others(source->relid);
}

/* Remove the row of a source. */
void
pgs_source_delete(Oid relid)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_SOURCE), RowExclusiveLock);
	ScanKeyData key;
	SysScanDesc scan = begin_scan(rel, relid, &key);
	HeapTuple	tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		CatalogTupleDelete(rel, &tuple->t_self);
	systable_endscan(scan);
	table_close(rel, RowExclusiveLock);
	tell_others(relid);
}
