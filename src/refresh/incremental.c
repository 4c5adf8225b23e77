/*
 * incremental.c - a stream table follows the deltas of its sources
 *
 * Block by block: the delta of each block's input changes its state, and what changes there is the delta for the blocks above;
 * the delta of the output changes the stream table.  A block that reads nothing that has changed costs nothing.
 *
 * Before anything is written, the planner says what the delta costs, with its true size, and what the whole would cost.
 */
#include "postgres.h"

#include "access/table.h"
#include "module.h"
#include "optimizer/optimizer.h"
#include "refresh/refresh_internal.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* a delta as cheap as this, in the planner's units, isn't worth asking what the whole would cost */
#define CHEAP 5000

/* ---- the plans ---- */

/*
 * The steps that read the sources' deltas: their plans are made before anything is written, to know what they cost.  A step that
 * reads a state that has changed is planned when that is known.
 */
typedef struct
{
	List	   *blocks;			/* of PlannedStmt, NULL where a block reads nothing that has changed */
	PlannedStmt *output;
	double		cost;
} Plans;

/* Planner's cost of a plan, and of finding and writing each row that it gives: about one page, mostly a cached one. */
static double
cost_with_writes(const PlannedStmt *plan)
{
	return plan->planTree->total_cost + plan->planTree->plan_rows * seq_page_cost;
}

static PlannedStmt *
plan_block(const PgsBlock *block, List *deltas)
{
	Query	   *query = pgs_delta_query(block->input, deltas);

	return query ? pgs_execute_plan(pgs_state_change_query(block, query)) : NULL;
}

static PlannedStmt *
plan_output(const PgsStream *stream, Relation rel, const PgsIncrement *inc, List *deltas)
{
	Query	   *query = pgs_delta_query(inc->output, deltas);

	return query ? pgs_execute_plan(pgs_locate_query(stream->key, stream->key != NIL, rel, query)) : NULL;
}

static Plans
make_plans(const PgsStream *stream, Relation rel, const PgsIncrement *inc, List *deltas)
{
	Plans		plans = {0};
	ListCell   *lc;

	foreach(lc, inc->blocks)
	{
		PgsBlock   *block = lfirst(lc);
		PlannedStmt *plan = plan_block(block, deltas);

		plans.blocks = lappend(plans.blocks, plan);
		if (!plan)
			continue;
		plans.cost += cost_with_writes(plan);
		/* (most changes come behind the last row of a LIMIT; and the whole would compute it as well) */
		if (pgs_delta_computes_again(block) && block->limit == 0)
		{
			PgsDelta   *keys;
			Query	   *again = pgs_state_again_query(block, plan->planTree->plan_rows, &keys);

			plans.cost += pgs_execute_plan(again)->planTree->total_cost;
		}
	}
	plans.output = plan_output(stream, rel, inc, deltas);
	if (plans.output)
		plans.cost += cost_with_writes(plans.output);
	return plans;
}

/* Planner's cost of computing the whole, and of writing what differs: the same rows that the delta's output gives. */
static double
cost_of_whole(const PgsStream *stream, Relation rel, const PgsIncrement *inc, const Plans *plans)
{
	double		result = pgs_execute_plan(pgs_diff_query(stream, rel, inc->output))->planTree->total_cost;
	ListCell   *lc;

	if (plans->output)
		result += plans->output->planTree->plan_rows * seq_page_cost;
	foreach(lc, inc->blocks)
		result += pgs_execute_plan(((PgsBlock *) lfirst(lc))->groups)->planTree->total_cost;
	return result;
}

static double
delta_rows(const List *deltas)
{
	double		result = 0;
	ListCell   *lc;

	foreach(lc, deltas)
		result += ((PgsDelta *) lfirst(lc))->rows;
	return result;
}

static bool
too_dear(const PgsStream *stream, Relation rel, const PgsIncrement *inc, List *deltas, const Plans *plans,
		 PgsRefreshResult *result)
{
	double		cost = plans->cost;
	double		factor = stream->mode == PGS_MODE_AUTO ? 1.0 : pgs_full_refresh_factor;
	double		whole;

	if (cost < CHEAP)
		return false;
	whole = cost_of_whole(stream, rel, inc, plans);
	result->reason = psprintf("%.0f changed rows: planner's cost %.0f by delta, %.0f for the whole", delta_rows(deltas),
							  cost, whole);
	return cost > whole * factor;
}

