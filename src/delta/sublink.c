/*
 * sublink.c - subqueries in expressions: EXISTS, IN, ANY, ALL, scalar ones, ARRAY
 *
 * Each becomes an item of FROM: the subquery made independent (correlate.c), one row for each key, and joined by the key.  What the
 * expression needs to know is in that row, or in there being none:
 *
 *     EXISTS (S)       SELECT DISTINCT key, true FROM S                     one IS NOT NULL
 *     x = ANY (S)      EXISTS (S and x = y), and where there are NULLs      CASE: SQL's three values
 *     (SELECT f(...))  SELECT key, f(...) FROM S GROUP BY key               f, or its value without rows
 *     (SELECT x)       SELECT key, array_agg(x) FROM S GROUP BY key         the only element, or the usual error
 *
 * A condition of WHERE that an EXISTS or IN makes is an inner join; everything else a LEFT JOIN.  Joins have a delta.
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
#include "delta/delta_internal.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

typedef struct
{
	PgsCut	   *cut;
	Query	   *query;			/* the level */
	Query	   *domain;			/* its FROM, and its WHERE as far as that holds no subquery */
	List	   *inner;			/* of RangeTblRef: items joined to it */
	List	   *quals;			/* and the conditions */
	List	   *outer;			/* of JoinExpr, without their left side: items joined by LEFT JOIN, one after the other */
	List	   *done;			/* of SubLink: each is computed once, however often it is written */
	List	   *values;			/* of Node: what stands for them */
} Sublinks;

static Node *
refuse(Sublinks *s, const char *why)
{
	(void) pgs_cut_refuse(s->cut, why);
	return NULL;
}

/* ---- joining ---- */

/* Add a subquery to the level's items. */
static int
add_item(Sublinks *s, Query *sub, const char *alias)
{
	s->query->rtable = lappend(s->query->rtable, pgs_subquery_item(sub, alias));
	return list_length(s->query->rtable);
}

static List *
conditions(const List *matches, int rtindex)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, matches)
		result = lappend(result, pgs_match_condition(lfirst(lc), rtindex));
	return result;
}

static void
join_inner(Sublinks *s, Query *sub, const List *matches)
{
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = add_item(s, sub, "subquery");
	s->inner = lappend(s->inner, ref);
	s->quals = list_concat(s->quals, conditions(matches, ref->rtindex));
}

/* Join by LEFT JOIN; returns the join. */
static JoinExpr *
join_left(Sublinks *s, Query *sub, const List *matches)
{
	RangeTblRef *ref = makeNode(RangeTblRef);
	JoinExpr   *join = pgs_make_left_join(s->query);
	List	   *quals;

	ref->rtindex = add_item(s, sub, "subquery");
	quals = conditions(matches, ref->rtindex);
	join->rarg = (Node *) ref;
	join->quals = quals ? (Node *) make_ands_explicit(quals) : makeBoolConst(true, false);
	s->outer = lappend(s->outer, join);
	return join;
}

/* An output column of a subquery that is joined by LEFT JOIN. */
static Var *
column_of(Sublinks *s, JoinExpr *join, int resno)
{
	int			rtindex = ((RangeTblRef *) join->rarg)->rtindex;
	Node	   *expr = (Node *) get_tle_by_resno(rt_fetch(rtindex, s->query->rtable)->subquery->targetList, resno)->expr;
	Var		   *result = makeVar(rtindex, resno, exprType(expr), exprTypmod(expr), exprCollation(expr), 0);

	pgs_add_nullingrel(result, join->rtindex);
	return result;
}

/* ---- EXISTS ---- */

static bool
is_plain(Query *sub)
{
	return !sub->setOperations && !sub->hasAggs && !sub->groupClause && !sub->groupingSets && !sub->havingQual &&
		!sub->hasWindowFuncs && !sub->distinctClause && !sub->hasTargetSRFs && !sub->limitCount && !sub->limitOffset;
}

