/*
 * aggregate.c - GROUP BY, aggregates, HAVING
 *
 * Rule A, where the value follows from the sums of weights: counts, sums of exact types and their averages.  The delta of the
 * input is grouped, and each group's sums are added to its state.  min and max follow from added rows, as long as no row leaves
 * that was as good as the extreme.
 *
 * Rule B for the rest (floats, whose sums depend on the order; DISTINCT and ordered aggregates; any that we don't know): the
 * groups touched are computed again from the input as it is now.
 *
 * A sum of numerics needs more than a number: NaN and infinities can't be taken back out of it, and its scale is that of
 * the value with the most decimals, and shrinks when that leaves.  So the state counts them (refresh/numeric.c).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* ---- rules ---- */

/* min and max are known by the operator that sorts their best value first. */
static PgsAggRule
extreme_rule(Aggref *aggref)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggref->aggfnoid));
	Oid			sortop;
	TypeCacheEntry *entry;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for aggregate %u", aggref->aggfnoid);
	sortop = ((Form_pg_aggregate) GETSTRUCT(tuple))->aggsortop;
	ReleaseSysCache(tuple);
	if (!OidIsValid(sortop) || list_length(aggref->args) != 1 ||
		!pgs_delta_equal_means_same(aggref->aggtype, exprTypmod((Node *) linitial_node(TargetEntry, aggref->args)->expr),
									aggref->inputcollid))
		return PGS_AGG_RECOMPUTE;
	entry = lookup_type_cache(aggref->aggtype, TYPECACHE_LT_OPR | TYPECACHE_GT_OPR | TYPECACHE_CMP_PROC);
	if (!OidIsValid(entry->cmp_proc))
		return PGS_AGG_RECOMPUTE;
	return sortop == entry->lt_opr ? PGS_AGG_MIN : sortop == entry->gt_opr ? PGS_AGG_MAX : PGS_AGG_RECOMPUTE;
}

static PgsAggRule
rule_of(Aggref *aggref)
{
	if (aggref->aggdistinct || aggref->aggkind != AGGKIND_NORMAL)
		return PGS_AGG_RECOMPUTE;
	switch (aggref->aggfnoid)
	{
		case F_COUNT_:
		case F_COUNT_ANY:
			return PGS_AGG_COUNT;
		case F_SUM_INT2:
		case F_SUM_INT4:
			return PGS_AGG_SUM_INT;
		case F_SUM_INT8:
			return PGS_AGG_SUM_BIG;
		case F_SUM_NUMERIC:
			return PGS_AGG_SUM_NUMERIC;
		case F_AVG_INT2:
		case F_AVG_INT4:
			return PGS_AGG_AVG_INT;
		case F_AVG_INT8:
			return PGS_AGG_AVG_BIG;
		case F_AVG_NUMERIC:
			return PGS_AGG_AVG_NUMERIC;
		default:
			return extreme_rule(aggref);
	}
}

bool
pgs_delta_uses_rule(const PgsBlock *block, PgsAggRule rule)
{
	ListCell   *lc;

	foreach(lc, block->aggregates)
		if (((PgsAggregate *) lfirst(lc))->rule == rule)
			return true;
	return false;
}

/* ---- the pieces of an aggregate query ---- */

typedef struct
{
	Query	   *query;
	List	   *keys;			/* of Expr */
	List	   *aggrefs;
	bool		failed;
} Pieces;

static bool
is_key(const Pieces *p, Node *node, int *number)
{
	ListCell   *lc;

	foreach(lc, p->keys)
		if (equal(node, lfirst(lc)))
		{
			*number = foreach_current_index(lc) + 1;
			return true;
		}
	return false;
}

/* Gather aggregates, and columns that depend on a grouped primary key: they are keys like any other. */
static bool
gather_walker(Node *node, Pieces *p)
{
	int			number;

	if (node == NULL)
		return false;
	if (is_key(p, node, &number))
		return false;
	if (IsA(node, Aggref))
	{
		p->aggrefs = list_append_unique(p->aggrefs, node);
		return false;
	}
	if (IsA(node, Var))
	{
		p->keys = lappend(p->keys, copyObject(node));
		return false;
	}
	if (IsA(node, GroupingFunc))
		p->failed = true;
	return expression_tree_walker(node, gather_walker, p);
}

