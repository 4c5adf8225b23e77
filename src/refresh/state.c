/*
 * state.c - the states of a stream table's blocks: made, filled, and changed by deltas
 *
 * A state is a table of ours with one row for each group: a hash of the keys, by which it is found, the keys, the number of
 * rows, and what the aggregates need.  It is right whenever the stream table's frontier is, as both are written by the same
 * transaction; and it is filled anew by each full refresh.
 *
 * A change goes through it group by group.  What the sums of weights tell is added (rule A); groups of which they don't tell
 * enough are noted, and computed again from the input (rule B).  What changes in the state is the delta for those who
 * read it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "common/hashfn.h"
#include "common/int.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "refresh/refresh_internal.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

/* ---- making ---- */

static bool
has_columns(Oid relid, const List *columns)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	bool		same = desc->natts == list_length(columns);
	ListCell   *lc;

	foreach(lc, columns)
	{
		ColumnDef  *def = lfirst_node(ColumnDef, lc);
		Form_pg_attribute attr = same ? TupleDescAttr(desc, foreach_current_index(lc)) : NULL;

		same = same && attr->atttypid == def->typeName->typeOid && attr->atttypmod == def->typeName->typemod &&
			attr->attcollation == def->collOid;
	}
	table_close(rel, NoLock);
	return same;
}

/* "k1, k2": what joins to a state look for; at most as many as an index may have, and of types that have an order */
static char *
key_list(const PgsBlock *block)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 1; i <= Min(block->nkeys, INDEX_MAX_KEYS); i++)
		if (OidIsValid(GetDefaultOpClass(list_nth_node(ColumnDef, block->columns, i)->typeName->typeOid, BTREE_AM_OID)))
			appendStringInfo(&buf, "%sk%d", buf.len ? ", " : "", i);
	return buf.data;
}

static void
create_state(int64 stream_id, const PgsBlock *block)
{
	CreateStmt *stmt = makeNode(CreateStmt);
	char	   *name = pgs_delta_state_name(stream_id, block->number);
	ObjectAddress address;

	stmt->relation = makeRangeVar(PGS_INTERNAL_SCHEMA, name, -1);
	stmt->oncommit = ONCOMMIT_NOOP;
	stmt->tableElts = copyObject(block->columns);
	/* groups are updated in place, again and again: leave room for that */
	stmt->options = list_make1(makeDefElem("fillfactor", (Node *) makeInteger(80), -1));
	address = DefineRelation(stmt, RELKIND_RELATION, BOOTSTRAP_SUPERUSERID, NULL, NULL);
	CommandCounterIncrement();
	NewRelationCreateToastTable(address.objectId, (Datum) 0);
	pgs_stream_adopt(address.objectId);
	pgs_execute_as_superuser(psprintf("CREATE INDEX ON " PGS_INTERNAL_SCHEMA ".%s (h)", name));
	if (block->is_joined && *key_list(block))
		pgs_execute_as_superuser(psprintf("CREATE INDEX ON " PGS_INTERNAL_SCHEMA ".%s (%s)", name, key_list(block)));
	/* as the stream table itself: published or not, it can be updated without a key */
	pgs_execute_as_superuser(psprintf("ALTER TABLE " PGS_INTERNAL_SCHEMA ".%s REPLICA IDENTITY FULL", name));
}

static Oid
find_state(int64 stream_id, int number)
{
	return get_relname_relid(pgs_delta_state_name(stream_id, number), get_namespace_oid(PGS_INTERNAL_SCHEMA, false));
}

bool
pgs_state_exists(int64 stream_id, int number)
{
	return OidIsValid(find_state(stream_id, number));
}

/* Drop the states of a stream table from a number on. */
void
pgs_state_drop(int64 stream_id, int from)
{
	Oid			relid;

	for (int i = from; OidIsValid(relid = find_state(stream_id, i)); i++)
		pgs_capture_drop_table(relid);
}