/* Leave out of a subquery what doesn't decide whether it has rows. */
static void
strip_for_exists(Query *sub)
{
	if (sub->setOperations || sub->hasTargetSRFs || sub->limitOffset || sub->groupingSets || sub->limitCount)
		return;
	sub->distinctClause = sub->sortClause = sub->windowClause = NIL;
	sub->hasDistinctOn = sub->hasWindowFuncs = false;
	if (sub->havingQual)
		return;
	if (sub->groupClause)
	{
		sub->groupClause = NIL;
		sub->hasAggs = false;
	}
	if (!sub->hasAggs)
		sub->targetList = NIL;
	sub->hasSubLinks = checkExprHasSubLink((Node *) sub->jointree);
}

/* LIMIT n with n > 0 leaves a row where there is one. */
static void
strip_limit(Query *sub)
{
	int64		count;

	if (pgs_limit_value(sub->limitCount, &count) && count > 0 && !sub->limitOffset)
		sub->limitCount = NULL;
}

/*
 * The keys for which a subquery has rows, each once, and "one", which is true.  NULL with an obstacle noted.
 */
static Query *
existence(Sublinks *s, Query *sub, List **matches)
{
	Query	   *keys;
	Query	   *result;
	ListCell   *lc;
	int			n = 0;

	strip_limit(sub);
	strip_for_exists(sub);
	sub = pgs_decorrelate(sub, s->domain, false, matches);
	if (!sub)
		return (Query *) refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	/* nothing is asked of it but to be there */
	if (sub->targetList == NIL)
		sub->targetList = list_make1(pgs_target((Expr *) makeBoolConst(true, false), 1, "one"));
	keys = pgs_select_from(pgs_subquery_item(sub, "found"));
	foreach(lc, *matches)
	{
		PgsMatch   *match = lfirst(lc);
		Node	   *inner = list_nth(match->op->args, match->inner);
		TargetEntry *tle;

		n++;
		tle = pgs_target((Expr *) makeVar(1, match->resno, exprType(inner), exprTypmod(inner), exprCollation(inner), 0),
						 n, psprintf("key%d", n));
		tle->ressortgroupref = n;
		keys->targetList = lappend(keys->targetList, tle);
		keys->distinctClause = lappend(keys->distinctClause, pgs_group_clause(tle->expr, n));
		match->resno = n;
	}
	if (n == 0)
	{
		TargetEntry *tle = pgs_target((Expr *) makeBoolConst(true, false), 1, "one");

		tle->ressortgroupref = 1;
		keys->targetList = list_make1(tle);
		keys->distinctClause = list_make1(pgs_group_clause(tle->expr, 1));
		return keys;
	}
	result = pgs_select_from(pgs_subquery_item(keys, "keys"));
	result->targetList = lappend(pgs_vars_of(keys->targetList),
								 pgs_target((Expr *) makeBoolConst(true, false), n + 1, "one"));
	return result;
}

/* EXISTS (sub), wherever it stands: an expression of the level. */
static Node *
exists_value(Sublinks *s, Query *sub)
{
	NullTest   *test = makeNode(NullTest);
	List	   *matches;
	JoinExpr   *join;

	/* one row, whatever there is to aggregate */
	if (sub->hasAggs && !sub->groupClause && !sub->groupingSets && !sub->havingQual && !sub->limitCount && !sub->limitOffset &&
		!sub->hasTargetSRFs)
		return makeBoolConst(true, false);
	sub = existence(s, sub, &matches);
	if (!sub)
		return NULL;
	join = join_left(s, sub, matches);
	test->arg = (Expr *) column_of(s, join, list_length(sub->targetList));
	test->nulltesttype = IS_NOT_NULL;
	test->location = -1;
	return (Node *) test;
}

/* ---- IN, ANY, ALL ---- */

typedef struct
{
	List	   *exprs;			/* what stands for the columns of the subquery */
} ParamContext;

static Node *
param_mutator(Node *node, ParamContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
		return copyObject(list_nth(context->exprs, ((Param *) node)->paramid - 1));
	return expression_tree_mutator(node, param_mutator, context);
}

