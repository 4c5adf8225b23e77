/*
 * describe.c - the rule of each block, in words, and delta queries as SQL
 */
#include "postgres.h"

#include "compat.h"
#include "delta/delta_internal.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

static void
append_names(StringInfo buf, const PgsBlock *block, PgsAggRule from, PgsAggRule to)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, block->aggregates)
	{
		PgsAggregate *agg = lfirst(lc);
		char	   *name = get_func_name(agg->aggref->aggfnoid);

		if (agg->rule < from || agg->rule > to || list_member(names, makeString(name)))
			continue;
		appendStringInfo(buf, "%s%s", names ? ", " : "", name);
		names = lappend(names, makeString(name));
	}
}

static char *
block_reason(const PgsBlock *block)
{
	const char *open = block->open ? "; as equal keys may look different, a group that loses rows is computed again" : "";
	StringInfoData buf;

	initStringInfo(&buf);
	if (block->kind == PGS_BLOCK_PARTITION)
		return block->nkeys > 0 ? psprintf("for %s each partition that a change touches is computed again", block->title) :
			psprintf(block->limit > 0 ? "%s of the whole input, which is computed again when a change comes before its last row" :
					 "%s of the whole input, which is computed again after each change of it", block->title);
	if (block->kind == PGS_BLOCK_DISTINCT)
		return psprintf("how often each row is there is counted, and follows the changes%s", open);
	append_names(&buf, block, PGS_AGG_COUNT, PGS_AGG_AVG_NUMERIC);
	if (buf.len > 0)
		appendStringInfoString(&buf, " of a group follow the changes");
	if (pgs_delta_uses_rule(block, PGS_AGG_MIN) || pgs_delta_uses_rule(block, PGS_AGG_MAX))
	{
		appendStringInfoString(&buf, buf.len ? "; " : "");
		append_names(&buf, block, PGS_AGG_MIN, PGS_AGG_MAX);
		appendStringInfoString(&buf, " follow added rows, and the group is computed again when the extreme leaves it");
	}
	if (pgs_delta_uses_rule(block, PGS_AGG_RECOMPUTE))
	{
		appendStringInfoString(&buf, buf.len ? "; for " : "for ");
		append_names(&buf, block, PGS_AGG_RECOMPUTE, PGS_AGG_RECOMPUTE);
		appendStringInfoString(&buf, " each group that a change touches is computed again");
	}
	if (buf.len == 0)
		appendStringInfoString(&buf, "the number of rows of each group follows the changes");
	appendStringInfoString(&buf, open);
	return buf.data;
}

static PgsReason *
make_reason(const char *block, const char *rule, const char *reason)
{
	PgsReason  *result = palloc0(sizeof(PgsReason));

	result->block = block;
	result->rule = rule;
	result->reason = reason;
	return result;
}

/* What is done for each block: a list of PgsReason. */
List *
pgs_delta_describe(const PgsIncrement *inc)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (inc->obstacle)
		return NIL;
	foreach(lc, inc->blocks)
	{
		PgsBlock   *block = lfirst(lc);

		result = lappend(result, make_reason(psprintf("block %d: %s", block->number, block->title),
											 block->kind == PGS_BLOCK_PARTITION ||
											 pgs_delta_uses_rule(block, PGS_AGG_RECOMPUTE) ? "B" : "A",
											 block_reason(block)));
	}
	if (inc->clock)
		result = lappend(result, make_reason("clock", "A", "rows that now() lets in or out are looked up between the times of two refreshes"));
	return lappend(result, make_reason("result", "A", "joins, filters and projections are applied to the changed rows"));
}

/* ---- SQL ---- */

/* Columns of an item of FROM, for a join of it: Vars, their numbers, their names. */
static void
add_columns(Query *query, int rtindex, List **vars, List **numbers, List **names)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	List	   *colnames;
	List	   *colvars;
	ListCell   *a;
	ListCell   *b;

	pgs_expand_rte(rte, rtindex, &colnames, &colvars);
	forboth(a, colnames, b, colvars)
	{
		*vars = lappend(*vars, lfirst(b));
		*numbers = lappend_int(*numbers, ((Var *) lfirst(b))->varattno);
		*names = lappend(*names, lfirst(a));
	}
}

/* A fresh range table entry, behind those of its sides, for a join whose sides are other ones than when it was parsed. */
static void
renew_join(Query *query, JoinExpr *join)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *names = NIL;

	rte->rtekind = RTE_JOIN;
	rte->jointype = join->jointype;
	add_columns(query, ((RangeTblRef *) join->larg)->rtindex, &rte->joinaliasvars, &rte->joinleftcols, &names);
	add_columns(query, ((RangeTblRef *) join->rarg)->rtindex, &rte->joinaliasvars, &rte->joinrightcols, &names);
	rte->eref = makeAlias("unnamed_join", names);
	rte->inFromCl = true;
	query->rtable = lappend(query->rtable, rte);
	join->rtindex = list_length(query->rtable);
	join->usingClause = NIL;
	join->join_using_alias = NULL;
	join->isNatural = false;
	join->alias = NULL;
}

/*
 * Bring the joins of a level into a form that ruleutils can show: inner ones as items of FROM with conditions of WHERE, and an
 * outer one, which stands alone, with the columns that its sides have now.
 */
static void
plain_joins(Query *query)
{
	ListCell   *lc;

	if (query->setOperations)
		return;
	pgs_forget_join_aliases(query);
	pgs_hoist_joins(query, false);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_JOIN)
			rte->rtekind = RTE_RESULT;
	}
	foreach(lc, query->jointree->fromlist)
		if (IsA(lfirst(lc), JoinExpr))
			renew_join(query, lfirst(lc));
}

static bool
nameable_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		/* what it was called where it was parsed is of another level */
		((Var *) node)->varnosyn = ((Var *) node)->varno;
		((Var *) node)->varattnosyn = ((Var *) node)->varattno;
		return false;
	}
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		/* ruleutils knows no tuplestores; a WITH query looks the same in FROM */
		if (rte->rtekind == RTE_NAMEDTUPLESTORE)
		{
			rte->rtekind = RTE_CTE;
			rte->ctename = rte->enrname;
		}
		return false;
	}
	if (IsA(node, Query))
	{
		plain_joins((Query *) node);
		return query_tree_walker((Query *) node, nameable_walker, context, QTW_EXAMINE_RTES_BEFORE);
	}
	return expression_tree_walker(node, nameable_walker, context);
}

/* A query over deltas as SQL, each delta under its name. */
char *
pgs_delta_deparse(Query *query)
{
	Query	   *copy = copyObject(query);

	(void) nameable_walker((Node *) copy, NULL);
	return pgs_query_deparse(copy);
}
