/*
 * on.c - subqueries in the conditions of outer joins
 *
 * L LEFT JOIN R ON p AND s, with s a condition that holds subqueries and refers to one side only, is the same join with s computed as a column
 * of that side:
 *
 *     (SELECT *, s FROM L) L LEFT JOIN R ON p AND L.s
 *
 * and so for any kind of outer join.  The side is a level of its own then, where subqueries in columns have a rule (sublink.c).
 */
#include "postgres.h"

#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

/* An outer join beneath a node whose condition holds a subquery; NULL if there is none. */
static JoinExpr *
find_join(Node *node)
{
	JoinExpr   *join = (JoinExpr *) node;
	JoinExpr   *found;
	ListCell   *lc;

	if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
		{
			found = find_join(lfirst(lc));
			if (found)
				return found;
		}
		return NULL;
	}
	if (!IsA(node, JoinExpr))
		return NULL;
	found = find_join(join->larg);
	if (!found)
		found = find_join(join->rarg);
	if (!found && checkExprHasSubLink(join->quals))
		found = join;
	return found;
}

/* Where the side of a join hangs that a condition refers to; NULL if it refers to both. */
static Node **
side_of(JoinExpr *join, Node *qual)
{
	Bitmapset  *refers = pull_varnos(NULL, qual);
	Bitmapset  *left = NULL;
	Bitmapset  *right = NULL;
	Bitmapset  *joins = NULL;

	pgs_gather_items(join->larg, &left, &joins);
	pgs_gather_items(join->rarg, &right, &joins);
	/* (a join that makes a column NULL counts as referred to, from 16 on) */
	if (!bms_overlap(refers, left))
		return &join->rarg;
	return bms_overlap(refers, right) ? NULL : &join->larg;
}

static JoinExpr *
join_by_index(Node *node, int rtindex)
{
	JoinExpr   *join = (JoinExpr *) node;
	JoinExpr   *found = NULL;
	ListCell   *lc;

	if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
			found = found ? found : join_by_index(lfirst(lc), rtindex);
		return found;
	}
	if (!IsA(node, JoinExpr) || join->rtindex == rtindex)
		return IsA(node, JoinExpr) ? join : NULL;
	found = join_by_index(join->larg, rtindex);
	return found ? found : join_by_index(join->rarg, rtindex);
}

/* Compute a condition of a join on the side that it refers to, and let the join ask for that column; false if that can't be done. */
static bool
move_condition(Query *query, JoinExpr *join, Node *qual)
{
	Node	  **side = side_of(join, qual);
	List	   *rest = list_delete_ptr(make_ands_implicit((Expr *) join->quals), qual);
	int			rtindex = join->rtindex;
	RangeTblEntry *item;
	TargetEntry *column;

	/* the condition is one of the side's level from now on */
	join->quals = pgs_all_of(rest);
	if (!side || !pgs_pack_node(query, side))
		return false;
	item = llast_node(RangeTblEntry, query->rtable);
	column = pgs_target((Expr *) qual, list_length(item->subquery->targetList) + 1, "condition");
	item->subquery->targetList = lappend(item->subquery->targetList, column);
	item->subquery->hasSubLinks = true;
	lfirst(list_tail(query->rtable)) = item = pgs_subquery_item(item->subquery, "side");
	/* packing has copied the join tree */
	join = join_by_index((Node *) query->jointree, rtindex);
	rest = lappend(make_ands_implicit((Expr *) join->quals), makeVarFromTargetEntry(list_length(query->rtable), column));
	join->quals = pgs_all_of(rest);
	return true;
}

/*
 * Move the subqueries in conditions of outer joins into levels of their own, in place.  False if one refers to both sides.
 */
bool
pgs_cut_join_conditions(Query *query)
{
	JoinExpr   *join;

	while ((join = find_join((Node *) query->jointree)) != NULL)
	{
		Node	   *qual = NULL;
		ListCell   *lc;

		foreach(lc, make_ands_implicit((Expr *) join->quals))
			if (checkExprHasSubLink(lfirst(lc)))
				qual = lfirst(lc);
		if (!move_condition(query, join, qual))
			return false;
	}
	return true;
}