/* The subquery, and its columns as expressions of its level: itself where its WHERE can take conditions, else one around it. */
static Query *
open_subquery(Query *sub, List **columns)
{
	Query	   *result = copyObject(sub);
	ListCell   *lc;

	*columns = NIL;
	if (!is_plain(result))
	{
		/* what it refers to outside is one level further up now */
		IncrementVarSublevelsUp((Node *) result, 1, 1);
		result = pgs_select_from(pgs_subquery_item(result, "listed"));
		result->targetList = pgs_vars_of(rt_fetch(1, result->rtable)->subquery->targetList);
	}
	foreach(lc, result->targetList)
		if (!lfirst_node(TargetEntry, lc)->resjunk)
			*columns = lappend(*columns, lfirst_node(TargetEntry, lc)->expr);
	result->targetList = NIL;
	result->sortClause = NIL;
	return result;
}

/* The test of an ANY or ALL, as an expression of the subquery's level. */
static Node *
test_inside(SubLink *sublink, List *columns)
{
	ParamContext context = {.exprs = columns};
	Node	   *test = copyObject(sublink->testexpr);

	IncrementVarSublevelsUp(test, 1, 0);
	return param_mutator(test, &context);
}

static Node *
is_null(Node *expr)
{
	NullTest   *test = makeNode(NullTest);

	test->arg = (Expr *) expr;
	test->nulltesttype = IS_NULL;
	test->argisrow = false;
	test->location = -1;
	return (Node *) test;
}

/* The subquery's rows for which a condition holds: "what" of the test, or of its first column. */
typedef enum
{
	ROWS_ALL, ROWS_TRUE, ROWS_FALSE, ROWS_UNKNOWN, ROWS_NULL
} Rows;

static Query *
rows_of(SubLink *sublink, Rows which)
{
	List	   *columns;
	Query	   *sub = open_subquery(castNode(Query, sublink->subselect), &columns);
	Node	   *qual = NULL;

	switch (which)
	{
		case ROWS_ALL:
			break;
		case ROWS_TRUE:
			qual = test_inside(sublink, columns);
			break;
		case ROWS_FALSE:
			qual = (Node *) makeBoolExpr(NOT_EXPR, list_make1(test_inside(sublink, columns)), -1);
			break;
		case ROWS_UNKNOWN:
			qual = is_null(test_inside(sublink, columns));
			break;
		case ROWS_NULL:
			qual = is_null(copyObject(linitial(columns)));
			break;
	}
	sub->jointree->quals = make_and_qual(sub->jointree->quals, qual);
	return sub;
}

/* CASE WHEN decided THEN result WHEN unknown THEN NULL ELSE NOT result END */
static Node *
three_values(Node *decided, bool result, Node *unknown)
{
	CaseExpr   *expr = makeNode(CaseExpr);

	expr->casetype = BOOLOID;
	for (int i = 0; i < (unknown ? 2 : 1); i++)
	{
		CaseWhen   *when = makeNode(CaseWhen);

		when->expr = (Expr *) (i == 0 ? decided : unknown);
		when->result = (Expr *) makeBoolConst(result, i == 1);
		when->location = -1;
		expr->args = lappend(expr->args, when);
	}
	expr->defresult = (Expr *) makeBoolConst(!result, false);
	expr->location = -1;
	return (Node *) expr;
}

/* Whether the test of an ANY is one strict equality; then it is unknown only where one of its sides is NULL. */
static bool
is_plain_in(SubLink *sublink)
{
	OpExpr	   *op = (OpExpr *) sublink->testexpr;

	return sublink->subLinkType == ANY_SUBLINK && IsA(op, OpExpr) && list_length(op->args) == 2 && op_strict(op->opno) &&
		op_mergejoinable(op->opno, exprType(linitial(op->args))) && IsA(lsecond(op->args), Param);
}

