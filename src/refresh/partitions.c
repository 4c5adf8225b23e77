/*
 * partitions.c - the partitions of a state: those that a delta touches are computed again, and what differs is written
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "refresh/refresh_internal.h"
#include "utils/snapmgr.h"

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

/*
 * Bring the partitions of a block up to date that a delta touches: the plan of pgs_state_change_query.  Returns the delta of the
 * state.
 */
PgsDelta *
pgs_partitions_change(const PgsBlock *block, PlannedStmt *plan, const List *deltas)
{
	Relation	rel = table_open(block->state, RowExclusiveLock);
	PgsDelta   *delta = pgs_delta_for_relation(rel);
	PgsDelta   *keys = pgs_keys_delta(block, "keys");
	PgsDelta   *keys_null = pgs_keys_delta(block, "keys_null");
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
