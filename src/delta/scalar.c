/*
 * scalar.c - subqueries with one value, and ARRAY of a subquery
 *
 * Aggregates without GROUP BY become those of each key; where there is no row for a key, their value is that of no rows.  What is found by
 * a unique key, or has LIMIT 1, has one row at most.  Anything else is gathered into an array for each key, of which there may be one
 * element only.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/sublink.h"
#include "executor/executor.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static List *
refuse(PgsSublinks *s, const char *why)
{
	(void) pgs_sublink_refuse(s, why);
	return NIL;
}

/* ---- aggregates without GROUP BY ---- */

typedef struct
{
	List	   *aggrefs;
	List	   *values;			/* what stands for them outside; NIL: gather only */
	bool		local;			/* a column of the subquery outside of aggregates */
} AggregateContext;

static bool
aggregate_walker(Node *node, AggregateContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Aggref) && ((Aggref *) node)->agglevelsup == 0)
	{
		context->aggrefs = list_append_unique(context->aggrefs, node);
		return false;
	}
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0)
		context->local = true;
	return expression_tree_walker(node, aggregate_walker, context);
}

static Node *
aggregate_mutator(Node *node, AggregateContext *context)
{
	ListCell   *lc;

	if (node == NULL)
		return NULL;
	foreach(lc, context->aggrefs)
		if (equal(lfirst(lc), node))
			return copyObject(list_nth(context->values, foreach_current_index(lc)));
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		var->varlevelsup--;
		return (Node *) var;
	}
	return expression_tree_mutator(node, aggregate_mutator, context);
}

/* The value of an aggregate where its group is not there: 0 for counts, NULL for others; NULL pointer: not known. */
static Node *
or_empty(const Aggref *aggref, Var *value)
{
	if (aggref->aggfnoid >= FirstNormalObjectId || aggref->aggkind == AGGKIND_HYPOTHETICAL)
		return NULL;
	if (aggref->aggfnoid == F_COUNT_ || aggref->aggfnoid == F_COUNT_ANY || aggref->aggfnoid == F_REGR_COUNT)
	{
		CoalesceExpr *result = makeNode(CoalesceExpr);

		result->coalescetype = INT8OID;
		result->args = list_make2(value, pgs_int8_const(0));
		result->location = -1;
		return (Node *) result;
	}
	return (Node *) value;
}

/*
 * A subquery that aggregates without GROUP BY, as a query of its aggregates alone.  NULL if there is more to it.
 */
Query *
pgs_split_aggregates(Query *sub, List **aggrefs)
{
	AggregateContext context = {0};
	Query	   *result;
	List	   *targets = NIL;
	ListCell   *lc;

	if (!sub->hasAggs || sub->groupClause || sub->groupingSets || sub->havingQual || sub->hasWindowFuncs ||
		sub->hasTargetSRFs || sub->limitCount || sub->limitOffset || sub->distinctClause || sub->cteList ||
		checkExprHasSubLink((Node *) sub->targetList))
		return NULL;
	(void) aggregate_walker((Node *) sub->targetList, &context);
	if (context.local)
		return NULL;
	result = copyObject(sub);
	foreach(lc, context.aggrefs)
	{
		int			n = foreach_current_index(lc) + 1;

		targets = lappend(targets, pgs_target(copyObject(lfirst(lc)), n, psprintf("value%d", n)));
	}
	result->targetList = targets;
	result->sortClause = NIL;
	*aggrefs = context.aggrefs;
	return result;
}

/* An output of such a subquery outside, with Vars (or what stands for them without rows) for the aggregates. */
Node *
pgs_aggregates_outside(Node *expr, List *aggrefs, List *values)
{
	AggregateContext context = {.aggrefs = aggrefs, .values = values};

	return aggregate_mutator(expr, &context);
}

/* What stands for the aggregates of a subquery joined by LEFT JOIN; NIL with a NULL in "ok" where it isn't known. */
List *
pgs_values_or_empty(List *aggrefs, List *vars, bool *ok)
{
	List	   *result = NIL;
	ListCell   *a;
	ListCell   *v;

	*ok = true;
	forboth(a, aggrefs, v, vars)
	{
		Node	   *value = or_empty(lfirst(a), lfirst(v));

		if (!value)
			*ok = false;
		result = lappend(result, value);
	}
	return result;
}