/* x op ANY (sub), x op ALL (sub), wherever they stand. */
static Node *
quantified_value(Sublinks *s, SubLink *sublink)
{
	bool		any = sublink->subLinkType == ANY_SUBLINK;
	Node	   *decided = exists_value(s, rows_of(sublink, any ? ROWS_TRUE : ROWS_FALSE));
	Node	   *unknown = NULL;

	if (!decided)
		return NULL;
	if (is_plain_in(sublink))
	{
		Node	   *x = linitial(((OpExpr *) sublink->testexpr)->args);
		Query	   *sub = castNode(Query, sublink->subselect);
		TargetEntry *y = linitial_node(TargetEntry, sub->targetList);

		if (!pgs_is_never_null(sub, (Node *) y->expr))
		{
			unknown = exists_value(s, rows_of(sublink, ROWS_NULL));
			if (!unknown)
				return NULL;
		}
		if (!pgs_is_never_null(s->domain, x))
		{
			Node	   *rows = exists_value(s, rows_of(sublink, ROWS_ALL));
			Node	   *both;

			if (!rows)
				return NULL;
			both = (Node *) makeBoolExpr(AND_EXPR, list_make2(is_null(copyObject(x)), rows), -1);
			unknown = unknown ? (Node *) makeBoolExpr(OR_EXPR, list_make2(unknown, both), -1) : both;
		}
	}
	else
	{
		unknown = exists_value(s, rows_of(sublink, ROWS_UNKNOWN));
		if (!unknown)
			return NULL;
	}
	return three_values(decided, any, unknown);
}

/* ---- scalar subqueries ---- */

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
aggregate_value(Sublinks *s, Query *sub, Query *aggregates, List *aggrefs)
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
		return refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	if (!correlated)
	{
		/* one row, always */
		join_inner(s, aggregates, NIL);
		foreach(lc, aggrefs)
			vars = lappend(vars, makeVar(list_length(s->query->rtable), foreach_current_index(lc) + 1,
										 exprType(lfirst(lc)), exprTypmod(lfirst(lc)), exprCollation(lfirst(lc)), 0));
		return pgs_aggregates_outside(expr, aggrefs, vars);
	}
	join = join_left(s, aggregates, matches);
	foreach(lc, aggrefs)
		vars = lappend(vars, column_of(s, join, foreach_current_index(lc) + 1));
	vars = pgs_values_or_empty(aggrefs, vars, &known);
	if (!known)
		return refuse(s, "a subquery with an aggregate whose value without rows is not known");
	return pgs_aggregates_outside(expr, aggrefs, vars);
}

