/*
 * lateral.c - LATERAL subqueries in FROM
 *
 * A plain one beside other items is taken apart: its items and its WHERE join those of the level.  One that aggregates without GROUP BY
 * is one row for each row beside it, and becomes a LEFT JOIN of its aggregates by key, as a scalar subquery does.  Any other is made
 * independent (correlate.c), and joined by its key.
 */
#include "postgres.h"

#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

/* ---- references to an item, at every depth ---- */

typedef struct
{
	int			rtindex;
	Index		depth;
	List	   *exprs;			/* what stands for its columns; of the level itself */
} ReplaceContext;

static Node *
replace_mutator(Node *node, ReplaceContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == context->rtindex && ((Var *) node)->varlevelsup == context->depth &&
		((Var *) node)->varattno > 0)
	{
		Node	   *expr = copyObject(list_nth(context->exprs, ((Var *) node)->varattno - 1));

		if (context->depth > 0)
			IncrementVarSublevelsUp(expr, context->depth, 0);
		return expr;
	}
	if (IsA(node, Query))
	{
		Query	   *result;

		context->depth++;
		result = query_tree_mutator((Query *) node, replace_mutator, context, 0);
		context->depth--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, replace_mutator, context);
}

/* Put expressions in the place of an item's columns, in all of a level and beneath it. */
static void
replace_columns(Query *query, int rtindex, List *exprs)
{
	ReplaceContext context = {.rtindex = rtindex, .exprs = exprs};

	(void) query_tree_mutator(query, replace_mutator, &context, QTW_DONT_COPY_QUERY);
}

/* ---- beside others ---- */

/* Take a plain subquery of FROM apart: its items become the level's. */
static void
pull_up(Query *query, int rtindex, ListCell *place)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	Query	   *sub = rte->subquery;
	int			offset = list_length(query->rtable);
	List	   *exprs = NIL;
	ListCell   *lc;

	OffsetVarNodes((Node *) sub, offset, 0);
	IncrementVarSublevelsUp((Node *) sub, -1, 1);
	foreach(lc, sub->targetList)
		if (!lfirst_node(TargetEntry, lc)->resjunk)
			exprs = lappend(exprs, lfirst_node(TargetEntry, lc)->expr);
	/* what referred to the outside refers to its neighbours now */
	foreach(lc, sub->rtable)
	{
		RangeTblEntry *item = lfirst_node(RangeTblEntry, lc);

		item->lateral |= item->rtekind == RTE_SUBQUERY || item->rtekind == RTE_FUNCTION || item->rtekind == RTE_VALUES ||
			item->rtekind == RTE_TABLEFUNC;
	}
	pgs_remove_item(query, rtindex);
	/* its FROM and WHERE in its place; they are hoisted later */
	lfirst(place) = sub->jointree;
	pgs_combine_range_tables(query, sub);
	query->hasSubLinks |= sub->hasSubLinks;
	replace_columns(query, rtindex, exprs);
}

/* Put another subquery in the place of an item. */
void
pgs_set_subquery(Query *query, int rtindex, Query *sub)
{
	RangeTblEntry *old = rt_fetch(rtindex, query->rtable);
	RangeTblEntry *rte = pgs_subquery_item(sub, old->eref->aliasname);

	/* an arm of a set operation is in no FROM */
	rte->inFromCl = old->inFromCl;
	lfirst(list_nth_cell(query->rtable, rtindex - 1)) = rte;
}

/* What stands for the columns of a subquery that aggregates: expressions over Vars of the item that replaces it. */
static List *
outputs_over(Query *sub, List *aggrefs, int rtindex, int joinindex)
{
	List	   *vars = NIL;
	List	   *result = NIL;
	bool		known;
	ListCell   *lc;

	foreach(lc, aggrefs)
	{
		Var		   *var = makeVar(rtindex, foreach_current_index(lc) + 1, exprType(lfirst(lc)), exprTypmod(lfirst(lc)),
								  exprCollation(lfirst(lc)), 0);

		pgs_add_nullingrel(var, joinindex);
		vars = lappend(vars, var);
	}
	vars = pgs_values_or_empty(aggrefs, vars, &known);
	if (!known)
		return NIL;
	foreach(lc, sub->targetList)
		if (!lfirst_node(TargetEntry, lc)->resjunk)
			result = lappend(result, pgs_aggregates_outside((Node *) lfirst_node(TargetEntry, lc)->expr, aggrefs, vars));
	return result;
}

/* ---- the three ways ---- */

typedef struct
{
	PgsCut	   *cut;
	Query	   *query;
} Laterals;

static bool
refuse(Laterals *l, const char *why)
{
	return pgs_cut_refuse(l->cut, why) != NULL;
}