/* The columns of a subquery that aggregates without GROUP BY, as expressions of the level. */
static List *
aggregate_values(PgsSublinks *s, Query *sub, Query *aggregates, List *aggrefs)
{
	List	   *matches;
	List	   *vars = NIL;
	List	   *result = NIL;
	bool		known = true;
	bool		correlated = pgs_is_correlated(aggregates);
	JoinExpr   *join = NULL;
	ListCell   *lc;

	aggregates = pgs_decorrelate(aggregates, s->domain, true, &matches);
	if (!aggregates)
		return refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	if (correlated)
		join = pgs_sublink_join_left(s, aggregates, matches);
	else						/* one row, always */
		pgs_sublink_join_inner(s, aggregates, NIL);
	foreach(lc, aggrefs)
	{
		int			n = foreach_current_index(lc) + 1;

		vars = lappend(vars, correlated ? pgs_sublink_column(s, join, n) :
					   makeVar(list_length(s->query->rtable), n, exprType(lfirst(lc)), exprTypmod(lfirst(lc)),
							   exprCollation(lfirst(lc)), 0));
	}
	if (correlated)
		vars = pgs_values_or_empty(aggrefs, vars, &known);
	if (!known)
		return refuse(s, "a subquery with an aggregate whose value without rows is not known");
	foreach(lc, sub->targetList)
		if (!lfirst_node(TargetEntry, lc)->resjunk)
			result = lappend(result, pgs_aggregates_outside((Node *) lfirst_node(TargetEntry, lc)->expr, aggrefs, vars));
	return result;
}

/* ---- others ---- */

/* Whether the keys by which a subquery is found are those of a unique index of the one table that it reads. */
static bool
found_by_unique_key(Query *sub, const List *matches)
{
	RangeTblEntry *rte;
	RangeTblRef *ref;
	Relation	rel;
	bool		result = false;
	ListCell   *lc;

	if (!pgs_is_plain(sub) || list_length(sub->jointree->fromlist) != 1 || !IsA(linitial(sub->jointree->fromlist), RangeTblRef))
		return false;
	ref = linitial_node(RangeTblRef, sub->jointree->fromlist);
	rte = rt_fetch(ref->rtindex, sub->rtable);
	if (rte->rtekind != RTE_RELATION)
		return false;
	rel = table_open(rte->relid, AccessShareLock);
	/* an index of a parent says nothing about children that only inherit */
	foreach(lc, rte->inh && has_subclass(rte->relid) && rte->relkind != RELKIND_PARTITIONED_TABLE ? NIL :
			RelationGetIndexList(rel))
	{
		Relation	index = index_open(lfirst_oid(lc), AccessShareLock);
		Form_pg_index form = index->rd_index;
		bool		covered = form->indisunique && form->indimmediate && form->indisvalid &&
			RelationGetIndexPredicate(index) == NIL;

		for (int i = 0; covered && i < form->indnkeyatts; i++)
		{
			bool		found = false;
			ListCell   *m;

			foreach(m, matches)
			{
				Var		   *var = list_nth(((PgsMatch *) lfirst(m))->op->args, ((PgsMatch *) lfirst(m))->inner);

				found |= IsA(var, Var) && var->varno == ref->rtindex && var->varattno == form->indkey.values[i] &&
					!((PgsMatch *) lfirst(m))->null_safe && var->varattno > 0;
			}
			covered = found;
		}
		index_close(index, NoLock);
		result |= covered;
	}
	table_close(rel, NoLock);
	return result;
}

/* array_agg() of a column of a level, in the level's order. */
static Aggref *
array_of(Query *level, TargetEntry *value)
{
	Aggref	   *aggref = pgs_make_aggref(F_ARRAY_AGG_ANYNONARRAY, list_make1(copyObject(value->expr)), NULL);
	ListCell   *lc;

	aggref->aggtype = get_array_type(exprType((Node *) value->expr));
	aggref->aggcollid = aggref->inputcollid = exprCollation((Node *) value->expr);
	if (!level->sortClause)
		return aggref;
	aggref->args = NIL;
	foreach(lc, level->targetList)
	{
		TargetEntry *tle = copyObject(lfirst_node(TargetEntry, lc));

		if (tle->resno != value->resno && !tle->ressortgroupref)
			continue;
		tle->resjunk = tle->resno != value->resno;
		tle->resno = list_length(aggref->args) + 1;
		aggref->args = lappend(aggref->args, tle);
	}
	aggref->aggorder = copyObject(level->sortClause);
	return aggref;
}

