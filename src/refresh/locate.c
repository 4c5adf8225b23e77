/*
 * locate.c - a weighted delta changes stored rows
 *
 * The delta is consolidated: weights of equal images are summed, and what sums to 0 is gone; here, where rows
 * have a key and those of one arrive together; by the query, where any number may be looked up by the same.  Then every row with a negative
 * weight is a stored one.  It is found through an index on the key, or on a hash (of the key, or of all columns where there is
 * none), which refreshes make for themselves, and known by its image.  Rows that are looked up by the same come together: one
 * that leaves and one that comes make an update in place.
 *
 * A stored row that isn't found means that the stream table is not what its frontier says: an error, and the next refresh
 * computes the whole.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "compat.h"
#include "datum.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/nodeFuncs.h"
#include "refresh/refresh_internal.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

/* a function takes no more arguments than 100; what more columns could tell apart, the images do */
#define MAX_HASHED 90
/* a key of more columns than this is hashed */
#define MAX_KEY_COLUMNS 4

/* ---- the index ---- */

/* By what a stream table's rows are looked up. */
typedef struct
{
	bool		hashed;			/* by row_hash() of the columns, not by themselves */
	List	   *columns;
} Locator;

/* Whether a column can be looked up as it is: of bounded width, and with values that are equal only where they are the same. */
static bool
is_plain(Form_pg_attribute attr)
{
	return attr->attlen > 0 && attr->attlen <= UUID_LEN && pgs_delta_equal_means_same(attr->atttypid, attr->atttypmod, attr->attcollation);
}

/*
 * A short key of plain columns is looked up by itself, as rows that are neighbours in it tend to be so in the table; anything
 * else by a hash.
 */
static Locator
choose_locator(const List *key, Relation rel)
{
	Locator		result = {.hashed = key == NIL || list_length(key) > MAX_KEY_COLUMNS};
	ListCell   *lc;

	foreach(lc, key)
		if (!is_plain(TupleDescAttr(RelationGetDescr(rel), lfirst_int(lc) - 1)))
			result.hashed = true;
	if (key)
		result.columns = list_truncate(list_copy(key), MAX_HASHED);
	for (int i = 0; key == NIL && i < RelationGetNumberOfAttributes(rel) && list_length(result.columns) < MAX_HASHED; i++)
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
			result.columns = lappend_int(result.columns, i + 1);
	return result;
}

static Oid
hash_function(void)
{
	Oid			any = ANYOID;

	return pgs_catalog_function("row_hash", 1, &any);
}

/* Whether an index is on row_hash() of just these columns. */
static bool
is_hash_locator(Relation index, const List *columns)
{
	List	   *exprs = RelationGetIndexExpressions(index);
	FuncExpr   *call = exprs ? linitial(exprs) : NULL;
	ListCell   *a;
	ListCell   *b;

	if (index->rd_index->indnatts != 1 || !call || !IsA(call, FuncExpr) || call->funcid != hash_function() ||
		list_length(call->args) != list_length(columns))
		return false;
	forboth(a, call->args, b, columns)
		if (!IsA(lfirst(a), Var) || ((Var *) lfirst(a))->varattno != lfirst_int(b))
			return false;
	return true;
}

/* Whether it is on just these columns, by their default order. */
static bool
is_key_locator(Relation index, TupleDesc desc, const List *columns)
{
	Form_pg_index form = index->rd_index;
	ListCell   *lc;

	if (form->indnkeyatts != list_length(columns))
		return false;
	foreach(lc, columns)
	{
		int			i = foreach_current_index(lc);
		Form_pg_attribute attr = TupleDescAttr(desc, lfirst_int(lc) - 1);

		if (form->indkey.values[i] != attr->attnum || index->rd_indcollation[i] != attr->attcollation ||
			index->rd_opfamily[i] != get_opclass_family(GetDefaultOpClass(attr->atttypid, BTREE_AM_OID)))
			return false;
	}
	return true;
}

static bool
is_locator(Relation index, Relation rel, const Locator *locator)
{
	if (!index->rd_index->indisvalid || index->rd_rel->relam != BTREE_AM_OID || RelationGetIndexPredicate(index) != NIL)
		return false;
	return locator->hashed ? is_hash_locator(index, locator->columns) :
		is_key_locator(index, RelationGetDescr(rel), locator->columns);
}

