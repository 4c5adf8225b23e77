/*
 * outer.c - LEFT and RIGHT joins
 *
 * An outer join becomes a query level of its own, L LEFT JOIN R ON p and nothing else, with a table or subquery on each side.
 * What is above it sees one item like any other.  With cn the number of rows of new(R) that match a row l, and dw the sum of
 * weights in dR that do,
 *
 *     d(L left join R)  =  dL left join new(R)
 *                       +  old(L) join dR
 *                       +  (l, NULL) for each l of old(L) that dR matches, with weight [cn = 0] - [cn - dw = 0]
 *
 * The first line does everything about rows of L that come and go; the other two, what R does to those that stay: the rows
 * joined, and the padded row, there now less there before.  (Griffin and Kumar, "Algebraic change propagation for semijoin and
 * outerjoin queries", 1998, in the lopsided form.)
 */
#include "postgres.h"

#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/typcache.h"

/* ---- a level of its own ---- */

static bool
has_outer(Node *node)
{
	ListCell   *lc;

	if (IsA(node, JoinExpr))
		return ((JoinExpr *) node)->jointype != JOIN_INNER || has_outer(((JoinExpr *) node)->larg) ||
			has_outer(((JoinExpr *) node)->rarg);
	if (IsA(node, FromExpr))
		foreach(lc, ((FromExpr *) node)->fromlist)
			if (has_outer(lfirst(lc)))
				return true;
	return false;
}

/* Whether a level is just a LEFT JOIN of two items. */
bool
pgs_is_outer_level(Query *query)
{
	JoinExpr   *join;

	if (query->setOperations || list_length(query->jointree->fromlist) != 1 || query->jointree->quals)
		return false;
	join = linitial(query->jointree->fromlist);
	return IsA(join, JoinExpr) && join->jointype == JOIN_LEFT && IsA(join->larg, RangeTblRef) &&
		IsA(join->rarg, RangeTblRef);
}

/* Items and joins below a node of the join tree. */
static void
gather(Node *node, Bitmapset **items, Bitmapset **joins)
{
	ListCell   *lc;

	if (IsA(node, RangeTblRef))
		*items = bms_add_member(*items, ((RangeTblRef *) node)->rtindex);
	else if (IsA(node, JoinExpr))
	{
		*joins = bms_add_member(*joins, ((JoinExpr *) node)->rtindex);
		gather(((JoinExpr *) node)->larg, items, joins);
		gather(((JoinExpr *) node)->rarg, items, joins);
	}
	else
		foreach(lc, ((FromExpr *) node)->fromlist)
			gather(lfirst(lc), items, joins);
}

typedef struct
{
	Bitmapset  *items;			/* that are packed */
	Bitmapset  *joins;
	int			rtindex;		/* of the pack */
	List	   *targets;		/* its output columns, as they are asked for */
} Pack;

static Node *
pack_mutator(Node *node, Pack *pack)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0 && bms_is_member(((Var *) node)->varno, pack->items))
	{
		Var		   *inner = copyObject((Var *) node);
		Var		   *result;
		ListCell   *lc;
		int			resno = 0;

		pgs_keep_nullingrels(inner, pack->joins);
		foreach(lc, pack->targets)
			if (equal(lfirst_node(TargetEntry, lc)->expr, inner))
				resno = lfirst_node(TargetEntry, lc)->resno;
		if (resno == 0)
		{
			resno = list_length(pack->targets) + 1;
			pack->targets = lappend(pack->targets, pgs_target((Expr *) inner, resno, psprintf("c%d", resno)));
		}
		result = makeVar(pack->rtindex, resno, inner->vartype, inner->vartypmod, inner->varcollid, 0);
		pgs_copy_nullingrels(result, (Var *) node, pack->joins);
		return (Node *) result;
	}
	return expression_tree_mutator(node, pack_mutator, pack);
}

/* What a level doesn't use any more, or not yet: nothing that could be taken for a source. */
void
pgs_keep_items(Query *query, const Bitmapset *items)
{
	for (int i = 1; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte;

		if (bms_is_member(i, items))
			continue;
		rte = makeNode(RangeTblEntry);
		rte->rtekind = RTE_RESULT;
		rte->eref = makeAlias("unused", NIL);
		lfirst(list_nth_cell(query->rtable, i - 1)) = rte;
	}
}

static bool
outside_walker(Node *node, Pack *pack)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		return ((Var *) node)->varlevelsup == 0 && !bms_is_member(((Var *) node)->varno, pack->items);
	return expression_tree_walker(node, outside_walker, pack);
}

/*
 * Move a node of the join tree into a subquery; "place" is where it hangs.  False, if a function in it refers to an item outside.
 */