typedef struct
{
	const Pieces *pieces;
	const PgsBlock *block;
} ReplaceContext;

/* Keys and aggregates become columns of the state. */
static Node *
replace_mutator(Node *node, ReplaceContext *context)
{
	int			number;

	if (node == NULL)
		return NULL;
	if (is_key(context->pieces, node, &number))
		return (Node *) pgs_state_var(context->block, 1, Anum_state_hash + number);
	if (IsA(node, Aggref))
	{
		ListCell   *lc;

		foreach(lc, context->block->aggregates)
			if (equal(node, ((PgsAggregate *) lfirst(lc))->aggref))
				return (Node *) pgs_state_var(context->block, 1, ((PgsAggregate *) lfirst(lc))->value);
	}
	return expression_tree_mutator(node, replace_mutator, context);
}

/* ---- the state of every group ---- */

/* A plain aggregate call; without arguments, one with a star. */
Aggref *
pgs_make_aggref(Oid fnoid, List *args, Expr *filter)
{
	Aggref	   *result = makeNode(Aggref);
	ListCell   *lc;

	result->aggfnoid = fnoid;
	result->aggtype = get_func_rettype(fnoid);
	foreach(lc, args)
	{
		result->aggargtypes = lappend_oid(result->aggargtypes, exprType(lfirst(lc)));
		result->args = lappend(result->args, makeTargetEntry(lfirst(lc), foreach_current_index(lc) + 1, NULL, false));
	}
	result->aggfilter = filter;
	result->aggstar = args == NIL;
	result->aggkind = AGGKIND_NORMAL;
	result->aggsplit = AGGSPLIT_SIMPLE;
	result->aggno = -1;
	result->aggtransno = -1;
	result->location = -1;
	return result;
}

static Expr *
and_also(Expr *a, Expr *b)
{
	if (!a)
		return b;
	return makeBoolExpr(AND_EXPR, list_make2(copyObject(a), b), -1);
}

static Expr *
argument(const Aggref *aggref)
{
	return aggref->args ? copyObject(linitial_node(TargetEntry, aggref->args)->expr) : NULL;
}

static void
add_target(List **targets, PgsBlock *block, Expr *expr, const char *name)
{
	*targets = lappend(*targets, makeTargetEntry(expr, list_length(*targets) + 1, pstrdup(name), false));
	pgs_cut_add_column(block, name, exprType((Node *) expr), exprTypmod((Node *) expr), exprCollation((Node *) expr));
}

static Expr *
finite_sum(const Aggref *aggref)
{
	Expr	   *finite = (Expr *) makeFuncExpr(pgs_catalog_function("is_finite", 1, (Oid[]) {NUMERICOID}), BOOLOID,
											   list_make1(argument(aggref)), InvalidOid, InvalidOid,
											   COERCE_EXPLICIT_CALL);

	return (Expr *) pgs_make_aggref(F_SUM_NUMERIC, list_make1(argument(aggref)), and_also(aggref->aggfilter, finite));
}

static Expr *
profile(const Aggref *aggref)
{
	Expr	   *one = pgs_int8_const(1);
	Oid			fnoid = pgs_catalog_function("profile", 2, (Oid[]) {NUMERICOID, INT8OID});

	return (Expr *) pgs_make_aggref(fnoid, list_make2(argument(aggref), one), copyObject(aggref->aggfilter));
}