/*
 * Make the states that a stream table's blocks want, with the right columns; empty where they are new.  The blocks are to be
 * found anew afterwards, by pgs_delta_analyze.
 */
void
pgs_state_prepare(int64 stream_id, const PgsIncrement *inc)
{
	Oid			save_userid;
	int			save_sec;
	ListCell   *lc;

	GetUserIdAndSecContext(&save_userid, &save_sec);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, save_sec | SECURITY_LOCAL_USERID_CHANGE);
	foreach(lc, inc->blocks)
	{
		PgsBlock   *block = lfirst(lc);
		Oid			relid = find_state(stream_id, block->number);

		if (OidIsValid(relid) && !has_columns(relid, block->columns))
		{
			pgs_capture_drop_table(relid);
			relid = InvalidOid;
		}
		if (!OidIsValid(relid))
			create_state(stream_id, block);
	}
	pgs_state_drop(stream_id, list_length(inc->blocks) + 1);
	SetUserIdAndSecContext(save_userid, save_sec);
}

/* ---- what a state is of ---- */

/*
 * What a state holds depends on how its query is cut, and that on more than the query: a unique index, a NOT NULL.  So each state says
 * what it was filled with, as its comment, and is of no use to a block that is another one by now.
 */
static char *
signature(const PgsBlock *block)
{
	char	   *groups = nodeToString(block->groups);
	char	   *input = nodeToString(block->input);
	uint64		hash = hash_combine64(hash_bytes_extended((unsigned char *) groups, strlen(groups), 0),
									  hash_bytes_extended((unsigned char *) input, strlen(input), 0));

	return psprintf("filled as " UINT64_FORMAT, hash);
}

static void
sign(const PgsBlock *block)
{
	CreateComments(block->state, RelationRelationId, 0, signature(block));
}

/* Whether the state of a block was filled for this very block. */
bool
pgs_state_fits(const PgsBlock *block)
{
	char	   *comment;

	comment = GetComment(block->state, RelationRelationId, 0);
	return comment && strcmp(comment, signature(block)) == 0;
}

/* ---- keys ---- */

typedef struct
{
	int			nkeys;
	FmgrInfo   *hash;
	FmgrInfo   *eq;
	Oid		   *collations;
} Keys;

static void
open_keys(Keys *keys, const PgsBlock *block)
{
	keys->nkeys = block->nkeys;
	keys->hash = palloc(sizeof(FmgrInfo) * block->nkeys);
	keys->eq = palloc(sizeof(FmgrInfo) * block->nkeys);
	keys->collations = palloc(sizeof(Oid) * block->nkeys);
	for (int i = 0; i < block->nkeys; i++)
	{
		ColumnDef  *def = list_nth_node(ColumnDef, block->columns, i + 1);
		TypeCacheEntry *entry = lookup_type_cache(def->typeName->typeOid, TYPECACHE_EQ_OPR_FINFO |
												  TYPECACHE_HASH_EXTENDED_PROC_FINFO);

		fmgr_info_copy(&keys->hash[i], &entry->hash_extended_proc_finfo, CurrentMemoryContext);
		fmgr_info_copy(&keys->eq[i], &entry->eq_opr_finfo, CurrentMemoryContext);
		keys->collations[i] = def->collOid;
	}
}

static int64
hash_keys(Keys *keys, const Datum *values, const bool *nulls)
{
	uint64		result = 0;

	for (int i = 0; i < keys->nkeys; i++)
	{
		uint64		h = nulls[i] ? 0 : DatumGetUInt64(FunctionCall2Coll(&keys->hash[i], keys->collations[i], values[i],
																		Int64GetDatum(0)));

		result = result * 31 + h;
	}
	return (int64) result;
}

static bool
equal_keys(Keys *keys, const Datum *x, const bool *xnull, const Datum *y, const bool *ynull)
{
	for (int i = 0; i < keys->nkeys; i++)
		if (xnull[i] != ynull[i] ||
			(!xnull[i] && !DatumGetBool(FunctionCall2Coll(&keys->eq[i], keys->collations[i], x[i], y[i]))))
			return false;
	return true;
}