bool
pgs_pack_node(Query *query, Node **place)
{
	Pack		pack = {0};
	Query	   *sub = copyObject(query);
	Bitmapset  *items = NULL;
	Bitmapset  *joins = NULL;
	RangeTblRef *ref = makeNode(RangeTblRef);

	gather(*place, &pack.items, &pack.joins);
	pgs_bare_level(sub);
	sub->jointree = makeFromExpr(list_make1(copyObject(*place)), NULL);
	sub->hasSubLinks = checkExprHasSubLink((Node *) sub->jointree);
	pgs_keep_items(sub, bms_union(pack.items, pack.joins));
	if (query_tree_walker(sub, outside_walker, &pack, QTW_IGNORE_RT_SUBQUERIES))
		return false;
	pack.rtindex = ref->rtindex = list_length(query->rtable) + 1;
	*place = (Node *) ref;
	/* what was packed is no item any more */
	gather((Node *) query->jointree, &items, &joins);
	items = bms_del_member(bms_union(items, joins), pack.rtindex);
	pgs_keep_items(query, items);
	(void) query_tree_mutator(query, pack_mutator, &pack, QTW_DONT_COPY_QUERY | QTW_IGNORE_RT_SUBQUERIES);
	/* a level that nothing is asked of still has rows */
	if (pack.targets == NIL)
		pack.targets = list_make1(pgs_target((Expr *) makeBoolConst(true, false), 1, "c1"));
	sub->targetList = pack.targets;
	query->rtable = lappend(query->rtable, pgs_subquery_item(sub, "outer_join"));
	return true;
}

/* A LEFT JOIN for a level, whose sides and condition are to be set. */
JoinExpr *
pgs_make_left_join(Query *query)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	JoinExpr   *join = makeNode(JoinExpr);

	rte->rtekind = RTE_JOIN;
	rte->jointype = join->jointype = JOIN_LEFT;
	rte->eref = makeAlias("unnamed_join", NIL);
	rte->inFromCl = true;
	query->rtable = lappend(query->rtable, rte);
	join->rtindex = list_length(query->rtable);
	return join;
}

static bool
split_outer(Query *query, Node **place, bool alone)
{
	JoinExpr   *join = (JoinExpr *) *place;

	if (IsA(*place, FromExpr))
	{
		FromExpr   *from = (FromExpr *) *place;

		for (int i = 0; i < list_length(from->fromlist); i++)
		{
			/* packing copies the join tree: find the place anew each time */
			from = query->jointree;
			if (!split_outer(query, (Node **) &lfirst(list_nth_cell(from->fromlist, i)),
							 list_length(from->fromlist) == 1 && !from->quals))
				return false;
		}
		return true;
	}
	if (!has_outer(*place))
		return true;
	if (join->jointype == JOIN_RIGHT)
	{
		Node	   *left = join->larg;

		join->jointype = JOIN_LEFT;
		rt_fetch(join->rtindex, query->rtable)->jointype = JOIN_LEFT;
		join->larg = join->rarg;
		join->rarg = left;
	}
	/* the whole of it first, then within the new level each side */
	if (!alone || join->jointype == JOIN_INNER || join->jointype == JOIN_FULL)
		return pgs_pack_node(query, place);
	if (!IsA(join->larg, RangeTblRef) && !pgs_pack_node(query, &join->larg))
		return false;
	join = linitial_node(JoinExpr, query->jointree->fromlist);
	return IsA(join->rarg, RangeTblRef) || pgs_pack_node(query, &join->rarg);
}

/*
 * Let a level refer to the items of its joins by themselves, not by the columns of the joins; and the joins forget those, which
 * would be out of date as soon as an item is replaced.
 */
void
pgs_forget_join_aliases(Query *query)
{
	ListCell   *lc;

	query->targetList = (List *) pgs_flatten_aliases(query, (Node *) query->targetList);
	query->jointree = (FromExpr *) pgs_flatten_aliases(query, (Node *) query->jointree);
	query->havingQual = pgs_flatten_aliases(query, query->havingQual);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind != RTE_JOIN)
			continue;
		rte->joinaliasvars = rte->joinleftcols = rte->joinrightcols = NIL;
		rte->joinmergedcols = 0;
		rte->eref = makeAlias(rte->eref->aliasname, NIL);
		rte->alias = NULL;
	}
}