/* OID of the index by which the rows of a table with that key (columns, or NIL) are found; InvalidOid if there is none. */
Oid
pgs_locate_index(const List *key, Relation rel)
{
	Locator		locator = choose_locator(key, rel);
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		bool		found = is_locator(index, rel, &locator);

		index_close(index, AccessShareLock);
		if (found)
			return lfirst_oid(lc);
	}
	return InvalidOid;
}

/* CREATE INDEX for that one, or NULL where there is nothing to do. */
static char *
index_command(const PgsStream *stream)
{
	Relation	rel = table_open(stream->relid, AccessShareLock);
	Locator		locator = choose_locator(stream->key, rel);
	StringInfoData sql;
	ListCell   *lc;

	/* a query around us may be reading the table: another time then */
	if (OidIsValid(pgs_locate_index(stream->key, rel)) || rel->rd_refcnt > 1)
	{
		table_close(rel, AccessShareLock);
		return NULL;
	}
	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE INDEX ON %s (%s",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(rel)), RelationGetRelationName(rel)),
					 locator.hashed ? PGS_INTERNAL_SCHEMA ".row_hash(" : "");
	foreach(lc, locator.columns)
		appendStringInfo(&sql, "%s%s", foreach_current_index(lc) ? ", " : "",
						 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel), lfirst_int(lc) - 1)->attname)));
	appendStringInfoString(&sql, locator.hashed ? "))" : ")");
	table_close(rel, AccessShareLock);
	return sql.data;
}

/*
 * Make that index if it isn't there.  It takes a lock that only writers of the stream table meet, and we are the writer.
 */
void
pgs_locate_make_index(const PgsStream *stream)
{
	char	   *sql = index_command(stream);

	/* the owner may have lost the right to create in the schema since */
	if (sql)
		pgs_execute_as_superuser(sql);
}

/* ---- consolidation ---- */

static char *
column_list(const char *prefix, const List *columns, const List *names)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, columns)
		appendStringInfo(&buf, "%s%s%s", foreach_current_index(lc) ? ", " : "", prefix,
						 strVal(list_nth(names, lfirst_int(lc) - 1)));
	return buf.data;
}

/* "1, 2, ... n" */
static char *
numbers(int n)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 1; i <= n; i++)
		appendStringInfo(&buf, "%s%d", i > 1 ? ", " : "", i);
	return buf.data;
}

/*
 * The query for a weighted delta of a table's rows: what a row is looked up by, its image and weight, in the order of what it is looked
 * up by.  "few": the key tells rows apart, so those of one are few, and consolidated when they are here; else the query does it.
 */
Query *
pgs_locate_query(const List *key, bool few, Relation rel, Query *delta)
{
	Query	   *input = copyObject(delta);
	Locator		locator = choose_locator(key, rel);
	int			nkeys = locator.hashed ? 1 : list_length(locator.columns);
	List	   *names = NIL;
	List	   *live = NIL;
	char	   *columns;
	char	   *image;
	int			n = 0;
	ListCell   *lc;

	/* names of our own, as the user's may be anything */
	foreach(lc, input->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (lnext(input->targetList, lc))
			tle->resname = psprintf("c%d", tle->resno);
	}
	/* output column n is the n-th live column of the table */
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		names = lappend(names, makeString(psprintf("c%d", n + 1)));
		if (TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
			continue;
		n++;
		live = lappend_int(live, i + 1);
	}
	columns = column_list("d.", locator.columns, names);
	image = column_list("d.", live, names);
	image = psprintf(n <= MAX_HASHED ? PGS_INTERNAL_SCHEMA ".values_image(%s)" :
					 PGS_INTERNAL_SCHEMA ".row_image(ROW(%s))", image);
	if (locator.hashed)
		columns = psprintf(PGS_INTERNAL_SCHEMA ".row_hash(%s)", columns);
	if (few)
		return pgs_delta_parse(psprintf("SELECT %s, %s AS image, weight FROM d ORDER BY %s", columns, image, numbers(nkeys)),
							   input, NULL);
	return pgs_delta_parse(psprintf("SELECT %s, %s AS image, sum(weight)::pg_catalog.int8 AS weight FROM d "
									"GROUP BY %s HAVING sum(weight) <> 0 ORDER BY %s",
									columns, image, numbers(nkeys + 1), numbers(nkeys)), input, NULL);
}

/* ---- rows that are looked up together ---- */

typedef struct
{
	bytea	   *image;
	int64		weight;			/* below 0: so many are yet to be found, and leave; above: so many come */
} Member;