/* The one-row way; "join" is the LEFT JOIN that it stands in. */
static bool
join_aggregates(Laterals *l, int rtindex, Query *aggregates, List *aggrefs, JoinExpr *join, Query *domain)
{
	Query	   *sub = rt_fetch(rtindex, l->query->rtable)->subquery;
	RangeTblRef *ref = makeNode(RangeTblRef);
	List	   *matches;
	List	   *exprs;

	aggregates = pgs_decorrelate(aggregates, domain, true, &matches);
	if (!aggregates)
		return refuse(l, "a LATERAL subquery that refers to its neighbours in a way that has no rule yet");
	/* a new item, so that its columns are not taken for those of the old one */
	l->query->rtable = lappend(l->query->rtable, pgs_subquery_item(aggregates, "aggregates"));
	ref->rtindex = list_length(l->query->rtable);
	exprs = outputs_over(sub, aggrefs, ref->rtindex, join->rtindex);
	if (exprs == NIL)
		return refuse(l, "a LATERAL subquery with an aggregate whose value without rows is not known");
	join->rarg = (Node *) ref;
	/* for none, this is true */
	join->quals = (Node *) make_ands_explicit(pgs_match_conditions(matches, ref->rtindex));
	pgs_remove_item(l->query, rtindex);
	/* copies the join tree */
	replace_columns(l->query, rtindex, exprs);
	return true;
}

static bool
make_independent(Laterals *l, int rtindex, Node **quals, Query *domain)
{
	Query	   *sub = rt_fetch(rtindex, l->query->rtable)->subquery;
	List	   *matches;

	sub = pgs_decorrelate(sub, domain, false, &matches);
	if (!sub)
		return refuse(l, "a LATERAL subquery that refers to its neighbours in a way that has no rule yet");
	pgs_set_subquery(l->query, rtindex, sub);
	*quals = make_and_qual(*quals, pgs_all_of(pgs_match_conditions(matches, rtindex)));
	return true;
}

static bool
is_true(Node *quals)
{
	return quals == NULL || (IsA(quals, Const) && !((Const *) quals)->constisnull && DatumGetBool(((Const *) quals)->constvalue));
}

/* The index of an item that is a LATERAL subquery; 0 for others. */
static int
lateral_item(Query *query, Node *node)
{
	RangeTblEntry *rte;

	if (!IsA(node, RangeTblRef))
		return 0;
	rte = rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable);
	return rte->rtekind == RTE_SUBQUERY && rte->lateral ? ((RangeTblRef *) node)->rtindex : 0;
}

static bool next_in(Laterals *l, Node **place);

/* The items before a LATERAL one, and the conditions of WHERE that are about them alone. */
static Query *
domain_before(Query *query, FromExpr *from, List *items)
{
	Bitmapset  *known = NULL;
	Bitmapset  *joins = NULL;
	List	   *quals = NIL;
	ListCell   *lc;

	pgs_gather_items((Node *) makeFromExpr(items, NULL), &known, &joins);
	foreach(lc, make_ands_implicit((Expr *) from->quals))
		if (!checkExprHasSubLink(lfirst(lc)) && bms_is_subset(pull_varnos(NULL, lfirst(lc)), bms_union(known, joins)))
			quals = lappend(quals, lfirst(lc));
	return pgs_domain(query, items, quals);
}

/* A LATERAL subquery among the items of FROM. */
static bool
next_beside(Laterals *l, FromExpr *from, ListCell *cell)
{
	int			rtindex = lateral_item(l->query, lfirst(cell));
	Query	   *sub = rt_fetch(rtindex, l->query->rtable)->subquery;
	int			before = list_cell_number(from->fromlist, cell);
	List	   *items = list_truncate(list_copy(from->fromlist), before);
	List	   *aggrefs;
	Query	   *aggregates;
	Query	   *domain;
	JoinExpr   *join;

	if (pgs_is_plain(sub))
	{
		pull_up(l->query, rtindex, cell);
		return true;
	}
	domain = domain_before(l->query, from, items);
	aggregates = pgs_split_aggregates(sub, &aggrefs);
	if (!aggregates)
		return make_independent(l, rtindex, &from->quals, domain);
	/* (what is before it) LEFT JOIN it; what is behind it, and WHERE, may refer to it */
	join = pgs_make_left_join(l->query);
	join->larg = before == 1 ? linitial(items) : (Node *) makeFromExpr(items, NULL);
	join->rarg = lfirst(cell);
	from->fromlist = lcons(join, list_copy_tail(from->fromlist, before + 1));
	return join_aggregates(l, rtindex, aggregates, aggrefs, join, domain);
}

