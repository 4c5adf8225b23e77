/*
 * padding.c - the padded rows of a LEFT JOIN, as the matches of the right side come and go
 *
 * (l, NULL) is there where no row of R matches l.  With cn the number of rows of new(R) that match, and dw the sum of weights in dR that
 * do, what changes is [cn = 0] - [cn - dw = 0].
 *
 * Where the condition is made of "left = right" and of conditions on one side alone, both numbers depend on the right sides of the
 * equalities only: they are computed for each key of dR, and rows of L are looked up for the few keys for which something changes.
 * Else they are computed for each row of L that dR matches.
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "lib/stringinfo.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/* ---- sides ---- */

typedef struct
{
	int			left;			/* becomes a Var of the query above */
	int			right;			/* becomes item 1 */
} SubContext;

static Node *
sub_mutator(Node *node, SubContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0)
	{
		Var		   *var = copyObject((Var *) node);

		pgs_keep_nullingrels(var, NULL);
		if (var->varno == context->left)
			var->varlevelsup = 1;
		else
			var->varno = 1;
		return (Node *) var;
	}
	return expression_tree_mutator(node, sub_mutator, context);
}

static Node *
null_right_mutator(Node *node, SubContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0 && ((Var *) node)->varno == context->right)
		return (Node *) makeNullConst(((Var *) node)->vartype, ((Var *) node)->vartypmod, ((Var *) node)->varcollid);
	return expression_tree_mutator(node, null_right_mutator, context);
}

/* The result with only the left item in it, its right columns NULL. */
static Query *
left_alone(Query *query, SubContext *context)
{
	Query	   *result = copyObject(query);
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = context->left;
	result->jointree = makeFromExpr(list_make1(ref), NULL);
	pgs_keep_items(result, bms_make_singleton(context->left));
	result->targetList = (List *) pgs_without_nulling(null_right_mutator((Node *) result->targetList, context));
	return result;
}

/* ---- by row ---- */

/* FROM right WHERE p, for a row of the left side one level above; no columns yet. */
static Query *
matches(RangeTblEntry *right, Node *quals, SubContext *context)
{
	Query	   *query = pgs_select_from(right);

	query->jointree->quals = sub_mutator(copyObject(quals), context);
	return query;
}

