/*
 * writer.c - a table of ours, opened for the executor's simple DML
 *
 * Writes go through executor/execReplication.c, as a logical replication worker's do: indexes, constraints and row triggers are
 * served, statement triggers (the guard is one) don't fire.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "refresh/refresh_internal.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* Open a relation for writing under the active snapshot; the caller holds RowExclusiveLock on it. */
void
pgs_writer_begin(PgsWriter *w, Relation rel)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	EState	   *estate = CreateExecutorState();

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	/* an update writes the whole row, also for triggers on UPDATE OF a column */
	pgs_init_range_table(estate, rte, bms_add_range(NULL, 1 - FirstLowInvalidHeapAttributeNumber,
													RelationGetNumberOfAttributes(rel) -
													FirstLowInvalidHeapAttributeNumber));
	estate->es_output_cid = GetCurrentCommandId(true);
	estate->es_snapshot = RegisterSnapshot(GetActiveSnapshot());

	w->rel = rel;
	w->estate = estate;
	w->info = makeNode(ResultRelInfo);
	InitResultRelInfo(w->info, rel, 1, NULL, 0);
	ExecOpenIndices(w->info, false);
	pgs_epq_init(&w->epq, estate);
	w->old = table_slot_create(rel, &estate->es_tupleTable);
	w->new = table_slot_create(rel, &estate->es_tupleTable);
	AfterTriggerBeginQuery();
}

void
pgs_writer_end(PgsWriter *w)
{
	AfterTriggerEndQuery(w->estate);
	EvalPlanQualEnd(&w->epq);
	ExecCloseIndices(w->info);
	ExecResetTupleTable(w->estate->es_tupleTable, false);
	/* relations opened for foreign keys and the like */
	ExecCloseResultRelations(w->estate);
	ExecCloseRangeTableRelations(w->estate);
	UnregisterSnapshot(w->estate->es_snapshot);
	w->estate->es_snapshot = NULL;
	FreeExecutorState(w->estate);
}

/* Write the row in "new", with the one in "old" as its former version where there is one. */
void
pgs_writer_insert(PgsWriter *w)
{
	ExecSimpleRelationInsert(w->info, w->estate, w->new);
}

void
pgs_writer_update(PgsWriter *w)
{
	ExecSimpleRelationUpdate(w->info, w->estate, &w->epq, w->old, w->new);
}

void
pgs_writer_delete(PgsWriter *w)
{
	ExecSimpleRelationDelete(w->info, w->estate, &w->epq, w->old);
}

/* After each row: let go of it, and of what expressions and triggers left. */
void
pgs_writer_next(PgsWriter *w)
{
	ExecClearTuple(w->old);
	ExecClearTuple(w->new);
	ResetPerTupleExprContext(w->estate);
}
