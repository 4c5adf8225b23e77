/*
 * full.c - FULL joins
 *
 *     L FULL JOIN R ON p  =  L LEFT JOIN R ON p
 *                         UNION ALL
 *                            SELECT NULLs, R.* FROM R LEFT JOIN (SELECT true AS one, L.*) l ON p WHERE l.one IS NULL
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"

/* Whether a level is a FULL JOIN, projected, and nothing else. */
bool
pgs_is_full_level(Query *query)
{
	JoinExpr   *join;

	if (query->setOperations || list_length(query->jointree->fromlist) != 1 || query->jointree->quals ||
		query->hasAggs || query->groupClause || query->havingQual || query->hasWindowFuncs || query->distinctClause ||
		query->hasTargetSRFs || query->limitCount || query->limitOffset || query->hasSubLinks)
		return false;
	join = linitial(query->jointree->fromlist);
	return IsA(join, JoinExpr) && join->jointype == JOIN_FULL;
}

typedef struct
{
	int			keep;			/* item whose Vars may be NULL by the join; others are not */
	int			null;			/* item whose Vars are NULL always; 0: none */
} SideContext;

static Node *
side_mutator(Node *node, SideContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == 0)
	{
		Var		   *var = copyObject((Var *) node);

		if (var->varno == context->null)
			return (Node *) makeNullConst(var->vartype, var->vartypmod, var->varcollid);
		if (var->varno != context->keep)
			pgs_keep_nullingrels(var, NULL);
		return (Node *) var;
	}
	return expression_tree_mutator(node, side_mutator, context);
}

static JoinExpr *
as_left_join(Query *query)
{
	JoinExpr   *join = linitial_node(JoinExpr, query->jointree->fromlist);

	join->jointype = JOIN_LEFT;
	rt_fetch(join->rtindex, query->rtable)->jointype = JOIN_LEFT;
	return join;
}

/* The rows of the right side that nothing of the left one matches. */
static Query *
unmatched(Query *query)
{
	Query	   *result = copyObject(query);
	JoinExpr   *join = as_left_join(result);
	SideContext side = {.null = ((RangeTblRef *) join->larg)->rtindex};
	RangeTblEntry *left;
	Node	   *right = join->rarg;
	Query	   *marked;
	Var		   *one;
	int			n;

	result->targetList = (List *) side_mutator((Node *) result->targetList, &side);
	/* a subquery of the left side, which can tell that it is there */
	(void) pgs_pack_node(result, &join->larg);
	join = linitial_node(JoinExpr, result->jointree->fromlist);
	left = rt_fetch(((RangeTblRef *) join->larg)->rtindex, result->rtable);
	marked = left->subquery;
	n = list_length(marked->targetList) + 1;
	marked->targetList = lappend(marked->targetList, pgs_target((Expr *) makeBoolConst(true, false), n, "one"));
	left->alias->colnames = lappend(left->alias->colnames, makeString("one"));
	left->eref = copyObject(left->alias);

	one = makeVar(((RangeTblRef *) join->larg)->rtindex, n, BOOLOID, -1, InvalidOid, 0);
	pgs_add_nullingrel(one, join->rtindex);
	result->jointree->quals = (Node *) pgs_null_test((Expr *) one, IS_NULL);
	join->rarg = join->larg;
	join->larg = right;
	return result;
}

/* The level as a UNION ALL of outer joins to the left. */
Query *
pgs_full_as_union(Query *query)
{
	JoinExpr   *join;
	SideContext side = {0};
	Query	   *left;

	pgs_forget_join_aliases(query);
	for (int i = 0; i < 2; i++)
	{
		join = linitial_node(JoinExpr, query->jointree->fromlist);
		if (!IsA(i ? join->rarg : join->larg, RangeTblRef))
			(void) pgs_pack_node(query, i ? &join->rarg : &join->larg);
	}
	left = copyObject(query);
	join = as_left_join(left);
	side.keep = ((RangeTblRef *) join->rarg)->rtindex;
	left->targetList = (List *) side_mutator((Node *) left->targetList, &side);
	return pgs_delta_union_all(list_make2(left, unmatched(query)));
}
