/*
 * union.c - UNION ALL, and UNION as a DISTINCT of it
 *
 * The delta of a UNION ALL is the UNION ALL of the deltas of its arms.  An arm may give other types than the whole; the planner
 * coerces them behind our back, so we do it first: then every arm can stand for itself.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
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
		Node	   *var = (Node *) makeVar(1, wanted->resno, exprType((Node *) given->expr),
										   exprTypmod((Node *) given->expr), exprCollation((Node *) given->expr), 0);
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

/* Cut a set operation. */
Query *
pgs_cut_union(PgsCut *cut, Query *query)
{
	SetOperationStmt *top = castNode(SetOperationStmt, query->setOperations);
	List	   *indexes = NIL;
	List	   *arms = NIL;
	ListCell   *lc;

	/* beneath a UNION, UNION ALL makes no difference; the other way round it would */
	if (!(top->all ? pgs_query_is_union_all(query) : is_union((Node *) top)))
		return pgs_cut_refuse(cut, "a set operation other than UNION [ALL]");
	gather_arms((Node *) top, &indexes);
	foreach(lc, indexes)
	{
		Query	   *arm = pgs_cut_query(cut, rt_fetch(lfirst_int(lc), query->rtable)->subquery);

		if (!arm)
			return NULL;
		arm = coerced(arm, query->targetList);
		if (!arm)
			return pgs_cut_refuse(cut, "a UNION of types that have no implicit cast");
		arms = lappend(arms, arm);
	}
	if (top->all)
		return pgs_delta_union_all(arms);
	return pgs_cut_distinct(cut, pgs_delta_union_all(arms));
}