/* The columns of the state that one aggregate needs; "targets" compute them for a whole group. */
static void
add_aggregate(PgsBlock *block, Aggref *aggref, List **targets)
{
	PgsAggregate *agg = palloc0(sizeof(PgsAggregate));
	int			n = list_length(block->aggregates) + 1;
	Expr	   *value = (Expr *) copyObject(aggref);

	agg->aggref = aggref;
	agg->rule = rule_of(aggref);
	add_target(targets, block, value, psprintf("v%d", n));
	agg->value = list_length(block->columns);
	if (agg->rule >= PGS_AGG_SUM_INT && agg->rule <= PGS_AGG_AVG_NUMERIC)
	{
		add_target(targets, block, (Expr *) pgs_make_aggref(F_COUNT_ANY, list_make1(argument(aggref)),
														copyObject(aggref->aggfilter)), psprintf("n%d", n));
		agg->count = list_length(block->columns);
		if (agg->rule == PGS_AGG_SUM_NUMERIC || agg->rule == PGS_AGG_AVG_NUMERIC)
		{
			add_target(targets, block, finite_sum(aggref), psprintf("s%d", n));
			agg->sum = list_length(block->columns);
			add_target(targets, block, profile(aggref), psprintf("p%d", n));
			agg->profile = list_length(block->columns);
		}
		else
		{
			Oid			sum = agg->rule == PGS_AGG_SUM_BIG || agg->rule == PGS_AGG_AVG_BIG ? F_SUM_INT8 :
				linitial_oid(aggref->aggargtypes) == INT2OID ? F_SUM_INT2 : F_SUM_INT4;

			add_target(targets, block, (Expr *) pgs_make_aggref(sum, list_make1(argument(aggref)),
															copyObject(aggref->aggfilter)), psprintf("s%d", n));
			agg->sum = list_length(block->columns);
		}
	}
	block->aggregates = lappend(block->aggregates, agg);
}

/* GROUP BY (or DISTINCT) of an output column by its default equality. */
SortGroupClause *
pgs_group_clause(Expr *expr, Index ref)
{
	SortGroupClause *result = makeNode(SortGroupClause);
	TypeCacheEntry *entry = lookup_type_cache(exprType((Node *) expr), TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR |
											  TYPECACHE_HASH_PROC);

	result->tleSortGroupRef = ref;
	result->eqop = entry->eq_opr;
	result->sortop = entry->lt_opr;
	result->hashable = OidIsValid(entry->hash_proc);
	return result;
}

/* SELECT keys, count(*), aggregates and what they need FROM ... GROUP BY keys */
static Query *
groups_query(Query *query, PgsBlock *block, Pieces *p)
{
	Query	   *groups = copyObject(query);
	List	   *targets = NIL;
	ListCell   *lc;

	groups->groupClause = NIL;
	foreach(lc, p->keys)
	{
		int			n = foreach_current_index(lc) + 1;
		TargetEntry *tle = makeTargetEntry(copyObject(lfirst(lc)), n, psprintf("k%d", n), false);

		tle->ressortgroupref = n;
		targets = lappend(targets, tle);
		groups->groupClause = lappend(groups->groupClause, pgs_group_clause(lfirst(lc), n));
	}
	add_target(&targets, block, (Expr *) pgs_make_aggref(F_COUNT_, NIL, NULL), "n");
	block->rows = list_length(block->columns);
	foreach(lc, p->aggrefs)
		add_aggregate(block, lfirst(lc), &targets);
	groups->targetList = targets;
	groups->havingQual = NULL;
	groups->distinctClause = NIL;
	groups->hasAggs = true;
	groups->constraintDeps = NIL;
	return groups;
}

/* ---- the input ---- */

/* SELECT keys, arguments (a1 ...), filters (f1 ...) FROM ...: what the delta of a group is made from. */
static Query *
input_query(Query *query, PgsBlock *block, Pieces *p)
{
	Query	   *input = copyObject(query);
	List	   *targets = NIL;
	ListCell   *lc;

	foreach(lc, p->keys)
		targets = lappend(targets, pgs_target(copyObject(lfirst(lc)), list_length(targets) + 1,
											  psprintf("k%d", foreach_current_index(lc) + 1)));
	foreach(lc, block->aggregates)
	{
		PgsAggregate *agg = lfirst(lc);
		int			n = foreach_current_index(lc) + 1;

		if (agg->rule == PGS_AGG_RECOMPUTE)
			continue;
		if (agg->aggref->args)
			targets = lappend(targets, pgs_target(argument(agg->aggref), list_length(targets) + 1, psprintf("a%d", n)));
		if (agg->aggref->aggfilter)
			targets = lappend(targets, pgs_target(copyObject(agg->aggref->aggfilter), list_length(targets) + 1,
												  psprintf("f%d", n)));
	}
	pgs_bare_level(input);
	input->targetList = targets;
	return input;
}