/* ---- filling ---- */

typedef struct
{
	DestReceiver pub;
	PgsLoader  *loader;
	bool		hashed;			/* the rows come with their hash */
	Keys		keys;
	TupleTableSlot *slot;		/* of the state */
} FillReceiver;

static bool
receive_group(TupleTableSlot *slot, DestReceiver *self)
{
	FillReceiver *r = (FillReceiver *) self;

	if (r->hashed)
	{
		pgs_loader_add(r->loader, slot);
		return true;
	}
	slot_getallattrs(slot);
	ExecClearTuple(r->slot);
	r->slot->tts_values[0] = Int64GetDatum(hash_keys(&r->keys, slot->tts_values, slot->tts_isnull));
	r->slot->tts_isnull[0] = false;
	for (int i = 1; i < r->slot->tts_tupleDescriptor->natts; i++)
	{
		r->slot->tts_values[i] = slot->tts_values[i - 1];
		r->slot->tts_isnull[i] = slot->tts_isnull[i - 1];
	}
	ExecStoreVirtualTuple(r->slot);
	pgs_loader_add(r->loader, r->slot);
	return true;
}

static void
startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
shutdown(DestReceiver *self)
{
}

/*
 * Compute the state of a block anew, from the sources and the states below it.
 */
void
pgs_state_fill(const PgsBlock *block)
{
	Relation	rel = table_open(block->state, AccessExclusiveLock);
	FillReceiver r = {
		.pub = {.receiveSlot = receive_group, .rStartup = startup, .rShutdown = shutdown, .rDestroy = shutdown,
		.mydest = DestNone}
	};
	ReindexParams params = {0};
	PlannedStmt *plan = pgs_execute_plan(block->groups);

	/* as TRUNCATE does: new files for the table, and its indexes built when it is full */
	pgs_new_storage(rel);
	if (OidIsValid(rel->rd_rel->reltoastrelid))
	{
		Relation	toast = table_open(rel->rd_rel->reltoastrelid, AccessExclusiveLock);

		pgs_new_storage(toast);
		table_close(toast, NoLock);
	}
	CommandCounterIncrement();
	r.loader = pgs_loader_begin(rel);
	r.hashed = block->kind == PGS_BLOCK_PARTITION;
	if (!r.hashed)
		open_keys(&r.keys, block);
	r.slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	pgs_execute_run(plan, NIL, &r.pub);
	(void) pgs_loader_end(r.loader);
	ExecDropSingleTupleTableSlot(r.slot);
	table_close(rel, NoLock);
	(void) pgs_reindex_table(block->state, &params);
	sign(block);
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
}

/* ---- changing ---- */

typedef struct
{
	const PgsBlock *block;
	PgsWriter	writer;			/* old: the group as it is stored; new: as it shall be */
	Relation	index;
	IndexScanDesc scan;
	MemoryContext context;		/* of the scan, which keeps things from row to row */
	Keys		keys;
	PgsDelta   *delta;			/* what changes in the state */
	PgsDelta   *again;			/* keys of groups to be computed again, and of those with a NULL in them */
	PgsDelta   *again_null;
} Change;

/* The index by which groups are found: the one on the hash. */
static Relation
open_hash_index(Relation rel)
{
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), RowExclusiveLock);

		if (index->rd_index->indkey.values[0] == Anum_state_hash && index->rd_index->indisvalid)
			return index;
		index_close(index, RowExclusiveLock);
	}
	pgs_refresh_inconsistent("a state has lost its index");
	return NULL;
}

