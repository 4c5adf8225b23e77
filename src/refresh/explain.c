/*
 * explain.c - what a change of each source would cost, before there is one
 *
 * For each source, as if some of its rows had changed: the delta query of every block that reads it, its plan, and the index
 * that is missing where the plan reads the whole of a large table.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "commands/explain.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "refresh/refresh_internal.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* the change that plans are made for */
#define SUPPOSED_ROWS 100
/* what is smaller than this may be read whole */
#define SMALL_TABLE_ROWS 10000

static PgsProperty *
make_property(const char *name, const char *value)
{
	PgsProperty *result = palloc(sizeof(PgsProperty));

	result->name = name;
	result->value = value;
	return result;
}

static void
add_lines(List **result, const char *name, char *text)
{
	char	   *line;

	while ((line = strsep(&text, "\n")) != NULL)
		if (*line)
			*result = lappend(*result, make_property(name, line));
}

static void
add_plan(List **result, const char *name, PlannedStmt *plan, List *deltas)
{
	ExplainState *es = NewExplainState();
	QueryDesc  *desc = CreateQueryDesc(plan, "", GetActiveSnapshot(), InvalidSnapshot, None_Receiver, NULL,
									   pgs_execute_environment(deltas), 0);

	es->format = EXPLAIN_FORMAT_TEXT;
	es->costs = true;
	ExecutorStart(desc, EXEC_FLAG_EXPLAIN_ONLY);
	ExplainBeginOutput(es);
	ExplainPrintPlan(es, desc);
	ExplainEndOutput(es);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	add_lines(result, name, es->str->data);
}

/* ---- missing indexes ---- */

typedef struct
{
	Oid			relid;
	Query	   *query;
	List	   *columns;		/* names of columns of the relation that are joined by equality */
} JoinContext;

static Var *
var_of(Node *node, Query *query)
{
	Var		   *var = (Var *) node;

	if (IsA(node, RelabelType))
		return var_of((Node *) ((RelabelType *) node)->arg, query);
	if (!IsA(node, Var) || var->varlevelsup != 0 || var->varattno <= 0)
		return NULL;
	if (rt_fetch(var->varno, query->rtable)->rtekind == RTE_JOIN)
		return var_of(list_nth(rt_fetch(var->varno, query->rtable)->joinaliasvars, var->varattno - 1), query);
	return var;
}

static bool
join_walker(Node *node, JoinContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, OpExpr) && list_length(((OpExpr *) node)->args) == 2)
	{
		Var		   *a = var_of(linitial(((OpExpr *) node)->args), context->query);
		Var		   *b = var_of(lsecond(((OpExpr *) node)->args), context->query);

		if (!a || !b || a->varno == b->varno || !op_mergejoinable(((OpExpr *) node)->opno, exprType((Node *) a)))
			return false;
		for (int i = 0; i < 2; i++)
		{
			Var		   *var = i == 0 ? a : b;
			RangeTblEntry *rte = rt_fetch(var->varno, context->query->rtable);

			if (rte->rtekind == RTE_RELATION && rte->relid == context->relid)
				context->columns = list_append_unique(context->columns,
													  makeString(get_attname(rte->relid, var->varattno, false)));
		}
		return false;
	}
	if (IsA(node, Query))
	{
		Query	   *outer = context->query;

		context->query = (Query *) node;
		(void) query_tree_walker((Query *) node, join_walker, context, 0);
		context->query = outer;
		return false;
	}
	return expression_tree_walker(node, join_walker, context);
}

static void
gather_scans(Plan *plan, List *rtable, List **relids)
{
	ListCell   *lc;

	if (plan == NULL)
		return;
	if (IsA(plan, SeqScan))
		*relids = list_append_unique_oid(*relids, rt_fetch(((Scan *) plan)->scanrelid, rtable)->relid);
	gather_scans(outerPlan(plan), rtable, relids);
	gather_scans(innerPlan(plan), rtable, relids);
	if (IsA(plan, Append))
		foreach(lc, ((Append *) plan)->appendplans)
			gather_scans(lfirst(lc), rtable, relids);
	if (IsA(plan, SubqueryScan))
		gather_scans(((SubqueryScan *) plan)->subplan, rtable, relids);
}

static double
row_count(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	double		result = rel->rd_rel->reltuples;

	table_close(rel, NoLock);
	return result;
}