/* [condition] as a number */
static Expr *
as_number(Expr *condition)
{
	Expr	   *number = (Expr *) makeFuncExpr(F_INT4_BOOL, INT4OID, list_make1(condition), InvalidOid, InvalidOid,
											   COERCE_EXPLICIT_CALL);

	return (Expr *) makeFuncExpr(F_INT8_INT4, INT8OID, list_make1(number), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* COALESCE(sum(weight), 0)::int8 */
static Expr *
sum_of_weights(Query *delta)
{
	CoalesceExpr *result = makeNode(CoalesceExpr);
	Var		   *weight = makeVar(1, list_length(delta->targetList), INT8OID, -1, InvalidOid, 0);

	result->coalescetype = NUMERICOID;
	result->args = list_make2(pgs_make_aggref(F_SUM_INT8, list_make1(weight), NULL),
							  makeConst(NUMERICOID, -1, InvalidOid, -1,
										DirectFunctionCall1(int8_numeric, Int64GetDatum(0)), false, false));
	result->location = -1;
	return (Expr *) makeFuncExpr(F_INT8_NUMERIC, INT8OID, list_make1(result), InvalidOid, InvalidOid,
								 COERCE_EXPLICIT_CALL);
}

/* A subquery of one number beside the items of a query. */
static Expr *
add_number(Query *query, Query *sub, Expr *number, const char *name)
{
	RangeTblRef *ref = makeNode(RangeTblRef);
	RangeTblEntry *rte;

	sub->targetList = list_make1(pgs_target(number, 1, name));
	sub->hasAggs = true;
	rte = pgs_subquery_item(sub, name);
	rte->lateral = true;
	query->rtable = lappend(query->rtable, rte);
	ref->rtindex = list_length(query->rtable);
	query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
	return (Expr *) makeVar(ref->rtindex, 1, INT8OID, -1, InvalidOid, 0);
}

/* The general way: cn and dw for each row of the left side that the delta matches. */
static Query *
by_row(Query *query, int left, int right, bool gone, List *deltas)
{
	Query	   *result;
	JoinExpr   *join = linitial_node(JoinExpr, query->jointree->fromlist);
	SubContext	context = {.left = left, .right = right};
	SubLink    *exists = makeNode(SubLink);
	Query	   *delta = pgs_item_delta(rt_fetch(right, query->rtable), query, deltas);
	RangeTblEntry *item = copyObject(rt_fetch(right, query->rtable));
	Query	   *now = matches(item, join->quals, &context);
	Expr	   *weight;
	Expr	   *cn;
	Expr	   *dw;
	Expr	   *none_now;
	Expr	   *none_before;

	/* only the left item is left, and two numbers beside it */
	result = left_alone(query, &context);
	weight = pgs_old_left(result, query, left, gone, deltas);
	pgs_rte_adopt(now, item, query);
	cn = add_number(result, now, (Expr *) pgs_make_aggref(F_COUNT_, NIL, NULL), "cn");
	dw = add_number(result, matches(pgs_subquery_item(copyObject(delta), "changed"), join->quals, &context),
					sum_of_weights(delta), "dw");
	none_now = pgs_operation(lookup_type_cache(INT8OID, TYPECACHE_EQ_OPR)->eq_opr, cn, pgs_int8_const(0));
	none_before = pgs_operation(lookup_type_cache(INT8OID, TYPECACHE_EQ_OPR)->eq_opr, copyObject(cn), dw);

	/* first of all, so that the plan may begin with the changed rows */
	exists->subLinkType = EXISTS_SUBLINK;
	exists->subselect = (Node *) matches(pgs_subquery_item(delta, "changed"), join->quals, &context);
	exists->location = -1;
	result->hasSubLinks = true;
	result->jointree->quals = (Node *)
		makeBoolExpr(AND_EXPR, list_make2(exists, pgs_operation(BooleanNotEqualOperator, copyObject(none_now),
															copyObject(none_before))), -1);
	pgs_add_weight(result, pgs_product(weight, (Expr *) makeFuncExpr(F_INT8MI, INT8OID,
																 list_make2(as_number(none_now), as_number(none_before)),
																 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL)));
	return result;
}

/* ---- by key ---- */

/* "left = right" of a join's condition. */
typedef struct
{
	OpExpr	   *op;
	int			right;			/* which argument is that of the right side */
	bool		null_safe;
} Equality;

typedef struct
{
	List	   *equalities;		/* of Equality */
	List	   *right_only;		/* conditions */
	List	   *left_only;
} Condition;

/* Whether the right side of an equality can be grouped by what the equality means. */
static bool
read_equality(Node *qual, SubContext *context, Equality *e)
{
	OpExpr	   *op = (OpExpr *) qual;
	TypeCacheEntry *entry;
	Node	   *right;

	e->null_safe = IsA(qual, BoolExpr) && ((BoolExpr *) qual)->boolop == NOT_EXPR &&
		IsA(linitial(((BoolExpr *) qual)->args), DistinctExpr);
	if (e->null_safe)
		op = linitial(((BoolExpr *) qual)->args);
	else if (!IsA(op, OpExpr))
		return false;
	if (list_length(op->args) != 2 || !op_mergejoinable(op->opno, exprType(linitial(op->args))) || !op_strict(op->opno))
		return false;
	for (e->right = 0; e->right < 2; e->right++)
		if (bms_membership(pull_varnos(NULL, list_nth(op->args, e->right))) == BMS_SINGLETON &&
			bms_is_member(context->right, pull_varnos(NULL, list_nth(op->args, e->right))) &&
			!bms_is_member(context->right, pull_varnos(NULL, list_nth(op->args, 1 - e->right))))
			break;
	if (e->right == 2)
		return false;
	e->op = op;
	right = list_nth(op->args, e->right);
	entry = lookup_type_cache(exprType(right), TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR | TYPECACHE_HASH_PROC);
	if (!OidIsValid(entry->eq_opr) || (!OidIsValid(entry->lt_opr) && !OidIsValid(entry->hash_proc)) ||
		exprCollation(right) != op->inputcollid || expression_returns_set(right))
		return false;
	return pgs_is_equality_of(op->opno, entry->eq_opr);
}

static bool
read_condition(Node *quals, SubContext *context, Condition *c)
{
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) quals))
	{
		Bitmapset  *items = pull_varnos(NULL, lfirst(lc));
		Equality   *e = palloc(sizeof(Equality));

		if (!bms_is_member(context->right, items))
			c->left_only = lappend(c->left_only, lfirst(lc));
		else if (bms_membership(items) == BMS_SINGLETON)
			c->right_only = lappend(c->right_only, lfirst(lc));
		else if (read_equality(lfirst(lc), context, e))
			c->equalities = lappend(c->equalities, e);
		else
			return false;
	}
	return c->equalities != NIL;
}

/* SELECT right sides of the equalities, "last" FROM right WHERE conditions on it alone */
static Query *
right_keys(RangeTblEntry *right, const Condition *c, Expr *last, const char *name, SubContext *context)
{
	Query	   *query = pgs_select_from(right);
	ListCell   *lc;

	foreach(lc, c->equalities)
	{
		Equality   *e = lfirst(lc);
		int			n = foreach_current_index(lc) + 1;

		query->targetList = lappend(query->targetList,
									pgs_target((Expr *) sub_mutator(list_nth(e->op->args, e->right), context), n,
											   psprintf("k%d", n)));
	}
	query->targetList = lappend(query->targetList, pgs_target(last, list_length(query->targetList) + 1, name));
	if (c->right_only)
		query->jointree->quals = sub_mutator((Node *) make_ands_explicit(copyObject(c->right_only)), context);
	return query;
}

/* An expression of one side of an equality, of a type and collation; "e" as it stands with other arguments. */
static Node *
equality_with(const Equality *e, Expr *left, Expr *right)
{
	OpExpr	   *op = copyObject(e->op);

	op->args = e->right == 0 ? list_make2(right, left) : list_make2(left, right);
	return e->null_safe ? (Node *) makeBoolExpr(NOT_EXPR, list_make1(op), -1) : (Node *) op;
}