/* A tuplestore of keys of a block, for partitions with their hash, without rows yet. */
PgsDelta *
pgs_state_keys(const PgsBlock *block, const char *name)
{
	PgsDelta   *delta = palloc0(sizeof(PgsDelta));

	delta->name = name;
	delta->natts = block->nkeys;
	delta->desc = CreateTemplateTupleDesc(block->nkeys + (block->kind == PGS_BLOCK_PARTITION));
	if (block->kind == PGS_BLOCK_PARTITION)
		TupleDescInitEntry(delta->desc, block->nkeys + 1, "h", INT8OID, -1, 0);
	for (int i = 0; i < block->nkeys; i++)
	{
		ColumnDef  *def = list_nth_node(ColumnDef, block->columns, i + 1);

		TupleDescInitEntry(delta->desc, i + 1, def->colname, def->typeName->typeOid, def->typeName->typemod, 0);
		TupleDescInitEntryCollation(delta->desc, i + 1, def->collOid);
	}
	delta->store = tuplestore_begin_heap(false, false, work_mem);
	return delta;
}

/* Find the stored row of a group; it is in writer.old then. */
static bool
find_group(Change *c, const Datum *keys, const bool *nulls, int64 hash)
{
	ScanKeyData key;
	MemoryContext old;
	bool		more;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(hash));
	old = MemoryContextSwitchTo(c->context);
	index_rescan(c->scan, &key, 1, NULL, 0);
	for (;;)
	{
		MemoryContextSwitchTo(c->context);
		more = index_getnext_slot(c->scan, ForwardScanDirection, c->writer.old);
		MemoryContextSwitchTo(old);
		if (!more)
			break;
		slot_getallattrs(c->writer.old);
		if (equal_keys(&c->keys, keys, nulls, c->writer.old->tts_values + 1, c->writer.old->tts_isnull + 1))
			return true;
	}
	ExecClearTuple(c->writer.old);
	return false;
}

/* Whether two rows look the same in their first columns. */
static bool
same_columns(TupleTableSlot *x, TupleTableSlot *y, int ncolumns)
{
	TupleDesc	desc = x->tts_tupleDescriptor;

	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (x->tts_isnull[i] != y->tts_isnull[i] ||
			(!x->tts_isnull[i] && !datum_image_eq(x->tts_values[i], y->tts_values[i], attr->attbyval, attr->attlen)))
			return false;
	}
	return true;
}

static bool
same_row(TupleTableSlot *x, TupleTableSlot *y)
{
	return same_columns(x, y, x->tts_tupleDescriptor->natts);
}

/* Write writer.new in the place of writer.old, and note the difference. */
static void
write_group(Change *c, bool found)
{
	bool		differs;

	if (found && same_row(c->writer.old, c->writer.new))
		return;
	/* of DISTINCT only being there counts, not how often */
	differs = c->block->kind != PGS_BLOCK_DISTINCT ||
		(found && !same_columns(c->writer.old, c->writer.new, Anum_state_hash + c->block->nkeys));
	if (found && differs)
		pgs_delta_put(c->delta, c->writer.old, -1);
	if (!found || differs)
		pgs_delta_put(c->delta, c->writer.new, 1);
	if (found)
		pgs_writer_update(&c->writer);
	else
		pgs_writer_insert(&c->writer);
}

static void
remove_group(Change *c)
{
	pgs_delta_put(c->delta, c->writer.old, -1);
	pgs_writer_delete(&c->writer);
}

static int64
add_int8(int64 a, int64 b)
{
	int64		result;

	if (pg_add_s64_overflow(a, b, &result))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("bigint out of range")));
	return result;
}

static Datum
int8_as_numeric(int64 value)
{
	return NumericGetDatum(int64_to_numeric(value));
}

static Datum
average(Datum sum, int64 count)
{
	return DirectFunctionCall2(numeric_div, sum, int8_as_numeric(count));
}

/*
 * Rule A for one aggregate: "change" are its columns of the grouped delta.  Reads the values of the old row and sets
 * those of the new one; a group that was not there has all of them NULL.  False: not enough is known.
 */