/* SELECT array_agg(column [ORDER BY ...]) for each of the first columns, keys FROM sub GROUP BY keys */
static Query *
gathered(Query *sub, int ncolumns, List *matches)
{
	/* a limit was one for each key, and is done already; the order is the arrays' now */
	Query	   *result = pgs_peel_limit(sub);
	List	   *targets = NIL;
	int			n;
	ListCell   *lc;

	for (n = 1; n <= ncolumns; n++)
		targets = lappend(targets, pgs_target((Expr *) array_of(result, get_tle_by_resno(result->targetList, n)), n,
											  psprintf("values%d", n)));
	foreach(lc, matches)
	{
		PgsMatch   *match = lfirst(lc);
		TargetEntry *tle = copyObject(get_tle_by_resno(result->targetList, match->resno));

		tle->resno = match->resno = n;
		tle->resjunk = false;
		tle->ressortgroupref = n;
		targets = lappend(targets, tle);
		result->groupClause = lappend(result->groupClause, pgs_group_clause(tle->expr, n++));
	}
	result->targetList = targets;
	result->sortClause = NIL;
	result->hasAggs = true;
	return result;
}

/* The only element of an array, or NULL: raises the error that a scalar subquery with several rows does. */
static Node *
only_element(Var *array, Oid type, Oid collation)
{
	Oid			any = ANYARRAYOID;
	Oid			fnoid = pgs_catalog_function("only_element", 1, &any);

	return (Node *) makeFuncExpr(fnoid, type, list_make1(array), collation, collation, COERCE_EXPLICIT_CALL);
}

/* An array that is empty where there were no rows. */
static Node *
array_or_empty(Var *array, Oid type)
{
	CoalesceExpr *result = makeNode(CoalesceExpr);

	result->coalescetype = array->vartype;
	result->coalescecollid = array->varcollid;
	result->args = list_make2(array, makeConst(array->vartype, -1, array->varcollid, -1,
											   PointerGetDatum(construct_empty_array(type)), false, false));
	result->location = -1;
	return (Node *) result;
}

/* ---- order and limit of an ARRAY ---- */

/* Let what a subquery is ordered by be among its columns; returns how it is, by their numbers. */
static List *
show_order(Query *sub)
{
	List	   *result = copyObject(sub->sortClause);
	ListCell   *lc;

	/* columns that are not junk come first */
	foreach(lc, sub->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk || !tle->ressortgroupref)
			continue;
		tle->resjunk = false;
		tle->resname = psprintf("order%d", tle->resno);
	}
	foreach(lc, result)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);

		clause->tleSortGroupRef = get_sortgroupref_tle(clause->tleSortGroupRef, sub->targetList)->resno;
	}
	return result;
}

/* A level around a subquery that is in the order of some of its columns. */
static Query *
ordered_by(Query *sub, List *order)
{
	Query	   *result = pgs_select_from(pgs_subquery_item(sub, "limited"));
	ListCell   *lc;

	result->targetList = pgs_vars_of(sub->targetList);
	foreach(lc, order)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);

		get_tle_by_resno(result->targetList, clause->tleSortGroupRef)->ressortgroupref = clause->tleSortGroupRef;
	}
	result->sortClause = order;
	return result;
}

/* ---- all of them ---- */

/* Whether columns 1 to n of a subquery can be gathered in arrays. */
static bool
can_be_gathered(Query *sub, int ncolumns)
{
	for (int i = 1; i <= ncolumns; i++)
	{
		Oid			type = exprType((Node *) get_tle_by_resno(sub->targetList, i)->expr);

		if (type_is_array(type) || !OidIsValid(get_array_type(type)) || get_typtype(type) == TYPTYPE_PSEUDO)
			return false;
	}
	return true;
}