/* Whether the keys by which a subquery is found are those of a unique index of the one table that it reads. */
static bool
found_by_unique_key(Query *sub, const List *matches)
{
	RangeTblEntry *rte;
	RangeTblRef *ref;
	Relation	rel;
	bool		result = false;
	ListCell   *lc;

	if (!is_plain(sub) || list_length(sub->jointree->fromlist) != 1 || !IsA(linitial(sub->jointree->fromlist), RangeTblRef))
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

static Node *
scalar_value(Sublinks *s, SubLink *sublink)
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
		return refuse(s, "a recursive query");
	pgs_flatten_groups(sub);
	if (array && sub->sortClause && (sub->limitCount || sub->limitOffset))
		return refuse(s, "ARRAY of a subquery with ORDER BY and LIMIT");
	aggregates = array ? NULL : pgs_split_aggregates(sub, &aggrefs);
	if (aggregates && aggrefs)
		return aggregate_value(s, sub, aggregates, aggrefs);
	if (sub->hasAggs && !sub->groupClause && pgs_is_correlated(sub))
		return refuse(s, "a correlated subquery with HAVING, or more than aggregates without GROUP BY");
	single = !array && ((pgs_limit_value(sub->limitCount, &limit) && limit == 1) ||
						(sub->hasAggs && !sub->groupClause && !sub->groupingSets && !sub->hasTargetSRFs));
	if (sub->limitOption == LIMIT_OPTION_WITH_TIES)
		single = false;
	sub = pgs_decorrelate(sub, s->domain, false, &matches);
	if (!sub)
		return refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	if (single || (!array && found_by_unique_key(sub, matches)))
		return (Node *) column_of(s, join_left(s, sub, matches), 1);
	if (type_is_array(type) || !OidIsValid(get_array_type(type)) || get_typtype(type) == TYPTYPE_PSEUDO)
		return refuse(s, "a subquery of arrays or rows that may have more than one row");
	/* a limit without a key is still to be done, by the level beneath */
	if (sub->limitCount || sub->limitOffset)
	{
		Query	   *limited = pgs_select_from(pgs_subquery_item(sub, "limited"));

		limited->targetList = pgs_vars_of(sub->targetList);
		sub = limited;
	}
	if (!array && !sub->hasDistinctOn)
		sub->sortClause = NIL;
	value = column_of(s, join_left(s, gathered(sub, matches), matches), 1);
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

/* ---- all of a level ---- */

static Node *
sublink_mutator(Node *node, Sublinks *s)
{
	if (node == NULL || s->cut->obstacle)
		return node;
	if (IsA(node, SubLink))
	{
		SubLink    *sublink = (SubLink *) node;
		Node	   *result;
		ListCell   *lc;

		foreach(lc, s->done)
			if (equal(lfirst(lc), node))
				return copyObject(list_nth(s->values, foreach_current_index(lc)));
		if (checkExprHasSubLink(sublink->testexpr))
			return refuse(s, "a subquery in the test of another");
		switch (sublink->subLinkType)
		{
			case EXISTS_SUBLINK:
				result = exists_value(s, copyObject(castNode(Query, sublink->subselect)));
				break;
			case ANY_SUBLINK:
			case ALL_SUBLINK:
				result = quantified_value(s, sublink);
				break;
			case EXPR_SUBLINK:
			case ARRAY_SUBLINK:
				result = scalar_value(s, sublink);
				break;
			default:
				return refuse(s, "a subquery that is compared as a row");
		}
		s->done = lappend(s->done, node);
		s->values = lappend(s->values, result);
		return result;
	}
	return expression_tree_mutator(node, sublink_mutator, s);
}

/* One condition of WHERE: what must hold is an inner join. */
static Node *
condition(Node *qual, Sublinks *s)
{
	SubLink    *sublink = (SubLink *) qual;
	List	   *matches;
	Query	   *sub;

	if (!IsA(sublink, SubLink) || (sublink->subLinkType != EXISTS_SUBLINK && sublink->subLinkType != ANY_SUBLINK) ||
		checkExprHasSubLink(sublink->testexpr))
		return sublink_mutator(qual, s);
	sub = sublink->subLinkType == ANY_SUBLINK ? rows_of(sublink, ROWS_TRUE) : copyObject(castNode(Query, sublink->subselect));
	if (sub->hasAggs && !sub->groupClause && !sub->groupingSets && !sub->havingQual)
		return sublink_mutator(qual, s);
	sub = existence(s, sub, &matches);
	if (sub)
		join_inner(s, sub, matches);
	return NULL;
}

static bool
joins_hold_sublinks(Query *query)
{
	ListCell   *lc;

	foreach(lc, query->jointree->fromlist)
		if (checkExprHasSubLink(lfirst(lc)))
			return true;
	foreach(lc, query->rtable)
		if (lfirst_node(RangeTblEntry, lc)->rtekind == RTE_VALUES &&
			checkExprHasSubLink((Node *) lfirst_node(RangeTblEntry, lc)->values_lists))
			return true;
	return false;
}

static bool
whole_item_walker(Node *node, int *rtindex)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varno == *rtindex && ((Var *) node)->varattno == 0 && ((Var *) node)->varlevelsup == 0;
	return expression_tree_walker(node, whole_item_walker, rtindex);
}

/*
 * A function in FROM with subqueries in its arguments, generate_series((SELECT min(day) ...), ...), as a level of its own, so that it may
 * stand on any side of a join.  False if there are other items that it refers to, or its whole row is asked for.
 */
static bool
isolate_functions(Query *query)
{
	bool		alone = list_length(query->jointree->fromlist) == 1 && IsA(linitial(query->jointree->fromlist), RangeTblRef);

	for (int i = 1; i <= list_length(query->rtable) && !alone; i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);
		Query	   *level;
		List	   *names;
		List	   *vars;
		ListCell   *lc;

		if (rte->rtekind != RTE_FUNCTION || !checkExprHasSubLink((Node *) rte->functions))
			continue;
		if (contain_var_clause((Node *) rte->functions) || query_tree_walker(query, whole_item_walker, &i, QTW_IGNORE_RT_SUBQUERIES))
			return false;
		pgs_expand_rte(rte, 1, &names, &vars);
		level = pgs_select_from(copyObject(rte));
		foreach(lc, vars)
			level->targetList = lappend(level->targetList, pgs_target(lfirst(lc), foreach_current_index(lc) + 1,
																	  strVal(list_nth(names, foreach_current_index(lc)))));
		level->hasSubLinks = true;
		lfirst(list_nth_cell(query->rtable, i - 1)) = pgs_subquery_item(level, rte->eref->aliasname);
	}
	return true;
}