static bool
add_change(Change *c, const PgsAggregate *agg, const Datum *change, const bool *change_null)
{
	Datum	   *v = c->writer.new->tts_values - 1;
	bool	   *null = c->writer.new->tts_isnull - 1;
	int64		count;
	Datum		sum;
	bool		finite = true;

	switch (agg->rule)
	{
		case PGS_AGG_COUNT:
			count = add_int8(null[agg->value] ? 0 : DatumGetInt64(v[agg->value]), DatumGetInt64(change[0]));
			v[agg->value] = Int64GetDatum(count);
			null[agg->value] = false;
			return true;
		case PGS_AGG_MIN:
		case PGS_AGG_MAX:
			return pgs_extreme_add(agg, &v[agg->value], &null[agg->value], change, change_null);
		case PGS_AGG_RECOMPUTE:
			return false;
		default:
			break;
	}
	count = add_int8(null[agg->count] ? 0 : DatumGetInt64(v[agg->count]), DatumGetInt64(change[0]));
	v[agg->count] = Int64GetDatum(count);
	null[agg->count] = false;
	if (agg->rule == PGS_AGG_SUM_INT || agg->rule == PGS_AGG_AVG_INT)
		sum = Int64GetDatum(add_int8(null[agg->sum] ? 0 : DatumGetInt64(v[agg->sum]), DatumGetInt64(change[1])));
	else
		sum = null[agg->sum] ? change[1] : DirectFunctionCall2(numeric_add, v[agg->sum], change[1]);
	if (agg->profile)
	{
		ArrayType  *profile = pgs_profile_add(null[agg->profile] ? NULL : DatumGetArrayTypeP(v[agg->profile]),
											  change_null[2] ? NULL : DatumGetArrayTypeP(change[2]));

		sum = pgs_numeric_rounded(sum, profile);
		v[agg->profile] = PointerGetDatum(profile);
		null[agg->profile] = false;
		v[agg->value] = pgs_numeric_sum(sum, profile, &finite);
	}
	v[agg->sum] = sum;
	null[agg->sum] = false;
	null[agg->value] = count == 0;
	if (count == 0)
		v[agg->value] = (Datum) 0;
	else if (finite)
		switch (agg->rule)
		{
			case PGS_AGG_AVG_INT:
				v[agg->value] = average(int8_as_numeric(DatumGetInt64(sum)), count);
				break;
			case PGS_AGG_AVG_BIG:
			case PGS_AGG_AVG_NUMERIC:
				v[agg->value] = average(sum, count);
				break;
			default:
				v[agg->value] = sum;
		}
	return true;
}

/* How many columns of the grouped delta an aggregate has. */
static int
change_width(const PgsAggregate *agg)
{
	switch (agg->rule)
	{
		case PGS_AGG_COUNT:
			return 1;
		case PGS_AGG_SUM_NUMERIC:
		case PGS_AGG_AVG_NUMERIC:
			return 3;
		case PGS_AGG_RECOMPUTE:
			return 0;
		default:
			return 2;
	}
}

/* Note a group that has to be computed again. */
static void
note_again(Change *c, const Datum *keys, const bool *nulls)
{
	PgsDelta   *to = c->again;

	for (int i = 0; i < c->keys.nkeys; i++)
		if (nulls[i])
			to = c->again_null;
	to->rows++;
	if (c->keys.nkeys > 0)
		tuplestore_putvalues(to->store, to->desc, unconstify(Datum *, keys), unconstify(bool *, nulls));
}