/* Cut an aggregate query whose FROM is linear. */
Query *
pgs_cut_aggregate(PgsCut *cut, Query *query)
{
	PgsBlock   *block = pgs_cut_new_block(PGS_BLOCK_AGGREGATE, "aggregate");
	Pieces		p = {.query = query};
	ReplaceContext context = {.pieces = &p, .block = block};
	Query	   *output;
	List	   *targets = NIL;
	ListCell   *lc;

	foreach(lc, query->groupClause)
		p.keys = list_append_unique(p.keys, get_sortgroupclause_expr(lfirst(lc), query->targetList));
	foreach(lc, query->targetList)
		if (!lfirst_node(TargetEntry, lc)->resjunk)
			(void) gather_walker((Node *) lfirst_node(TargetEntry, lc)->expr, &p);
	(void) gather_walker(query->havingQual, &p);
	if (p.failed)
		return pgs_cut_refuse(cut, "GROUPING()");
	/* an aggregate of an outer query, beneath it: there is none where subqueries are not lateral */
	if (query->groupClause == NIL && p.keys != NIL)
		return pgs_cut_refuse(cut, "a column beside an aggregate");
	foreach(lc, p.keys)
	{
		Node	   *key = lfirst(lc);

		if (!pgs_cut_add_key(cut, block, (Expr *) key, lookup_type_cache(exprType(key), TYPECACHE_EQ_OPR)->eq_opr))
			return NULL;
	}
	block->groups = groups_query(query, block, &p);
	block->input = input_query(query, block, &p);
	context.block = block = pgs_cut_finish_block(cut, block);
	if (!block)
		return NULL;
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = copyObject(lfirst_node(TargetEntry, lc));

		if (tle->resjunk)
			continue;
		tle->expr = (Expr *) replace_mutator((Node *) tle->expr, &context);
		tle->ressortgroupref = 0;
		targets = lappend(targets, tle);
	}
	output = pgs_cut_state_query(block, targets, replace_mutator(query->havingQual, &context));
	return query->distinctClause ? pgs_cut_distinct(cut, output) : output;
}

/* ---- deltas ---- */

static void
append_filter(StringInfo sql, const PgsAggregate *agg, int n, const char *condition)
{
	bool		filter = agg->aggref->aggfilter != NULL;

	if (filter || condition)
		appendStringInfo(sql, " FILTER (WHERE %s%s%s)", filter ? psprintf("f%d", n) : "",
						 filter && condition ? " AND " : "", condition ? condition : "");
}

static char *
aggregate_name(Oid fnoid)
{
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(fnoid)), get_func_name(fnoid));
}

