/*
 * correlate_set.c - set operations that refer to the level around them
 *
 * Each arm is made independent by the values that any of the arms refers to (correlate.c), which become columns of all arms, the same ones in
 * the same places.  Rows of one key only ever meet rows of the same key then, so UNION, INTERSECT and EXCEPT do for each key
 * what they did for one row outside.
 */
#include "postgres.h"

#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"

typedef struct
{
	Query	   *query;			/* of the set operation */
	Query	   *domain;
	List	   *vars;			/* what the arms refer to */
	List	   *matches;		/* of PgsMatch: the same for all arms */
	int			first;			/* arm */
} Arms;

/* Make one arm independent, in its place. */
static bool
key_arm(Arms *a, int rtindex)
{
	Query	   *arm = rt_fetch(rtindex, a->query->rtable)->subquery;

	/* as if it stood where the whole stands, and back again */
	IncrementVarSublevelsUp((Node *) arm, -1, 2);
	arm = pgs_decorrelate_arm(arm, a->vars, a->domain, &a->matches);
	if (!arm)
		return false;
	IncrementVarSublevelsUp((Node *) arm, 1, 1);
	pgs_set_subquery(a->query, rtindex, arm);
	if (a->first == 0)
		a->first = rtindex;
	return true;
}

/* The arms beneath a node, and the columns of the operations. */
static bool
key_tree(Arms *a, Node *node)
{
	SetOperationStmt *op = (SetOperationStmt *) node;
	ListCell   *lc;

	if (IsA(node, RangeTblRef))
		return key_arm(a, ((RangeTblRef *) node)->rtindex);
	if (!key_tree(a, op->larg) || !key_tree(a, op->rarg))
		return false;
	foreach(lc, a->vars)
	{
		Node	   *var = lfirst(lc);

		op->colTypes = lappend_oid(op->colTypes, exprType(var));
		op->colTypmods = lappend_int(op->colTypmods, exprTypmod(var));
		op->colCollations = lappend_oid(op->colCollations, exprCollation(var));
		if (op->op != SETOP_UNION || !op->all)
			op->groupClauses = lappend(op->groupClauses, pgs_group_clause((Expr *) var, 0));
	}
	return true;
}

/*
 * Make a set operation independent of the level around it, in place: key columns come behind its own.  Returns their numbers, and in "matches"
 * what they are equal to outside; NIL where that can't be done.
 */
List *
pgs_decorrelate_arms(Query *query, Query *domain, List **matches)
{
	Arms		a = {.query = query,.domain = domain,.vars = pgs_outer_columns(query)};
	int			n = list_length(query->targetList);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, query->targetList)
		if (lfirst_node(TargetEntry, lc)->resjunk)
			return NIL;
	/* what is outside of the arms: a limit */
	if (!key_tree(&a, query->setOperations) || pgs_is_correlated(query))
		return NIL;
	foreach(lc, a.matches)
	{
		PgsMatch   *match = lfirst(lc);
		Node	   *var = list_nth(a.vars, foreach_current_index(lc));

		match->resno = ++n;
		query->targetList = lappend(query->targetList, pgs_target((Expr *) makeVar(a.first, n, exprType(var), exprTypmod(var),
																				   exprCollation(var), 0), n,
																  psprintf("key%d", foreach_current_index(lc) + 1)));
		result = lappend_int(result, n);
	}
	*matches = a.matches;
	return result;
}