/* An inner join, or only one around an outer one: its sides become items of FROM, and its condition one of WHERE. */
void
pgs_hoist_joins(Query *query, bool around_outer)
{
	FromExpr   *from = query->jointree;

	for (int i = 0; i < list_length(from->fromlist);)
	{
		JoinExpr   *join = list_nth(from->fromlist, i);

		if (IsA(join, FromExpr))
		{
			FromExpr   *inner = (FromExpr *) join;

			from->fromlist = list_concat(list_delete_nth_cell(from->fromlist, i), inner->fromlist);
			from->quals = make_and_qual(from->quals, inner->quals);
		}
		else if (IsA(join, JoinExpr) && join->jointype == JOIN_INNER &&
				 (!around_outer || has_outer((Node *) join)))
		{
			from->fromlist = lappend(lappend(list_delete_nth_cell(from->fromlist, i), join->larg), join->rarg);
			from->quals = make_and_qual(from->quals, join->quals);
		}
		else
			i++;
	}
}

/*
 * Move the outer joins of a level into levels of their own, in place.  False if there is one that can't be.
 */
bool
pgs_cut_split_outer(Query *query)
{
	if (!has_outer((Node *) query->jointree))
		return true;
	pgs_forget_join_aliases(query);
	pgs_hoist_joins(query, true);
	return split_outer(query, (Node **) &query->jointree, true);
}

/* ---- the delta ---- */

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

/* FROM right WHERE p, for a row of the left side one level above; no columns yet. */
static Query *
matches(RangeTblEntry *right, Node *quals, SubContext *context)
{
	Query	   *query = pgs_select_from(right);

	query->jointree->quals = sub_mutator(copyObject(quals), context);
	return query;
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

static Node *
inner_mutator(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0)
	{
		Var		   *var = copyObject((Var *) node);

		pgs_keep_nullingrels(var, NULL);
		return (Node *) var;
	}
	return expression_tree_mutator(node, inner_mutator, context);
}

/* dL left join new(R) */
static Query *
left_changes(Query *query, int left, List *deltas)
{
	Query	   *result = copyObject(query);

	pgs_add_weight(result, pgs_replace_item(result, left, pgs_item_delta(rt_fetch(left, query->rtable), query, deltas)));
	return result;
}

/* The left item as it was, and its weight; NULL where it has not changed. */
static Expr *
old_left(Query *result, Query *query, int left, List *deltas)
{
	RangeTblEntry *rte = rt_fetch(left, query->rtable);

	if (!pgs_item_changed(rte, deltas))
		return NULL;
	return pgs_replace_item(result, left, pgs_item_old(rte, query, deltas));
}

/* old(L) join dR */
static Query *
right_changes(Query *query, int left, int right, List *deltas)
{
	Query	   *result = copyObject(query);
	JoinExpr   *join = linitial_node(JoinExpr, result->jointree->fromlist);
	Expr	   *weight;

	join->jointype = JOIN_INNER;
	/* the planner looks for outer joins in the range table, too */
	rt_fetch(join->rtindex, result->rtable)->jointype = JOIN_INNER;
	result->targetList = (List *) inner_mutator((Node *) result->targetList, NULL);
	weight = old_left(result, query, left, deltas);
	pgs_add_weight(result, pgs_product(weight, pgs_replace_item(result, right,
															pgs_item_delta(rt_fetch(right, query->rtable), query, deltas))));
	return result;
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

/* (l, NULL) with weight [cn = 0] - [cn = dw] */
static Query *
padding_changes(Query *query, int left, int right, List *deltas)
{
	Query	   *result = copyObject(query);
	JoinExpr   *join = linitial_node(JoinExpr, query->jointree->fromlist);
	SubContext	context = {.left = left, .right = right};
	RangeTblRef *ref = makeNode(RangeTblRef);
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
	ref->rtindex = left;
	result->jointree = makeFromExpr(list_make1(ref), NULL);
	pgs_keep_items(result, bms_make_singleton(left));
	result->targetList = (List *) inner_mutator(null_right_mutator((Node *) result->targetList, &context), NULL);
	weight = old_left(result, query, left, deltas);
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

/*
 * The delta of a level that is a LEFT JOIN, as arms to be united; NIL if nothing has changed.
 */
List *
pgs_delta_outer(Query *query, List *deltas)
{
	JoinExpr   *join = linitial_node(JoinExpr, query->jointree->fromlist);
	int			left = ((RangeTblRef *) join->larg)->rtindex;
	int			right = ((RangeTblRef *) join->rarg)->rtindex;
	List	   *result = NIL;

	if (pgs_item_changed(rt_fetch(left, query->rtable), deltas))
		result = lappend(result, left_changes(query, left, deltas));
	if (pgs_item_changed(rt_fetch(right, query->rtable), deltas))
	{
		result = lappend(result, right_changes(query, left, right, deltas));
		result = lappend(result, padding_changes(query, left, right, deltas));
	}
	return result;
}
