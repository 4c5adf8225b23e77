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
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

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

static Node *
aggregate_value(PgsSublinks *s, Query *sub, Query *aggregates, List *aggrefs)
{
	List	   *matches;
	List	   *vars = NIL;
	bool		known = true;
	Node	   *expr = (Node *) linitial_node(TargetEntry, sub->targetList)->expr;
	bool		correlated = pgs_is_correlated(aggregates);
	JoinExpr   *join;
	ListCell   *lc;

	aggregates = pgs_decorrelate(aggregates, s->domain, true, &matches);
	if (!aggregates)
		return pgs_sublink_refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	if (!correlated)
	{
		/* one row, always */
		pgs_sublink_join_inner(s, aggregates, NIL);
		foreach(lc, aggrefs)
			vars = lappend(vars, makeVar(list_length(s->query->rtable), foreach_current_index(lc) + 1,
										 exprType(lfirst(lc)), exprTypmod(lfirst(lc)), exprCollation(lfirst(lc)), 0));
		return pgs_aggregates_outside(expr, aggrefs, vars);
	}
	join = pgs_sublink_join_left(s, aggregates, matches);
	foreach(lc, aggrefs)
		vars = lappend(vars, pgs_sublink_column(s, join, foreach_current_index(lc) + 1));
	vars = pgs_values_or_empty(aggrefs, vars, &known);
	if (!known)
		return pgs_sublink_refuse(s, "a subquery with an aggregate whose value without rows is not known");
	return pgs_aggregates_outside(expr, aggrefs, vars);
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

/* SELECT keys, array_agg(column 1 [ORDER BY ...]) FROM sub GROUP BY keys */
static Query *
gathered(Query *sub, List *matches)
{
	Query	   *result = pgs_peel_limit(sub);
	TargetEntry *value = linitial_node(TargetEntry, result->targetList);
	Aggref	   *aggref;
	List	   *targets = NIL;
	int			n = 1;
	ListCell   *lc;

	/* a limit was one for each key, and is done already; the order is the array's now */
	aggref = pgs_make_aggref(F_ARRAY_AGG_ANYNONARRAY, list_make1(copyObject(value->expr)), NULL);
	aggref->aggtype = get_array_type(exprType((Node *) value->expr));
	aggref->aggcollid = aggref->inputcollid = exprCollation((Node *) value->expr);
	if (result->sortClause)
	{
		aggref->args = NIL;
		foreach(lc, result->targetList)
		{
			TargetEntry *tle = copyObject(lfirst_node(TargetEntry, lc));

			if (tle->resno == value->resno || tle->ressortgroupref)
			{
				tle->resjunk = tle->resno != value->resno;
				tle->resno = list_length(aggref->args) + 1;
				aggref->args = lappend(aggref->args, tle);
			}
		}
		aggref->aggorder = result->sortClause;
	}
	targets = list_make1(pgs_target((Expr *) aggref, 1, "values"));
	foreach(lc, matches)
	{
		PgsMatch   *match = lfirst(lc);
		TargetEntry *tle = copyObject(get_tle_by_resno(result->targetList, match->resno));

		tle->resno = match->resno = ++n;
		tle->resjunk = false;
		tle->ressortgroupref = n;
		targets = lappend(targets, tle);
		result->groupClause = lappend(result->groupClause, pgs_group_clause(tle->expr, n));
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
	Oid			fnoid = LookupFuncName(list_make2(makeString(PGS_INTERNAL_SCHEMA), makeString("only_element")), 1, &any, false);

	return (Node *) makeFuncExpr(fnoid, type, list_make1(array), collation, collation, COERCE_EXPLICIT_CALL);
}

Node *
pgs_scalar_value(PgsSublinks *s, SubLink *sublink)
{
	Query	   *sub = copyObject(castNode(Query, sublink->subselect));
	bool		array = sublink->subLinkType == ARRAY_SUBLINK;
	Oid			type = exprType((Node *) linitial_node(TargetEntry, sub->targetList)->expr);
	Oid			collation = exprCollation((Node *) linitial_node(TargetEntry, sub->targetList)->expr);
	int64		limit;
	bool		single;
	List	   *matches;
	List	   *aggrefs;
	Query	   *aggregates;
	Var		   *value;
	CoalesceExpr *result;

	if (sub->cteList && !pgs_cut_inline_ctes(sub))
		return pgs_sublink_refuse(s, "a recursive query");
	pgs_flatten_groups(sub);
	if (array && sub->sortClause && (sub->limitCount || sub->limitOffset))
		return pgs_sublink_refuse(s, "ARRAY of a subquery with ORDER BY and LIMIT");
	aggregates = array ? NULL : pgs_split_aggregates(sub, &aggrefs);
	if (aggregates && aggrefs)
		return aggregate_value(s, sub, aggregates, aggrefs);
	if (sub->hasAggs && !sub->groupClause && pgs_is_correlated(sub))
		return pgs_sublink_refuse(s, "a correlated subquery with HAVING, or more than aggregates without GROUP BY");
	single = !array && ((pgs_limit_value(sub->limitCount, &limit) && limit == 1) ||
						(sub->hasAggs && !sub->groupClause && !sub->groupingSets && !sub->hasTargetSRFs));
	if (sub->limitOption == LIMIT_OPTION_WITH_TIES)
		single = false;
	sub = pgs_decorrelate(sub, s->domain, false, &matches);
	if (!sub)
		return pgs_sublink_refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	if (single || (!array && found_by_unique_key(sub, matches)))
		return (Node *) pgs_sublink_column(s, pgs_sublink_join_left(s, sub, matches), 1);
	if (type_is_array(type) || !OidIsValid(get_array_type(type)) || get_typtype(type) == TYPTYPE_PSEUDO)
		return pgs_sublink_refuse(s, "a subquery of arrays or rows that may have more than one row");
	/* a limit without a key is still to be done, by the level beneath */
	if (sub->limitCount || sub->limitOffset)
	{
		Query	   *limited = pgs_select_from(pgs_subquery_item(sub, "limited"));

		limited->targetList = pgs_vars_of(sub->targetList);
		sub = limited;
	}
	if (!array && !sub->hasDistinctOn)
		sub->sortClause = NIL;
	value = pgs_sublink_column(s, pgs_sublink_join_left(s, gathered(sub, matches), matches), 1);
	if (!array)
		return only_element(value, type, collation);
	result = makeNode(CoalesceExpr);
	result->coalescetype = value->vartype;
	result->coalescecollid = value->varcollid;
	result->args = list_make2(value, makeConst(value->vartype, -1, value->varcollid, -1,
											   PointerGetDatum(construct_empty_array(type)), false, false));
	result->location = -1;
	return (Node *) result;
}