/* The change of one aggregate's columns of the state, in their order; of min and max, the best value added and removed. */
static void
append_aggregate(StringInfo sql, const PgsAggregate *agg, int n)
{
	char	   *a = psprintf("a%d", n);

	if (agg->rule == PGS_AGG_RECOMPUTE)
		return;
	if (agg->rule == PGS_AGG_MIN || agg->rule == PGS_AGG_MAX)
	{
		appendStringInfo(sql, ", %s(%s)", aggregate_name(agg->aggref->aggfnoid), a);
		append_filter(sql, agg, n, "weight > 0");
		appendStringInfo(sql, ", %s(%s)", aggregate_name(agg->aggref->aggfnoid), a);
		append_filter(sql, agg, n, "weight < 0");
		return;
	}
	appendStringInfoString(sql, ", COALESCE(sum(weight)");
	append_filter(sql, agg, n, agg->aggref->args ? psprintf("%s IS NOT NULL", a) : NULL);
	appendStringInfoString(sql, ", 0)::int8");
	switch (agg->rule)
	{
		case PGS_AGG_SUM_INT:
		case PGS_AGG_AVG_INT:
			appendStringInfo(sql, ", COALESCE(sum(%s * weight)", a);
			append_filter(sql, agg, n, NULL);
			appendStringInfoString(sql, ", 0)::int8");
			break;
		case PGS_AGG_SUM_BIG:
		case PGS_AGG_AVG_BIG:
			/* sums of int8 are fast, and can't overflow; other weights than these are rare */
			appendStringInfo(sql, ", COALESCE(sum(%s)", a);
			append_filter(sql, agg, n, "weight = 1");
			appendStringInfo(sql, ", 0) - COALESCE(sum(%s)", a);
			append_filter(sql, agg, n, "weight = -1");
			appendStringInfo(sql, ", 0) + COALESCE(sum(%s::numeric * weight)", a);
			append_filter(sql, agg, n, "weight NOT IN (1, -1)");
			appendStringInfoString(sql, ", 0)");
			break;
		case PGS_AGG_SUM_NUMERIC:
		case PGS_AGG_AVG_NUMERIC:
			appendStringInfo(sql, ", COALESCE(sum(%s * weight)", a);
			append_filter(sql, agg, n, psprintf(PGS_INTERNAL_SCHEMA ".is_finite(%s)", a));
			appendStringInfo(sql, ", 0), " PGS_INTERNAL_SCHEMA ".profile(%s, weight)", a);
			append_filter(sql, agg, n, NULL);
			break;
		default:
			break;
	}
}

/*
 * SQL that groups the delta "d" of a block's input: keys, change of the number of rows, change of each aggregate of rule A; where keys
 * are open, whether a row has left.
 */
char *
pgs_delta_groups_sql(const PgsBlock *block)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 1; i <= block->nkeys; i++)
		appendStringInfo(&sql, "k%d, ", i);
	appendStringInfoString(&sql, "COALESCE(sum(weight), 0)::int8");
	foreach(lc, block->aggregates)
		append_aggregate(&sql, lfirst(lc), foreach_current_index(lc) + 1);
	if (block->open)
		appendStringInfoString(&sql, ", bool_or(weight < 0)");
	appendStringInfoString(&sql, " FROM d");
	for (int i = 1; i <= block->nkeys; i++)
		appendStringInfo(&sql, "%sk%d", i == 1 ? " GROUP BY " : ", ", i);
	return sql.data;
}

/*
 * Rule B: the query for all groups, restricted to the keys in a tuplestore.  The keys are distinct, so each row of the input
 * meets one of them at most.  "nulls": some are NULL, so that plain equality won't do (and no index will help).
 */
Query *
pgs_delta_recompute(const PgsBlock *block, TupleDesc keys, const char *enrname, double rows, bool nulls)
{
	Query	   *query = copyObject(block->groups);
	List	   *quals = query->jointree->quals ? list_make1(query->jointree->quals) : NIL;
	RangeTblRef *ref = makeNode(RangeTblRef);
	ListCell   *lc;

	if (block->nkeys == 0)
		return query;
	query->rtable = lappend(query->rtable, pgs_delta_tuplestore(enrname, keys, rows));
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
	foreach(lc, block->eqops)
	{
		int			i = foreach_current_index(lc) + 1;
		TargetEntry *tle = get_tle_by_resno(query->targetList, i + (block->kind == PGS_BLOCK_PARTITION));
		Expr	   *key = copyObject(tle->expr);
		Form_pg_attribute attr = TupleDescAttr(keys, i - 1);
		Expr	   *var = (Expr *) makeVar(ref->rtindex, i, attr->atttypid, attr->atttypmod, attr->attcollation, 0);

		quals = lappend(quals, nulls ? pgs_not_distinct(lfirst_oid(lc), key, var) :
						pgs_operation(lfirst_oid(lc), key, var));
	}
	query->jointree->quals = (Node *) make_ands_explicit(quals);
	return query;
}
