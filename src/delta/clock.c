/*
 * clock.c - conditions on the time of the query: WHERE created_at > now() - interval '7 days'
 *
 * The clock is an input like any other, and changes at every refresh.  With T1 the time of the last refresh and T2 that of this one,
 *
 *     dQ  =  dQ at T1, for the changes of relations
 *         +  rows that meet the conditions at T2  -  rows that meet them at T1,    both among those for which one has flipped
 *
 * and a comparison "x op f(now())" flips just for x between f(T1) and f(T2): a range that an index on x finds.
 *
 * A condition made of comparisons by AND, OR and NOT flips only where one of them does.  Comparisons in WHERE only, with the clock on
 * one side and columns on the other: anywhere else every row changes with it.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

const char *const pgs_delta_clock_obstacle = "now(), or another reading of the clock, other than compared with columns in WHERE";

/* ---- what is a condition on the clock ---- */

static bool
clock_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (pgs_query_is_clock(node))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, clock_walker, context, 0);
	return expression_tree_walker(node, clock_walker, context);
}

static bool
holds_clock(Node *node)
{
	return clock_walker(node, NULL);
}

/* Whether a query reads the clock at any depth. */
bool
pgs_delta_reads_clock(Query *query)
{
	return query_tree_walker(query, clock_walker, NULL, 0);
}

/* "x op f": x holds columns, f the clock, op compares as a btree does. */
typedef struct
{
	OpExpr	   *op;				/* with x on the left */
	int			strategy;
	Oid			opfamily;
	Oid			lefttype;
	Oid			righttype;
} Comparison;

static bool
read_comparison(Node *qual, Comparison *c)
{
	OpExpr	   *op = (OpExpr *) qual;
	ListCell   *lc;

	if (!IsA(op, OpExpr) || list_length(op->args) != 2)
		return false;
	op = copyObject(op);
	if (holds_clock(linitial(op->args)))
	{
		if (!OidIsValid(get_commutator(op->opno)))
			return false;
		CommuteOpExpr(op);
	}
	if (holds_clock(linitial(op->args)) || contain_var_clause(lsecond(op->args)) || checkExprHasSubLink(qual))
		return false;
	c->op = op;
	foreach(lc, get_mergejoin_opfamilies(op->opno))
	{
		c->opfamily = lfirst_oid(lc);
		get_op_opfamily_properties(op->opno, c->opfamily, false, &c->strategy, &c->lefttype, &c->righttype);
		return true;
	}
	/* no equality: some ordering of the left type's default family */
	c->opfamily = get_opclass_family(GetDefaultOpClass(exprType(linitial(op->args)), BTREE_AM_OID));
	if (!OidIsValid(c->opfamily) || !op_in_opfamily(op->opno, c->opfamily))
		return false;
	get_op_opfamily_properties(op->opno, c->opfamily, false, &c->strategy, &c->lefttype, &c->righttype);
	return true;
}

/* Gather the comparisons with the clock beneath ANDs, ORs and NOTs; false if the clock is read otherwise. */
static bool
gather_comparisons(Node *node, List **result)
{
	Comparison	c;
	ListCell   *lc;

	if (node == NULL || !holds_clock(node))
		return true;
	if (IsA(node, BoolExpr))
	{
		foreach(lc, ((BoolExpr *) node)->args)
			if (!gather_comparisons(lfirst(lc), result))
				return false;
		return true;
	}
	if (!read_comparison(node, &c))
		return false;
	*result = lappend(*result, node);
	return true;
}

/* Whether a level reads the clock in a way that has no rule. */
bool
pgs_cut_misuses_clock(Query *query)
{
	List	   *comparisons = NIL;
	ListCell   *lc;

	if (holds_clock((Node *) query->targetList) || holds_clock(query->havingQual) ||
		holds_clock((Node *) query->jointree->fromlist) || holds_clock((Node *) query->windowClause) ||
		holds_clock(query->limitCount) || holds_clock(query->limitOffset))
		return true;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind != RTE_SUBQUERY && range_table_entry_walker(rte, clock_walker, NULL, 0))
			return true;
	}
	return !gather_comparisons(query->jointree->quals, &comparisons);
}

/* ---- the clock at another time ---- */

static Node *
clock_mutator(Node *node, TimestampTz *time)
{
	if (node == NULL)
		return NULL;
	if (pgs_query_is_clock(node))
	{
		Expr	   *then = (Expr *) makeConst(TIMESTAMPTZOID, -1, InvalidOid, sizeof(TimestampTz), TimestampTzGetDatum(*time),
											  false, FLOAT8PASSBYVAL);
		Oid			type = exprType(node);
		int32		typmod = exprTypmod(node);

		if (type == DATEOID)
			return (Node *) makeFuncExpr(F_DATE_TIMESTAMPTZ, type, list_make1(then), InvalidOid, InvalidOid, COERCE_EXPLICIT_CAST);
		if (type == TIMESTAMPOID)
			then = (Expr *) makeFuncExpr(F_TIMESTAMP_TIMESTAMPTZ, type, list_make1(then), InvalidOid, InvalidOid,
										 COERCE_EXPLICIT_CAST);
		if (typmod >= 0)
			then = (Expr *) makeFuncExpr(type == TIMESTAMPOID ? F_TIMESTAMP_TIMESTAMP_INT4 : F_TIMESTAMPTZ_TIMESTAMPTZ_INT4, type,
										 list_make2(then, makeConst(INT4OID, -1, InvalidOid, sizeof(int32),
																	Int32GetDatum(typmod), false, true)),
										 InvalidOid, InvalidOid, COERCE_EXPLICIT_CAST);
		return (Node *) then;
	}
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, clock_mutator, time, 0);
	return expression_tree_mutator(node, clock_mutator, time);
}

