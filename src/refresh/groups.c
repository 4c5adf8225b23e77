/*
 * groups.c - the groups of a state, changed by a grouped delta
 *
 * What the sums of weights tell is added to the stored row of a group (rule A); groups of which they don't tell enough are noted, and
 * computed again from the input (rule B).
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "common/int.h"
#include "compat.h"
#include "datum.h"
#include "refresh/refresh_internal.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

typedef struct
{
	const PgsBlock *block;
	PgsWriter	writer;			/* old: the group as it is stored; new: as it shall be */
	Relation	index;
	IndexScanDesc scan;
	MemoryContext context;		/* of the scan, which keeps things from row to row */
	PgsKeys	keys;
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
		if (pgs_keys_equal(&c->keys, keys, nulls, c->writer.old->tts_values + 1, c->writer.old->tts_isnull + 1))
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

		if (!pgs_same_value(x->tts_values[i], x->tts_isnull[i], y->tts_values[i], y->tts_isnull[i], attr->attbyval, attr->attlen))
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
	hash = pgs_keys_hash(&c->keys, slot->tts_values, slot->tts_isnull);
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
	int64		hash = pgs_keys_store(&c->keys, slot, c->writer.new);

	write_group(c, find_group(c, slot->tts_values, slot->tts_isnull, hash));
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

/*
 * Bring the groups of a block up to date by a grouped delta: the plan of pgs_state_change_query.  Returns the delta of the state.
 */
PgsDelta *
pgs_groups_change(const PgsBlock *block, PlannedStmt *plan, const List *deltas)
{
	Relation	rel = table_open(block->state, RowExclusiveLock);
	Change		c = {.block = block};

	pgs_writer_begin(&c.writer, rel);
	c.index = open_hash_index(rel);
	c.context = CurrentMemoryContext;
	c.scan = pgs_index_beginscan(rel, c.index, GetActiveSnapshot(), 1);
	pgs_keys_open(&c.keys, block);
	c.delta = pgs_delta_for_relation(rel);
	c.again = pgs_keys_delta(block, "keys");
	c.again_null = pgs_keys_delta(block, "keys_null");

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
