/*
 * spare.c - an UPDATE of columns that nobody uses collects no rows
 *
 * The trigger of sources has transition tables, which the executor fills with both versions of every updated row, wide as they are, just
 * for the trigger to find that no buffer holds a column that the statement sets.  The statement says so when it starts; then the
 * executor is told not to collect them.  This needs the library in the session, which the first captured statement brings.
 *
 * The buffer is locked to the end of the transaction, as writers of rows lock it: a column that somebody uses from now on can't be
 * added while the statement runs.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "capture/capture.h"
#include "capture/capture_internal.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "module.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static ExecutorStart_hook_type next_hook = NULL;

/* Whether the transition tables of updates are there for our trigger alone, and no other trigger sets columns of its own. */
static bool
only_for_us(const TriggerDesc *triggers)
{
	Oid			ours = get_namespace_oid(PGS_INTERNAL_SCHEMA, true);

	if (!triggers || triggers->trig_update_before_row || triggers->trig_update_instead_row)
		return false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (TRIGGER_FOR_UPDATE(trigger->tgtype) && (trigger->tgoldtable || trigger->tgnewtable) &&
			get_func_namespace(trigger->tgfoid) != ours)
			return false;
	}
	return true;
}

/* Whether an update sets none of the columns that the buffer of its table holds. */
static bool
is_unused(ResultRelInfo *info, EState *estate)
{
	Oid			relid = RelationGetRelid(info->ri_RelationDesc);
	List	   *above = pgs_source_above(relid);
	PgsSource	source;
	Bitmapset  *used;
	Bitmapset  *set = ExecGetAllUpdatedCols(info, estate);
	int			attno = -1;

	if (list_length(above) != 1 || linitial_oid(above) != relid || !pgs_source_get(relid, &source))
		return false;
	used = pgs_buffer_columns(&source);
	while ((attno = bms_next_member(used, attno)) >= 0)
		if (bms_is_member(attno - FirstLowInvalidHeapAttributeNumber, set))
			return false;
	return true;
}

static void
spare(ModifyTableState *node, EState *estate)
{
	ResultRelInfo *info = node->resultRelInfo;
	Relation	rel;

	if (node->operation != CMD_UPDATE || !node->mt_transition_capture || node->mt_nrels != 1 ||
		node->rootResultRelInfo != info)
		return;
	rel = info->ri_RelationDesc;
	if (rel->rd_rel->relkind != RELKIND_RELATION || !only_for_us(rel->trigdesc) || !pgs_catalog_exists() ||
		has_superclass(RelationGetRelid(rel)) || !is_unused(info, estate))
		return;
	node->mt_transition_capture->tcs_update_old_table = false;
	node->mt_transition_capture->tcs_update_new_table = false;
}

static void
start(QueryDesc *desc, int eflags)
{
	if (next_hook)
		next_hook(desc, eflags);
	else
		standard_ExecutorStart(desc, eflags);
	if (desc->operation == CMD_UPDATE && !(eflags & EXEC_FLAG_EXPLAIN_ONLY) && desc->planstate &&
		IsA(desc->planstate, ModifyTableState))
		spare((ModifyTableState *) desc->planstate, desc->estate);
}

void
pgs_capture_install_hook(void)
{
	next_hook = ExecutorStart_hook;
	ExecutorStart_hook = start;
}