/* The rows of a subquery that may be several for a key: its columns gathered, and taken apart again by the level. */
static List *
gathered_values(PgsSublinks *s, Query *sub, int ncolumns, List *matches, List *order, bool array)
{
	List	   *types = NIL;
	List	   *result = NIL;
	JoinExpr   *join;
	ListCell   *lc;

	if (!can_be_gathered(sub, ncolumns))
		return refuse(s, "a subquery of arrays or rows that may have more than one row");
	for (int i = 1; i <= ncolumns; i++)
		types = lappend_oid(types, exprType((Node *) get_tle_by_resno(sub->targetList, i)->expr));
	/* a limit without a key is still to be done, by the level beneath */
	if (sub->limitCount || sub->limitOffset || order)
		sub = ordered_by(sub, order);
	if (!array && !sub->hasDistinctOn)
		sub->sortClause = NIL;
	join = pgs_sublink_join_left(s, gathered(sub, ncolumns, matches), matches);
	foreach(lc, types)
	{
		Var		   *value = pgs_sublink_column(s, join, foreach_current_index(lc) + 1);

		result = lappend(result, array ? array_or_empty(value, lfirst_oid(lc)) :
						 only_element(value, lfirst_oid(lc), value->varcollid));
	}
	return result;
}

/* HAVING without GROUP BY, (SELECT x HAVING c), as (SELECT CASE WHEN c THEN x END). */
static void
having_as_case(Query *sub)
{
	ListCell   *lc;

	foreach(lc, sub->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		CaseExpr   *expr = makeNode(CaseExpr);
		CaseWhen   *when = makeNode(CaseWhen);

		when->expr = copyObject((Expr *) sub->havingQual);
		when->result = tle->expr;
		when->location = -1;
		expr->casetype = exprType((Node *) tle->expr);
		expr->casecollid = exprCollation((Node *) tle->expr);
		expr->args = list_make1(when);
		expr->defresult = (Expr *) makeNullConst(expr->casetype, exprTypmod((Node *) tle->expr), expr->casecollid);
		expr->location = -1;
		tle->expr = (Expr *) expr;
	}
	sub->havingQual = NULL;
}

/* The columns of a subquery, one row or none, as expressions of the level; or the one of an ARRAY.  NIL with an obstacle noted. */
static List *
column_values(PgsSublinks *s, Query *sub, bool array)
{
	int			ncolumns;
	int64		limit;
	bool		single;
	List	   *matches;
	List	   *aggrefs;
	List	   *order = NIL;
	List	   *result = NIL;
	Query	   *aggregates;

	if (sub->cteList && !pgs_cut_inline_ctes(sub))
		return refuse(s, "a recursive query");
	pgs_flatten_groups(sub);
	ncolumns = ExecCleanTargetListLength(sub->targetList);
	if (!array && sub->hasAggs && sub->havingQual && !sub->groupClause && !sub->groupingSets)
		having_as_case(sub);
	aggregates = array ? NULL : pgs_split_aggregates(sub, &aggrefs);
	if (aggregates && aggrefs)
		return aggregate_values(s, sub, aggregates, aggrefs);
	if (sub->hasAggs && !sub->groupClause && pgs_is_correlated(sub))
		return refuse(s, "a correlated subquery with HAVING, or more than aggregates without GROUP BY");
	single = !array && ((pgs_limit_value(sub->limitCount, &limit) && limit == 1) ||
						(sub->hasAggs && !sub->groupClause && !sub->groupingSets && !sub->hasTargetSRFs));
	if (sub->limitOption == LIMIT_OPTION_WITH_TIES)
		single = false;
	if (array && sub->sortClause && (sub->limitCount || sub->limitOffset))
		order = show_order(sub);
	sub = pgs_decorrelate(sub, s->domain, false, &matches);
	if (!sub)
		return refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	if (single || (!array && found_by_unique_key(sub, matches)))
	{
		JoinExpr   *join = pgs_sublink_join_left(s, sub, matches);

		for (int i = 1; i <= ncolumns; i++)
			result = lappend(result, pgs_sublink_column(s, join, i));
		return result;
	}
	return gathered_values(s, sub, ncolumns, matches, order, array);
}

/* (sub), ARRAY (sub), wherever they stand: an expression of the level. */
Node *
pgs_scalar_value(PgsSublinks *s, SubLink *sublink)
{
	List	   *values = column_values(s, copyObject(castNode(Query, sublink->subselect)), sublink->subLinkType == ARRAY_SUBLINK);

	return values ? linitial(values) : NULL;
}

/* (a, b) op (sub): the comparison, with the columns of the only row. */
Node *
pgs_row_value(PgsSublinks *s, SubLink *sublink)
{
	List	   *values = column_values(s, copyObject(castNode(Query, sublink->subselect)), false);

	return values ? pgs_sublink_test(sublink->testexpr, values) : NULL;
}