/* ---- one refresh ---- */

/* Lock the states for what will be done with them, before any plan reads one; false if one isn't there. */
static bool
lock_states(const PgsIncrement *inc, LOCKMODE mode)
{
	ListCell   *lc;

	foreach(lc, inc->blocks)
	{
		if (!OidIsValid(((PgsBlock *) lfirst(lc))->state))
			return false;
		LockRelationOid(((PgsBlock *) lfirst(lc))->state, mode);
	}
	return true;
}

/* The same; false also if they are not those of these blocks. */
bool
pgs_incremental_lock(int64 stream_id, const PgsIncrement *inc, LOCKMODE mode)
{
	ListCell   *lc;

	if (!lock_states(inc, mode))
		return false;
	foreach(lc, inc->blocks)
		if (!pgs_state_fits(lfirst(lc)))
			return false;
	/* one too many would be left behind, and taken for right when the query is cut as before */
	return !pgs_state_exists(stream_id, list_length(inc->blocks) + 1);
}

static void
run_deltas(const PgsStream *stream, Relation rel, PgsIncrement *inc, List *deltas, const Plans *plans,
		   PgsRefreshResult *result)
{
	int			known = list_length(deltas);
	PlannedStmt *plan;
	ListCell   *block;
	ListCell   *made;

	deltas = list_copy(deltas);
	forboth(block, inc->blocks, made, plans->blocks)
	{
		PgsDelta   *delta;

		/* deltas of states that have come since may concern the block, too */
		plan = list_length(deltas) == known ? lfirst(made) : plan_block(lfirst(block), deltas);
		if (!plan)
			continue;
		delta = pgs_state_change(lfirst(block), plan, deltas);
		if (delta->rows > 0)
			deltas = lappend(deltas, delta);
	}
	plan = list_length(deltas) == known ? plans->output : plan_output(stream, rel, inc, deltas);
	if (plan)
		pgs_locate_run(stream->key, rel, plan, deltas, &result->rows, NULL);
}

/* What a step of run_deltas needs. */
typedef struct
{
	const PgsStream *stream;
	Relation	rel;
	PgsIncrement *inc;
	List	   *deltas;
	const Plans *plans;
	PgsRefreshResult *result;
} Deltas;

static void
run_step(void *arg)
{
	Deltas	   *d = arg;

	run_deltas(d->stream, d->rel, d->inc, d->deltas, d->plans, d->result);
}

/*
 * Bring a stream table up to date by the deltas of its sources.  False: nothing was written, and the
 * result's reason says why.
 */
bool
pgs_incremental_run(const PgsStream *stream, Relation rel, PgsIncrement *inc, List *deltas, PgsRefreshResult *result)
{
	Plans		plans;
	Deltas		step = {.stream = stream,.rel = rel,.inc = inc,.deltas = deltas,.plans = &plans,.result = result};
	ErrorData  *error;

	if (!pgs_incremental_lock(stream->id, inc, RowExclusiveLock))
	{
		result->reason = "states were not there yet, or the query is cut in another way now";
		return false;
	}
	plans = make_plans(stream, rel, inc, deltas);
	if (too_dear(stream, rel, inc, deltas, &plans, result))
		return false;
	error = pgs_attempt(run_step, &step);
	if (error)
	{
		memset(&result->rows, 0, sizeof(result->rows));
		result->reason = error->sqlerrcode == ERRCODE_DATA_CORRUPTED ? psprintf("repaired: %s", error->detail) :
			psprintf("the changes by themselves raised an error: %s", error->message);
		return false;
	}
	result->action = "DIFFERENTIAL";
	return true;
}

/* ---- the whole ---- */

/* Make the states that a query wants, and fill them; returns the query cut anew. */
PgsIncrement *
pgs_incremental_fill(const PgsStream *stream, Query *query, const PgsIncrement *inc)
{
	PgsIncrement *result;
	ListCell   *lc;

	pgs_state_prepare(stream->id, inc);
	result = pgs_delta_analyze(query, stream->id);
	(void) lock_states(result, RowExclusiveLock);
	foreach(lc, result->blocks)
		pgs_state_fill(lfirst(lc));
	return result;
}