/*
 * The arguments of functions in FROM.  What stands for a subquery there must be beside the
 * function, not joined around it.
 */
static bool
cut_functions(Sublinks *s)
{
	ListCell   *lc;

	foreach(lc, s->query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		int			before = list_length(s->outer);

		if (rte->rtekind != RTE_FUNCTION || !checkExprHasSubLink((Node *) rte->functions))
			continue;
		rte->functions = (List *) sublink_mutator((Node *) rte->functions, s);
		rte->lateral = true;
		if (s->cut->obstacle)
			return false;
		if (list_length(s->outer) > before)
			return pgs_cut_refuse(s->cut, "a subquery in a function of FROM that is more than an aggregate") != NULL;
	}
	return true;
}

/*
 * Turn the subqueries in a level's expressions into items of its FROM, in place.  False with an obstacle noted.
 */
bool
pgs_cut_sublinks(PgsCut *cut, Query *query)
{
	Sublinks	s = {.cut = cut, .query = query};
	List	   *plain = NIL;
	List	   *with = NIL;
	List	   *rest = NIL;
	FromExpr   *from;
	Node	   *tree;
	ListCell   *lc;

	pgs_forget_join_aliases(query);
	pgs_hoist_joins(query, false);
	if (joins_hold_sublinks(query) || !isolate_functions(query))
		return pgs_cut_refuse(cut, "a subquery in VALUES, in a function beside what it refers to, or in the condition of an outer join") != NULL;
	foreach(lc, make_ands_implicit((Expr *) query->jointree->quals))
	{
		if (checkExprHasSubLink(lfirst(lc)))
			with = lappend(with, lfirst(lc));
		else
			plain = lappend(plain, lfirst(lc));
	}
	s.domain = pgs_domain(query, query->jointree->fromlist, plain);

	foreach(lc, with)
	{
		Node	   *qual = condition(lfirst(lc), &s);

		if (qual)
			rest = lappend(rest, qual);
	}
	query->targetList = (List *) sublink_mutator((Node *) query->targetList, &s);
	if (cut->obstacle || !cut_functions(&s))
		return false;

	from = makeFromExpr(list_concat(query->jointree->fromlist, s.inner), NULL);
	plain = list_concat(plain, s.quals);
	from->quals = plain ? (Node *) make_ands_explicit(plain) : NULL;
	query->hasSubLinks = false;
	if (s.outer == NIL)
	{
		rest = list_concat(make_ands_implicit((Expr *) from->quals), rest);
		from->quals = rest ? (Node *) make_ands_explicit(rest) : NULL;
		query->jointree = from;
		return true;
	}
	tree = list_length(from->fromlist) == 1 && !from->quals ? linitial(from->fromlist) : (Node *) from;
	foreach(lc, s.outer)
	{
		lfirst_node(JoinExpr, lc)->larg = tree;
		tree = lfirst(lc);
	}
	query->jointree = makeFromExpr(list_make1(tree), rest ? (Node *) make_ands_explicit(rest) : NULL);
	return true;
}

/* ---- after aggregates ---- */

static bool
after_walker(Node *node, Query *query)
{
	ListCell   *lc;

	if (node == NULL || IsA(node, Aggref))
		return false;
	foreach(lc, query->groupClause)
		if (equal(node, get_sortgroupclause_expr(lfirst(lc), query->targetList)))
			return false;
	if (IsA(node, SubLink))
		return true;
	return expression_tree_walker(node, after_walker, query);
}

/* Whether a level has subqueries in its columns that are computed when groups are complete. */
bool
pgs_has_sublink_after_aggregates(Query *query)
{
	return query->hasSubLinks && after_walker((Node *) query->targetList, query);
}