/* One group of the grouped delta. */
static void
change_group(Change *c, TupleTableSlot *slot)
{
	int			nkeys = c->keys.nkeys;
	int64		hash;
	int64		rows;
	bool		found;
	const Datum *change;
	const bool *change_null;
	TupleTableSlot *new = c->writer.new;
	ListCell   *lc;

	slot_getallattrs(slot);
	hash = hash_keys(&c->keys, slot->tts_values, slot->tts_isnull);
	found = find_group(c, slot->tts_values, slot->tts_isnull, hash);
	rows = DatumGetInt64(slot->tts_values[nkeys]) +
		(found ? DatumGetInt64(c->writer.old->tts_values[c->block->rows - 1]) : 0);
	if (rows < 0 || (!found && nkeys == 0))
		pgs_refresh_inconsistent("a group has lost more rows than it had");
	if (rows == 0 && nkeys > 0)
	{
		if (found)
			remove_group(c);
		return;
	}
	if (c->block->open && DatumGetBool(slot->tts_values[slot->tts_tupleDescriptor->natts - 1]))
	{
		/* the one that stands for the group may have left */
		note_again(c, slot->tts_values, slot->tts_isnull);
		return;
	}
	ExecClearTuple(new);
	for (int i = 0; i < new->tts_tupleDescriptor->natts; i++)
	{
		new->tts_values[i] = found ? c->writer.old->tts_values[i] : (Datum) 0;
		new->tts_isnull[i] = found ? c->writer.old->tts_isnull[i] : true;
	}
	if (!found)
	{
		new->tts_values[0] = Int64GetDatum(hash);
		new->tts_isnull[0] = false;
		memcpy(new->tts_values + 1, slot->tts_values, sizeof(Datum) * nkeys);
		memcpy(new->tts_isnull + 1, slot->tts_isnull, sizeof(bool) * nkeys);
	}
	new->tts_values[c->block->rows - 1] = Int64GetDatum(rows);
	new->tts_isnull[c->block->rows - 1] = false;
	change = slot->tts_values + nkeys + 1;
	change_null = slot->tts_isnull + nkeys + 1;
	foreach(lc, c->block->aggregates)
	{
		PgsAggregate *agg = lfirst(lc);

		if (!add_change(c, agg, change, change_null))
		{
			note_again(c, slot->tts_values, slot->tts_isnull);
			return;
		}
		change += change_width(agg);
		change_null += change_width(agg);
	}
	ExecStoreVirtualTuple(new);
	write_group(c, found);
}

/* One group that was computed again: the row of the state, but for the hash. */
static void
replace_group(Change *c, TupleTableSlot *slot)
{
	TupleTableSlot *new = c->writer.new;
	int64		hash;
	bool		found;

	slot_getallattrs(slot);
	hash = hash_keys(&c->keys, slot->tts_values, slot->tts_isnull);
	found = find_group(c, slot->tts_values, slot->tts_isnull, hash);
	ExecClearTuple(new);
	new->tts_values[0] = Int64GetDatum(hash);
	new->tts_isnull[0] = false;
	for (int i = 1; i < new->tts_tupleDescriptor->natts; i++)
	{
		new->tts_values[i] = slot->tts_values[i - 1];
		new->tts_isnull[i] = slot->tts_isnull[i - 1];
	}
	ExecStoreVirtualTuple(new);
	write_group(c, found);
}

static int64
for_each_row(Change *c, PlannedStmt *plan, const List *deltas, void (*change) (Change *, TupleTableSlot *))
{
	TupleDesc	desc;
	Tuplestorestate *store = pgs_execute_collect(plan, deltas, &desc);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "group of a state", ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	int64		n = 0;

	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		MemoryContextSwitchTo(per_row);
		change(c, slot);
		MemoryContextSwitchTo(caller);
		pgs_writer_next(&c->writer);
		MemoryContextReset(per_row);
		n++;
		CHECK_FOR_INTERRUPTS();
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(store);
	MemoryContextDelete(per_row);
	return n;
}

static void
compute_again(Change *c, PgsDelta *keys, bool nulls)
{
	Query	   *query;

	if (keys->rows == 0)
		return;
	query = pgs_delta_recompute(c->block, keys->desc, keys->name, keys->rows, nulls);
	/* each key came from a group that has rows left */
	if (for_each_row(c, pgs_execute_plan(query), list_make1(keys), replace_group) != (int64) keys->rows)
		pgs_refresh_inconsistent("a group that should have rows has none");
}

/* ---- partitions ---- */