/* One on the right side of a LEFT JOIN. */
static bool
next_right(Laterals *l, JoinExpr *join)
{
	int			rtindex = lateral_item(l->query, join->rarg);
	List	   *aggrefs;
	Query	   *aggregates = NULL;
	Query	   *domain = pgs_domain(l->query, list_make1(join->larg), NIL);

	if (is_true(join->quals))
		aggregates = pgs_split_aggregates(rt_fetch(rtindex, l->query->rtable)->subquery, &aggrefs);
	return aggregates ? join_aggregates(l, rtindex, aggregates, aggrefs, join, domain) :
		make_independent(l, rtindex, &join->quals, domain);
}

/* The items of a FROM and of inner joins in it, in their order, and all conditions. */
static void
spread(Node *node, List **items, Node **quals)
{
	ListCell   *lc;

	if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
			spread(lfirst(lc), items, quals);
		*quals = make_and_qual(*quals, ((FromExpr *) node)->quals);
	}
	else if (IsA(node, JoinExpr) && ((JoinExpr *) node)->jointype == JOIN_INNER)
	{
		spread(((JoinExpr *) node)->larg, items, quals);
		spread(((JoinExpr *) node)->rarg, items, quals);
		*quals = make_and_qual(*quals, ((JoinExpr *) node)->quals);
	}
	else
		*items = lappend(*items, node);
}

/* The item that comes first in an outer join, where its place is. */
static Node **
leftmost(Node **place)
{
	while (IsA(*place, JoinExpr) && (((JoinExpr *) *place)->jointype == JOIN_LEFT || ((JoinExpr *) *place)->jointype == JOIN_INNER))
		place = &((JoinExpr *) *place)->larg;
	return place;
}

/*
 * Put what a LATERAL subquery refers to beside it: inner joins are items like others, and a, (b LEFT JOIN c) is (a, b) LEFT JOIN c.
 */
static void
arrange(Query *query, FromExpr *from)
{
	List	   *items = NIL;
	List	   *result = NIL;
	Node	   *quals = NULL;
	ListCell   *lc;

	spread((Node *) from, &items, &quals);
	foreach(lc, items)
	{
		Node	   *item = lfirst(lc);
		Node	  **first = leftmost(&item);

		if (result != NIL && IsA(item, JoinExpr) && lateral_item(query, *first))
		{
			*first = (Node *) makeFromExpr(lappend(result, *first), NULL);
			result = NIL;
		}
		result = lappend(result, item);
	}
	from->fromlist = result;
	from->quals = quals;
}

/* Replace one LATERAL subquery beneath a node of the join tree; false if there is none, or an obstacle was noted. */
static bool
next_in(Laterals *l, Node **place)
{
	if (IsA(*place, FromExpr))
	{
		FromExpr   *from = (FromExpr *) *place;
		ListCell   *lc;

		arrange(l->query, from);
		foreach(lc, from->fromlist)
		{
			if (lateral_item(l->query, lfirst(lc)))
				return next_beside(l, from, lc);
			if (next_in(l, (Node **) &lfirst(lc)) || l->cut->obstacle)
				return !l->cut->obstacle;
		}
	}
	else if (IsA(*place, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) *place;

		if (join->jointype == JOIN_INNER)
		{
			*place = (Node *) makeFromExpr(list_make2(join->larg, join->rarg), join->quals);
			return next_in(l, place);
		}
		/* what an outer join pads is no place for values that are not NULL without rows */
		if (join->jointype == JOIN_LEFT)
		{
			if (next_in(l, &join->larg) || l->cut->obstacle)
				return !l->cut->obstacle;
			return lateral_item(l->query, join->rarg) && next_right(l, join);
		}
	}
	return false;
}

/*
 * Replace the LATERAL subqueries of a level, in place.  False with an obstacle noted.
 */
bool
pgs_cut_laterals(PgsCut *cut, Query *query)
{
	Laterals	l = {.cut = cut, .query = query};
	bool		any = false;
	ListCell   *lc;

	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind != RTE_SUBQUERY || !rte->lateral)
			continue;
		if (rte->subquery->cteList && !pgs_cut_inline_ctes(rte->subquery))
			return pgs_cut_refuse(cut, "a recursive query") != NULL;
		pgs_flatten_groups(rte->subquery);
		rte->lateral = pgs_is_correlated(rte->subquery);
		any |= rte->lateral;
	}
	if (!any)
		return true;
	pgs_forget_join_aliases(query);
	while (next_in(&l, (Node **) &query->jointree))
		;
	if (cut->obstacle)
		return false;
	foreach(lc, query->rtable)
		if (lfirst_node(RangeTblEntry, lc)->rtekind == RTE_SUBQUERY && lfirst_node(RangeTblEntry, lc)->lateral)
			return refuse(&l, "a LATERAL subquery beneath an outer join");
	pgs_hoist_joins(query, false);
	return true;
}