static Var *
key_var(Query *keys, int varno, int n)
{
	Node	   *expr = (Node *) list_nth_node(TargetEntry, keys->targetList, n - 1)->expr;

	return makeVar(varno, n, exprType(expr), exprTypmod(expr), exprCollation(expr), 0);
}

/*
 * The keys for which padded rows come or go, and how: columns k1 ..., change (1 or -1).
 */
static Query *
changed_keys(const Condition *c, Query *delta, Query *now)
{
	StringInfoData keys;
	StringInfoData grouped;
	Query	   *result;
	JoinExpr   *join;
	Query	   *counted;
	List	   *quals = NIL;
	ListCell   *lc;

	initStringInfo(&keys);
	initStringInfo(&grouped);
	for (int i = 1; i <= list_length(c->equalities); i++)
	{
		appendStringInfo(&keys, "k%d, ", i);
		appendStringInfo(&grouped, "g.k%d, ", i);
	}
	/* where the weights of a key sum to 0, it has matches now if it had them before */
	result = pgs_delta_parse(psprintf("SELECT %1$s ((cn = 0)::int - (cn = dw)::int)::int8 AS change FROM ("
									  "SELECT %2$s g.dw, count(r.one) AS cn FROM ("
									  "SELECT %1$s sum(weight)::int8 AS dw FROM d GROUP BY %3$s HAVING sum(weight) <> 0) g "
									  "LEFT JOIN r ON true GROUP BY %2$s g.dw) x WHERE (cn = 0) <> (cn = dw)",
									  keys.data, grouped.data, pnstrdup(keys.data, keys.len - 2)),
							 delta, now);
	/* by the operators of the condition, not by those of a name */
	counted = rt_fetch(1, result->rtable)->subquery;
	join = linitial_node(JoinExpr, counted->jointree->fromlist);
	foreach(lc, c->equalities)
	{
		int			n = foreach_current_index(lc) + 1;
		Var		   *x = key_var(delta, 1, n);
		Var		   *y = key_var(now, 2, n);
		Oid			eqop = lookup_type_cache(x->vartype, TYPECACHE_EQ_OPR)->eq_opr;

		quals = lappend(quals, ((Equality *) lfirst(lc))->null_safe ? pgs_not_distinct(eqop, (Expr *) x, (Expr *) y) :
						pgs_operation(eqop, (Expr *) x, (Expr *) y));
	}
	join->quals = (Node *) make_ands_explicit(quals);
	return result;
}

static Query *
by_key(Query *query, const Condition *c, SubContext *context, bool gone, List *deltas)
{
	Query	   *result = left_alone(query, context);
	RangeTblEntry *right = rt_fetch(context->right, query->rtable);
	Query	   *delta = pgs_item_delta(right, query, deltas);
	Var		   *weight = makeVar(1, list_length(delta->targetList), INT8OID, -1, InvalidOid, 0);
	RangeTblEntry *item = copyObject(right);
	RangeTblRef *ref = makeNode(RangeTblRef);
	Expr	   *left_weight = pgs_old_left(result, query, context->left, gone, deltas);
	List	   *quals = copyObject(c->left_only);
	Query	   *now;
	Query	   *changed;
	ListCell   *lc;

	delta = right_keys(pgs_subquery_item(delta, "changed"), c, (Expr *) weight, "weight", context);
	now = right_keys(item, c, (Expr *) makeBoolConst(true, false), "one", context);
	pgs_rte_adopt(now, item, query);
	changed = changed_keys(c, delta, now);
	result->rtable = lappend(result->rtable, pgs_subquery_item(changed, "padding"));
	ref->rtindex = list_length(result->rtable);
	result->jointree->fromlist = lappend(result->jointree->fromlist, ref);
	foreach(lc, c->equalities)
	{
		Equality   *e = lfirst(lc);

		quals = lappend(quals, equality_with(e, copyObject(list_nth(e->op->args, 1 - e->right)),
											 (Expr *) key_var(delta, ref->rtindex, foreach_current_index(lc) + 1)));
	}
	result->jointree->quals = pgs_without_nulling((Node *) make_ands_explicit(quals));
	pgs_add_weight(result, pgs_product(left_weight, (Expr *) makeVar(ref->rtindex, list_length(c->equalities) + 1, INT8OID, -1,
																	 InvalidOid, 0)));
	return result;
}

/*
 * What changes of the padded rows of a level that is a LEFT JOIN, for the left side as it is, or "gone" from it, when the right side has
 * changed.
 */
Query *
pgs_delta_padding(Query *query, int left, int right, bool gone, List *deltas)
{
	JoinExpr   *join = linitial_node(JoinExpr, query->jointree->fromlist);
	SubContext	context = {.left = left, .right = right};
	Condition	condition = {0};

	if (read_condition(join->quals, &context, &condition))
		return by_key(query, &condition, &context, gone, deltas);
	return by_row(query, left, right, gone, deltas);
}