/* A query as it was at another time, as far as its clock goes. */
Query *
pgs_delta_at_time(Query *query, TimestampTz time)
{
	return query_tree_mutator(query, clock_mutator, &time, 0);
}

static Node *
at_time(Node *node, TimestampTz time)
{
	return clock_mutator(node, &time);
}

/* ---- the delta ---- */

/* What the clock has changed from, among deltas; NULL where it hasn't. */
static PgsDelta *
find_clock(List *deltas)
{
	ListCell   *lc;

	foreach(lc, deltas)
		if (((PgsDelta *) lfirst(lc))->is_clock)
			return lfirst(lc);
	return NULL;
}

/* The time of the last refresh, as a delta. */
PgsDelta *
pgs_delta_of_clock(TimestampTz since)
{
	PgsDelta   *result = palloc0(sizeof(PgsDelta));

	result->is_clock = true;
	result->since = since;
	result->name = "clock";
	return result;
}

/* Whether a level itself has conditions on the clock. */
static bool
has_conditions(Query *query)
{
	return !query->setOperations && holds_clock(query->jointree->quals);
}

/* Whether the clock changes a level by itself. */
bool
pgs_level_clock_changed(Query *query, List *deltas)
{
	return find_clock(deltas) && has_conditions(query);
}

static Expr *
compare(const Comparison *c, int strategy, Node *bound)
{
	Oid			opno = get_opfamily_member(c->opfamily, c->lefttype, c->righttype, strategy);
	Expr	   *result = make_opclause(opno, BOOLOID, false, copyObject(linitial(c->op->args)), (Expr *) bound, InvalidOid,
									   c->op->inputcollid);

	set_opfuncid((OpExpr *) result);
	return result;
}

static Node *
extreme(MinMaxOp op, Node *a, Node *b)
{
	MinMaxExpr *result = makeNode(MinMaxExpr);

	result->minmaxtype = exprType(a);
	result->minmaxcollid = result->inputcollid = exprCollation(a);
	result->op = op;
	result->args = list_make2(copyObject(a), copyObject(b));
	result->location = -1;
	return (Node *) result;
}

/* For which rows a condition may be another one at "since" than now. */
static Expr *
flips(Node *qual, TimestampTz since)
{
	Comparison	c;
	Node	   *now;
	Node	   *then;

	if (!read_comparison(qual, &c))
		elog(ERROR, "unexpected condition on the clock");
	now = lsecond(c.op->args);
	then = at_time(now, since);
	if (c.strategy == BTEqualStrategyNumber)
		return makeBoolExpr(OR_EXPR, list_make2(compare(&c, BTEqualStrategyNumber, copyObject(now)),
												compare(&c, BTEqualStrategyNumber, then)), -1);
	return makeBoolExpr(AND_EXPR, list_make2(compare(&c, BTGreaterEqualStrategyNumber, extreme(IS_LEAST, now, then)),
											 compare(&c, BTLessEqualStrategyNumber, extreme(IS_GREATEST, now, then))), -1);
}

/* The rows of a level that the clock lets in and out: two arms with weights. */
List *
pgs_level_clock_delta(Query *query, List *deltas)
{
	TimestampTz since = find_clock(deltas)->since;
	List	   *comparisons = NIL;
	List	   *flipped = NIL;
	Query	   *in = copyObject(query);
	Query	   *out = copyObject(query);
	Node	   *condition;
	ListCell   *lc;

	(void) gather_comparisons(query->jointree->quals, &comparisons);
	foreach(lc, comparisons)
		flipped = lappend(flipped, flips(lfirst(lc), since));
	condition = list_length(flipped) == 1 ? linitial(flipped) : (Node *) makeBoolExpr(OR_EXPR, flipped, -1);
	in->jointree->quals = make_and_qual(condition, in->jointree->quals);
	out->jointree->quals = make_and_qual(copyObject(condition), at_time(out->jointree->quals, since));
	pgs_add_weight(in, pgs_int8_const(1));
	pgs_add_weight(out, pgs_int8_const(-1));
	return list_make2(in, out);
}

/* A level at the time of the last refresh, but not what is beneath it. */
Query *
pgs_level_at_last_time(Query *query, List *deltas)
{
	PgsDelta   *clock = find_clock(deltas);
	Query	   *result;

	if (!clock || !has_conditions(query))
		return query;
	result = copyObject(query);
	result->jointree->quals = at_time(result->jointree->quals, clock->since);
	return result;
}

/*
 * Why the result of a query follows neither the rows of its sources nor the clock, but has to be computed each time; NULL if it needn't.
 */
const char *
pgs_delta_unsettled(const PgsDefinition *def)
{
	if (def->unsettled)
		return psprintf("the result of %s can change while no source does", def->unsettled);
	if (def->clock && pgs_delta_analyze(def->query, 0)->obstacle == pgs_delta_clock_obstacle)
		return "it reads the clock (now(), current_date, ...) other than to compare it with columns in WHERE";
	return NULL;
}

/* Whether the result of a query changes only with rows of its sources, and with the clock in ways that a delta follows. */
bool
pgs_delta_data_only(const PgsDefinition *def)
{
	return def->data_only && (!def->clock || !pgs_delta_analyze(def->query, 0)->obstacle);
}