typedef struct
{
	PgsApply   *apply;
	IndexScanDesc scan;			/* NULL: there is no index */
	int			nkeys;
	ScanKeyData keys[MAX_KEY_COLUMNS];	/* what is looked up now; the values live in "run" */
	bool		any;			/* whether they are set */
	TupleDesc	image_desc;
	MemoryContext run;			/* of the images that are looked up together, and of the keys */
	Member	   *members;		/* once consolidated, in the order of their images */
	int			nmembers;
	int			allocated;
	int			coming;			/* no member before this one comes any more */
	PgsDelta   *noted;			/* takes the consolidated delta; NULL: nobody wants it */
	TupleTableSlot *noted_slot;
} Locate;

static int
compare_members(const void *a, const void *b)
{
	const bytea *x = ((const Member *) a)->image;
	const bytea *y = ((const Member *) b)->image;

	if (VARSIZE(x) != VARSIZE(y))
		return VARSIZE(x) < VARSIZE(y) ? -1 : 1;
	return memcmp(x, y, VARSIZE(x));
}

/* Sum the weights of equal images, leave out what sums to 0, and leave the rest in the order of the images. */
static void
consolidate(Locate *l)
{
	int			n = 0;

	if (l->nmembers > 1)
		qsort(l->members, l->nmembers, sizeof(Member), compare_members);
	for (int i = 0; i < l->nmembers; i++)
	{
		if (n > 0 && compare_members(&l->members[n - 1], &l->members[i]) == 0)
		{
			l->members[n - 1].weight += l->members[i].weight;
			pfree(l->members[i].image);
		}
		else
		{
			/* the one before has met all of its equals */
			if (n > 0 && l->members[n - 1].weight == 0)
				pfree(l->members[--n].image);
			l->members[n++] = l->members[i];
		}
	}
	if (n > 0 && l->members[n - 1].weight == 0)
		n--;
	l->nmembers = n;
}

/* Add a row to the run.  However often equal ones come and go, they take memory once. */
static void
add_member(Locate *l, bytea *image, int64 weight)
{
	if (l->nmembers == l->allocated)
	{
		consolidate(l);
		if (l->nmembers > l->allocated / 2)
		{
			l->allocated *= 2;
			l->members = repalloc_huge(l->members, sizeof(Member) * l->allocated);
		}
	}
	l->members[l->nmembers].image = image;
	l->members[l->nmembers++].weight = weight;
}

/* The stored row leaves: make place for one that comes, while there is any. */
static void
leave(Locate *l)
{
	while (l->coming < l->nmembers && l->members[l->coming].weight <= 0)
		l->coming++;
	if (l->coming == l->nmembers)
		pgs_apply_delete(l->apply);
	else
	{
		pgs_apply_update(l->apply, l->members[l->coming].image);
		l->members[l->coming].weight--;
	}
}

/* Find the stored rows of those that leave. */
static void
find_leaving(Locate *l)
{
	TupleTableSlot *stored = pgs_apply_stored(l->apply);
	int64		missing = 0;

	for (int i = 0; i < l->nmembers; i++)
		missing -= Min(l->members[i].weight, 0);
	if (missing == 0)
		return;
	index_rescan(l->scan, l->keys, l->nkeys, NULL, 0);
	while (missing > 0 && index_getnext_slot(l->scan, ForwardScanDirection, stored))
	{
		MemoryContext old = MemoryContextSwitchTo(l->run);
		Member		wanted = {.image = pgs_image_of(stored, l->image_desc)};
		Member	   *found = bsearch(&wanted, l->members, l->nmembers, sizeof(Member), compare_members);

		MemoryContextSwitchTo(old);
		if (!found || found->weight >= 0)
			continue;
		found->weight++;
		missing--;
		leave(l);
	}
	if (missing > 0)
		pgs_refresh_inconsistent("a row that should leave is not there");
}

/* Hand the consolidated delta on. */
static void
note_rows(Locate *l)
{
	for (int i = 0; i < l->nmembers; i++)
	{
		pgs_image_store(l->members[i].image, l->image_desc, l->noted_slot);
		pgs_delta_put(l->noted, l->noted_slot, l->members[i].weight);
	}
}