/* Sort the touched keys into those without a NULL and those with one. */
static void
read_keys(const PgsBlock *block, PlannedStmt *plan, const List *deltas, PgsDelta *keys, PgsDelta *keys_null)
{
	TupleDesc	desc;
	Tuplestorestate *store = pgs_execute_collect(plan, deltas, &desc);
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);

	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		PgsDelta   *to = keys;

		slot_getallattrs(slot);
		for (int i = 0; i < block->nkeys; i++)
			if (slot->tts_isnull[i])
				to = keys_null;
		if (block->nkeys > 0)
			tuplestore_putvalues(to->store, to->desc, slot->tts_values, slot->tts_isnull);
		to->rows++;
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(store);
}

/* Compute the touched partitions again, and write what differs. */
static PgsDelta *
change_partitions(const PgsBlock *block, PlannedStmt *plan, const List *deltas)
{
	Relation	rel = table_open(block->state, RowExclusiveLock);
	PgsDelta   *delta = pgs_delta_for_relation(rel);
	PgsDelta   *keys = pgs_state_keys(block, "keys");
	PgsDelta   *keys_null = pgs_state_keys(block, "keys_null");
	List	   *key = list_make1_int(Anum_state_hash);
	PgsRowCounts counts = {0};

	read_keys(block, plan, deltas, keys, keys_null);
	if (keys->rows + keys_null->rows > 0)
	{
		List	   *both = list_make2(keys, keys_null);
		Query	   *query = pgs_locate_query(key, false, rel, pgs_delta_partitions(block, both));

		pgs_locate_run(key, rel, pgs_execute_plan(query), both, &counts, delta);
	}
	tuplestore_end(keys->store);
	tuplestore_end(keys_null->store);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
	return delta;
}

/* Bring each group up to date. */
static PgsDelta *
change_groups(const PgsBlock *block, PlannedStmt *plan, const List *deltas)
{
	Relation	rel = table_open(block->state, RowExclusiveLock);
	Change		c = {.block = block};

	pgs_writer_begin(&c.writer, rel);
	c.index = open_hash_index(rel);
	c.context = CurrentMemoryContext;
	c.scan = pgs_index_beginscan(rel, c.index, GetActiveSnapshot(), 1);
	open_keys(&c.keys, block);
	c.delta = pgs_delta_for_relation(rel);
	c.again = pgs_state_keys(block, "keys");
	c.again_null = pgs_state_keys(block, "keys_null");

	(void) for_each_row(&c, plan, deltas, change_group);
	compute_again(&c, c.again, false);
	compute_again(&c, c.again_null, true);

	tuplestore_end(c.again->store);
	tuplestore_end(c.again_null->store);
	index_endscan(c.scan);
	index_close(c.index, NoLock);
	pgs_writer_end(&c.writer);
	table_close(rel, NoLock);
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
	return c.delta;
}

/*
 * Bring the state of a block up to date by the plan of pgs_state_change_query.  Returns the delta of the state, with or without rows.
 */
PgsDelta *
pgs_state_change(const PgsBlock *block, PlannedStmt *plan, const List *deltas)
{
	return block->kind == PGS_BLOCK_PARTITION ? change_partitions(block, plan, deltas) : change_groups(block, plan, deltas);
}

/* What a delta of a block's input tells of its state: the change of each group, or the partitions touched. */
Query *
pgs_state_change_query(const PgsBlock *block, Query *delta)
{
	return block->kind == PGS_BLOCK_PARTITION ? pgs_delta_touched(block, delta) :
		pgs_delta_parse(pgs_delta_groups_sql(block), delta, NULL);
}

/* What is computed again when "rows" keys of a block are touched, and the tuplestore of keys that it reads from: for plans only. */
Query *
pgs_state_again_query(const PgsBlock *block, double rows, PgsDelta **keys)
{
	*keys = pgs_state_keys(block, "keys");
	(*keys)->rows = rows;
	if (block->kind == PGS_BLOCK_PARTITION)
		return pgs_delta_partitions(block, list_make1(*keys));
	return pgs_delta_recompute(block, (*keys)->desc, (*keys)->name, rows, false);
}
