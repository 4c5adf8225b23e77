/*
 * union.c - UNION ALL, UNION as a DISTINCT of it, and trees of set operations of several kinds
 *
 * The delta of a UNION ALL is the UNION ALL of the deltas of its arms.  An arm may give other types than the whole; the planner
 * coerces them behind our back, so we do it first: then every arm can stand for itself.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"

static bool
is_union(Node *node)
{
	SetOperationStmt *op = (SetOperationStmt *) node;

	return IsA(node, RangeTblRef) || (op->op == SETOP_UNION && is_union(op->larg) && is_union(op->rarg));
}

static void
gather_arms(Node *node, List **arms)
{
	if (IsA(node, RangeTblRef))
		*arms = lappend_int(*arms, ((RangeTblRef *) node)->rtindex);
	else
	{
		gather_arms(((SetOperationStmt *) node)->larg, arms);
		gather_arms(((SetOperationStmt *) node)->rarg, arms);
	}
}

/* Wrap a query so that its columns have just the types and names of "targets". */
static Query *
coerced(Query *arm, const List *targets)
{
	Query	   *query = pgs_select_from(pgs_subquery_item(arm, "arm"));
	bool		same = true;
	ListCell   *lc;

	foreach(lc, targets)
	{
		TargetEntry *wanted = lfirst_node(TargetEntry, lc);
		TargetEntry *given = get_tle_by_resno(arm->targetList, wanted->resno);
		Node	   *var = (Node *) makeVarFromTargetEntry(1, given);
		Node	   *expr = coerce_to_target_type(NULL, var, exprType(var), exprType((Node *) wanted->expr),
												 exprTypmod((Node *) wanted->expr), COERCION_IMPLICIT,
												 COERCE_IMPLICIT_CAST, -1);

		if (!expr)
			return NULL;
		same &= expr == var;
		query->targetList = lappend(query->targetList, pgs_target((Expr *) expr, wanted->resno, wanted->resname));
	}
	return same ? arm : query;
}

/* arm UNION ALL arm ...: all with the same columns. */
Query *
pgs_delta_union_all(List *arms)
{
	Query	   *first = linitial(arms);
	Query	   *query;
	Node	   *tree = NULL;
	ListCell   *lc;

	if (list_length(arms) == 1)
		return first;
	query = makeNode(Query);
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->jointree = makeFromExpr(NIL, NULL);
	foreach(lc, arms)
	{
		RangeTblRef *ref = makeNode(RangeTblRef);
		SetOperationStmt *op;
		ListCell   *target;

		query->rtable = lappend(query->rtable, pgs_subquery_item(lfirst(lc), "arm"));
		((RangeTblEntry *) llast(query->rtable))->inFromCl = false;
		ref->rtindex = list_length(query->rtable);
		if (tree == NULL)
		{
			tree = (Node *) ref;
			continue;
		}
		op = makeNode(SetOperationStmt);
		op->op = SETOP_UNION;
		op->all = true;
		op->larg = tree;
		op->rarg = (Node *) ref;
		foreach(target, first->targetList)
		{
			Node	   *expr = (Node *) lfirst_node(TargetEntry, target)->expr;

			if (lfirst_node(TargetEntry, target)->resjunk)
				continue;
			op->colTypes = lappend_oid(op->colTypes, exprType(expr));
			op->colTypmods = lappend_int(op->colTypmods, exprTypmod(expr));
			op->colCollations = lappend_oid(op->colCollations, exprCollation(expr));
		}
		tree = (Node *) op;
	}
	query->setOperations = tree;
	query->targetList = pgs_vars_of(first->targetList);
	return query;
}

/* ---- operations of several kinds ---- */

/* Output columns of the types that a set operation has found for its arms. */
static List *
typed_targets(SetOperationStmt *op, Query *arm)
{
	List	   *result = NIL;
	ListCell   *type;
	ListCell   *typmod;
	ListCell   *collation;

	forthree(type, op->colTypes, typmod, op->colTypmods, collation, op->colCollations)
	{
		int			n = foreach_current_index(type) + 1;
		char	   *name = get_tle_by_resno(arm->targetList, n)->resname;

		result = lappend(result, pgs_target((Expr *) makeNullConst(lfirst_oid(type), lfirst_int(typmod),
																   lfirst_oid(collation)),
											n, name ? name : "column"));
	}
	return result;
}

static Query *
distinct(Query *query)
{
	Query	   *result = pgs_select_from(pgs_subquery_item(query, "united"));

	result->targetList = pgs_vars_of(query->targetList);
	pgs_make_distinct(result);
	return result;
}

/* One node of a tree of set operations as a query that has no such tree, or one of UNION ALL.  NULL: types without a cast. */
static Query *
query_of(Query *query, Node *node)
{
	SetOperationStmt *op = (SetOperationStmt *) node;
	Query	   *left;
	Query	   *right;
	List	   *targets;

	check_stack_depth();
	if (IsA(node, RangeTblRef))
		return rt_fetch(((RangeTblRef *) node)->rtindex, query->rtable)->subquery;
	left = query_of(query, op->larg);
	right = query_of(query, op->rarg);
	if (!left || !right)
		return NULL;
	targets = typed_targets(op, left);
	left = coerced(left, targets);
	right = coerced(right, targets);
	if (!left || !right)
		return NULL;
	if (op->op != SETOP_UNION)
		return pgs_intersect_as_counts(op->op, op->all, left, right);
	return op->all ? pgs_delta_union_all(list_make2(left, right)) : distinct(pgs_delta_union_all(list_make2(left, right)));
}

/* ---- the cut ---- */

/* Cut arms of one kind. */
static Query *
cut_arms(PgsCut *cut, Query *query)
{
	SetOperationStmt *top = castNode(SetOperationStmt, query->setOperations);
	List	   *indexes = NIL;
	List	   *arms = NIL;
	ListCell   *lc;

	gather_arms((Node *) top, &indexes);
	foreach(lc, indexes)
	{
		Query	   *arm = pgs_cut_query(cut, rt_fetch(lfirst_int(lc), query->rtable)->subquery);

		if (!arm)
			return NULL;
		arm = coerced(arm, query->targetList);
		if (!arm)
			return pgs_cut_refuse(cut, "a set operation on types that have no implicit cast");
		arms = lappend(arms, arm);
	}
	if (top->all)
		return pgs_delta_union_all(arms);
	return pgs_cut_distinct(cut, pgs_delta_union_all(arms));
}

/* Cut a set operation. */
Query *
pgs_cut_union(PgsCut *cut, Query *query)
{
	SetOperationStmt *top = castNode(SetOperationStmt, query->setOperations);
	Query	   *simpler;
	ListCell   *lc;

	/* beneath a UNION, UNION ALL makes no difference; the other way round it would */
	if (top->all ? pgs_query_is_union_all(query) : is_union((Node *) top))
		return cut_arms(cut, query);
	simpler = query_of(query, (Node *) top);
	if (!simpler)
		return pgs_cut_refuse(cut, "a set operation on types that have no implicit cast");
	simpler = pgs_cut_query(cut, simpler);
	if (simpler)
		foreach(lc, simpler->targetList)
			lfirst_node(TargetEntry, lc)->resname =
				get_tle_by_resno(query->targetList, foreach_current_index(lc) + 1)->resname;
	return simpler;
}