static void
finish_run(Locate *l)
{
	consolidate(l);
	l->coming = 0;
	if (l->noted)
		note_rows(l);
	if (l->scan)
		find_leaving(l);
	for (int i = 0; i < l->nmembers; i++)
	{
		Member	   *m = &l->members[i];

		if (m->weight > 0)
			pgs_apply_insert(l->apply, m->image, m->weight);
		else if (m->weight < 0)	/* without an index they are looked up all together, by one scan of the table */
			pgs_apply_delete_image(l->apply, m->image, -m->weight);
	}
	l->nmembers = 0;
	l->any = false;
	MemoryContextReset(l->run);
}

/* Whether a row is looked up by the same values as the one before. */
static bool
same_keys(Locate *l, TupleTableSlot *slot)
{
	for (int i = 0; i < l->nkeys; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(slot->tts_tupleDescriptor, i);
		bool		isnull = (l->keys[i].sk_flags & SK_ISNULL) != 0;

		if (!pgs_same_value(slot->tts_values[i], slot->tts_isnull[i], l->keys[i].sk_argument, isnull, attr->attbyval, attr->attlen))
			return false;
	}
	return true;
}

static void
set_keys(Locate *l, TupleTableSlot *slot)
{
	for (int i = 0; i < l->nkeys; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(slot->tts_tupleDescriptor, i);
		bool		isnull = slot->tts_isnull[i];

		ScanKeyEntryInitialize(&l->keys[i], isnull ? SK_ISNULL | SK_SEARCHNULL : 0, i + 1, BTEqualStrategyNumber,
							   InvalidOid, attr->attcollation,
							   get_opcode(lookup_type_cache(attr->atttypid, TYPECACHE_EQ_OPR)->eq_opr),
							   isnull ? (Datum) 0 : datumCopy(slot->tts_values[i], attr->attbyval, attr->attlen));
	}
	l->any = true;
}

static void
read_rows(Locate *l, Tuplestorestate *rows, TupleTableSlot *slot)
{
	while (tuplestore_gettupleslot(rows, true, false, slot))
	{
		MemoryContext old;

		slot_getallattrs(slot);
		if (l->any && !same_keys(l, slot))
			finish_run(l);
		old = MemoryContextSwitchTo(l->run);
		if (!l->any)
			set_keys(l, slot);
		/* long headers, so that images of one row are equal to the byte */
		add_member(l, DatumGetByteaPCopy(slot->tts_values[l->nkeys]), DatumGetInt64(slot->tts_values[l->nkeys + 1]));
		MemoryContextSwitchTo(old);
		CHECK_FOR_INTERRUPTS();
	}
	finish_run(l);
}

/*
 * Run the plan of pgs_locate_query, find the stored rows that it is about, and write them; "noted" takes them, too.  (What is written is newer than the
 * snapshot that the index is scanned under, so no row is found twice.)
 */
void
pgs_locate_run(const List *key, Relation rel, PlannedStmt *plan, const List *deltas, PgsRowCounts *counts, PgsDelta *noted)
{
	Locate		l = {.noted = noted};
	Oid			indexid = pgs_locate_index(key, rel);
	Relation	index = NULL;
	TupleDesc	row_desc;
	Tuplestorestate *rows = pgs_execute_collect(plan, deltas, &row_desc);
	TupleTableSlot *slot;

	if (tuplestore_tuple_count(rows) == 0)
	{
		tuplestore_end(rows);
		return;
	}
	slot = MakeSingleTupleTableSlot(row_desc, &TTSOpsMinimalTuple);
	l.apply = pgs_apply_begin(rel, tuplestore_tuple_count(rows), counts);
	l.nkeys = row_desc->natts - 2;
	l.image_desc = pgs_image_desc(RelationGetDescr(rel));
	if (noted)
		l.noted_slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	l.run = AllocSetContextCreate(CurrentMemoryContext, "rows looked up together", ALLOCSET_DEFAULT_SIZES);
	l.allocated = 16;
	l.members = palloc(sizeof(Member) * l.allocated);
	if (OidIsValid(indexid))
	{
		index = index_open(indexid, AccessShareLock);
		l.scan = pgs_index_beginscan(rel, index, GetActiveSnapshot(), l.nkeys);
	}
	read_rows(&l, rows, slot);
	if (l.scan)
	{
		index_endscan(l.scan);
		index_close(index, NoLock);
	}
	pgs_apply_end(l.apply);
	if (noted)
		ExecDropSingleTupleTableSlot(l.noted_slot);
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(rows);
	MemoryContextDelete(l.run);
	pfree(l.members);
}