static void
add_missing_indexes(List **result, const char *source, PlannedStmt *plan, Query *query)
{
	List	   *relids = NIL;
	ListCell   *lc;

	gather_scans(plan->planTree, plan->rtable, &relids);
	foreach(lc, relids)
	{
		JoinContext context = {.relid = lfirst_oid(lc), .query = query};
		StringInfoData columns;
		ListCell   *column;

		if (row_count(context.relid) < SMALL_TABLE_ROWS)
			continue;
		(void) query_tree_walker(query, join_walker, &context, 0);
		initStringInfo(&columns);
		foreach(column, context.columns)
			appendStringInfo(&columns, "%s%s", columns.len ? " or " : "", quote_identifier(strVal(lfirst(column))));
		*result = lappend(*result, make_property("missing index", psprintf(
			"a change of %s reads the whole of %s%s%s", source, get_rel_name(context.relid),
			columns.len ? "; it would follow the change with an index on " : "", columns.data)));
	}
}

/* ---- sources ---- */

static PgsDelta *
supposed_delta(Query *query, Oid relid)
{
	PgsDelta   *delta = pgs_delta_for_columns(relid, pgs_query_columns_used(query, relid));

	delta->name = psprintf("delta_%s", get_rel_name(relid));
	delta->rows = SUPPOSED_ROWS;
	return delta;
}

static void
explain_step(List **result, const char *source, const char *step, Query *query, Query *shown, List *deltas)
{
	PlannedStmt *plan = pgs_execute_plan(query);

	add_lines(result, psprintf("delta of %s, %s", source, step), pgs_delta_deparse(shown));
	add_plan(result, psprintf("plan of %s, %s", source, step), plan, deltas);
	add_missing_indexes(result, source, plan, query);
}

/* What a change of one source sets going, as far as it can be told: deltas of states depend on what is in them. */
static void
explain_source(const PgsStream *stream, Relation rel, Query *query, PgsIncrement *inc, Oid relid, List **result)
{
	List	   *deltas = list_make1(supposed_delta(query, relid));
	char	   *source = get_rel_name(relid);
	Query	   *delta;
	ListCell   *lc;

	foreach(lc, inc->blocks)
	{
		PgsBlock   *block = lfirst(lc);

		delta = pgs_delta_query(block->input, deltas);
		if (!delta)
			continue;
		explain_step(result, source, psprintf("block %d", block->number),
					 pgs_state_change_query(block, delta), delta, deltas);
		if (pgs_delta_computes_again(block))
		{
			PgsDelta   *keys;
			Query	   *again = pgs_state_again_query(block, SUPPOSED_ROWS, &keys);

			explain_step(result, source, psprintf("block %d, computed again", block->number), again, again,
						 list_make1(keys));
		}
	}
	delta = pgs_delta_query(inc->output, deltas);
	if (delta)
		explain_step(result, source, "result", pgs_locate_query(stream->key, stream->key != NIL, rel, delta), delta, deltas);
}

static List *
explain_sources(const PgsStream *stream, Relation rel, Query *query, PgsIncrement *inc)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, pgs_query_relations(query))
	{
		LockRelationOid(lfirst_oid(lc), AccessShareLock);
		explain_source(stream, rel, query, inc, lfirst_oid(lc), &result);
	}
	return result;
}

/*
 * Delta queries, plans and missing indexes of a stream table: a list of PgsProperty; NIL where it has none, or its states are
 * not made yet.
 */
List *
pgs_refresh_explain(const PgsStream *stream)
{
	Relation	rel = table_open(stream->relid, AccessShareLock);
	Query	   *query = pgs_query_of_view(stream->viewid);
	List	   *result = NIL;
	PgsIncrement *inc;
	PgsIdentity saved;
	ListCell   *lc;

	pgs_identity_assume(&saved, rel->rd_rel->relowner, stream->settings);
	PushActiveSnapshot(GetTransactionSnapshot());
	inc = pgs_delta_analyze(query, stream->id);
	if (!inc->obstacle && pgs_incremental_lock(stream->id, inc, AccessShareLock))
		result = explain_sources(stream, rel, query, inc);
	/* not kept, or an explain in a long transaction would keep a refresh from filling them anew */
	foreach(lc, inc->blocks)
		if (OidIsValid(((PgsBlock *) lfirst(lc))->state) && result)
			UnlockRelationOid(((PgsBlock *) lfirst(lc))->state, AccessShareLock);
	PopActiveSnapshot();
	pgs_identity_restore(&saved);
	if (!inc->obstacle && pgs_capture_has_frontier(stream) && !OidIsValid(pgs_locate_index(stream->key, rel)))
		result = lappend(result, make_property("missing index",
											   "the stream table has lost the index by which its rows are found: the next refresh makes it"));
	table_close(rel, NoLock);
	return result;
}
