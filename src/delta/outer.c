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
void
pgs_gather_items(Node *node, Bitmapset **items, Bitmapset **joins)
{
	ListCell   *lc;

	if (IsA(node, RangeTblRef))
		*items = bms_add_member(*items, ((RangeTblRef *) node)->rtindex);
	else if (IsA(node, JoinExpr))
	{
		*joins = bms_add_member(*joins, ((JoinExpr *) node)->rtindex);
		pgs_gather_items(((JoinExpr *) node)->larg, items, joins);
		pgs_gather_items(((JoinExpr *) node)->rarg, items, joins);
	}
	else
		foreach(lc, ((FromExpr *) node)->fromlist)
			pgs_gather_items(lfirst(lc), items, joins);
}

typedef struct
{
	Bitmapset  *items;			/* that are packed */
	Bitmapset  *joins;
	int			rtindex;		/* of the pack */
	Index		depth;			/* of the subquery in an expression that we are in */
	List	   *targets;		/* its output columns, as they are asked for */
} Pack;

static Node *
pack_mutator(Node *node, Pack *pack)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == pack->depth && bms_is_member(((Var *) node)->varno, pack->items))
	{
		Var		   *inner = copyObject((Var *) node);
		Var		   *result;
		ListCell   *lc;
		int			resno = 0;

		inner->varlevelsup = 0;
		pgs_keep_nullingrels(inner, pack->joins);
		foreach(lc, pack->targets)
			if (equal(lfirst_node(TargetEntry, lc)->expr, inner))
				resno = lfirst_node(TargetEntry, lc)->resno;
		if (resno == 0)
		{
			resno = list_length(pack->targets) + 1;
			pack->targets = lappend(pack->targets, pgs_target((Expr *) inner, resno, psprintf("c%d", resno)));
		}
		result = makeVar(pack->rtindex, resno, inner->vartype, inner->vartypmod, inner->varcollid, pack->depth);
		pgs_copy_nullingrels(result, (Var *) node, pack->joins);
		return (Node *) result;
	}
	if (IsA(node, Query))
	{
		Query	   *result;

		pack->depth++;
		result = query_tree_mutator((Query *) node, pack_mutator, pack, 0);
		pack->depth--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, pack_mutator, pack);
}

/* Leave nothing in the place of an item that could be taken for a source. */
void
pgs_remove_item(Query *query, int rtindex)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RESULT;
	rte->eref = makeAlias("unused", NIL);
	lfirst(list_nth_cell(query->rtable, rtindex - 1)) = rte;
}

/* Remove what a level doesn't use any more, or not yet. */
void
pgs_keep_items(Query *query, const Bitmapset *items)
{
	for (int i = 1; i <= list_length(query->rtable); i++)
		if (!bms_is_member(i, items))
			pgs_remove_item(query, i);
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

	pgs_gather_items(*place, &pack.items, &pack.joins);
	pgs_bare_level(sub);
	sub->jointree = makeFromExpr(list_make1(copyObject(*place)), NULL);
	sub->hasSubLinks = checkExprHasSubLink((Node *) sub->jointree);
	pgs_keep_items(sub, bms_union(pack.items, pack.joins));
	if (query_tree_walker(sub, outside_walker, &pack, QTW_IGNORE_RT_SUBQUERIES))
		return false;
	pack.rtindex = ref->rtindex = list_length(query->rtable) + 1;
	*place = (Node *) ref;
	/* what was packed is no item any more */
	pgs_gather_items((Node *) query->jointree, &items, &joins);
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

/* Items of FROM that are lists of items become items themselves. */
void
pgs_flatten_from(Query *query)
{
	FromExpr   *from = query->jointree;

	for (int i = 0; i < list_length(from->fromlist);)
	{
		FromExpr   *inner = list_nth(from->fromlist, i);

		if (IsA(inner, FromExpr))
		{
			from->fromlist = list_concat(list_delete_nth_cell(from->fromlist, i), inner->fromlist);
			from->quals = make_and_qual(from->quals, inner->quals);
		}
		else
			i++;
	}
}

/* An inner join, or only one around an outer one: its sides become items of FROM, and its condition one of WHERE. */
void
pgs_hoist_joins(Query *query, bool around_outer)
{
	FromExpr   *from = query->jointree;

	pgs_flatten_from(query);
	for (int i = 0; i < list_length(from->fromlist);)
	{
		JoinExpr   *join = list_nth(from->fromlist, i);

		if (IsA(join, JoinExpr) && join->jointype == JOIN_INNER &&
				 (!around_outer || has_outer((Node *) join)))
		{
			from->fromlist = lappend(lappend(list_delete_nth_cell(from->fromlist, i), join->larg), join->rarg);
			from->quals = make_and_qual(from->quals, join->quals);
			pgs_flatten_from(query);
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

/* Columns of a join that is none any more, or an inner one: nothing makes them NULL. */
Node *
pgs_without_nulling(Node *node)
{
	return inner_mutator(node, NULL);
}

/* dL left join new(R) */
static Query *
left_changes(Query *query, int left, List *deltas)
{
	Query	   *result = copyObject(query);

	pgs_add_weight(result, pgs_replace_item(result, left, pgs_item_delta(rt_fetch(left, query->rtable), query, deltas)));
	return result;
}

/*
 * The left item as it was is as it is, less its delta: of the two terms, one with the item in its place and one, negated, with its
 * delta.  Returns the weight of the item, NULL for 1.
 */
Expr *
pgs_old_left(Query *result, Query *query, int left, bool gone, List *deltas)
{
	return gone ? pgs_negated(pgs_replace_item(result, left, pgs_item_delta(rt_fetch(left, query->rtable), query, deltas))) : NULL;
}

/* old(L) join dR */
static Query *
right_changes(Query *query, int left, int right, bool gone, List *deltas)
{
	Query	   *result = copyObject(query);
	JoinExpr   *join = linitial_node(JoinExpr, result->jointree->fromlist);
	Expr	   *weight;

	join->jointype = JOIN_INNER;
	/* the planner looks for outer joins in the range table, too */
	rt_fetch(join->rtindex, result->rtable)->jointype = JOIN_INNER;
	result->targetList = (List *) pgs_without_nulling((Node *) result->targetList);
	weight = pgs_old_left(result, query, left, gone, deltas);
	pgs_add_weight(result, pgs_product(weight, pgs_replace_item(result, right,
															pgs_item_delta(rt_fetch(right, query->rtable), query, deltas))));
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

	bool		left_changed = pgs_item_changed(rt_fetch(left, query->rtable), deltas);

	if (left_changed)
		result = lappend(result, left_changes(query, left, deltas));
	if (pgs_item_changed(rt_fetch(right, query->rtable), deltas))
		for (int gone = 0; gone <= left_changed; gone++)
		{
			result = lappend(result, right_changes(query, left, right, gone, deltas));
			result = lappend(result, pgs_delta_padding(query, left, right, gone, deltas));
		}
	return result;
}
