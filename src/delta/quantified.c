/*
 * quantified.c - EXISTS, IN, ANY and ALL
 *
 * All are asked of one kind of subquery: the keys for which there are rows, each once, SELECT DISTINCT key, true FROM S.  A test holds for
 * some row if there is one among those for which it is true, and is unknown if there is none and one for which it is NULL.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/sublink.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"

/* ---- EXISTS ---- */

/* Leave out of a subquery what doesn't decide whether it has rows. */
static void
strip_for_exists(Query *sub)
{
	if (sub->setOperations || sub->hasTargetSRFs || sub->limitOffset || sub->groupingSets || sub->limitCount)
		return;
	sub->distinctClause = sub->sortClause = sub->windowClause = NIL;
	sub->hasDistinctOn = sub->hasWindowFuncs = false;
	if (sub->havingQual)
		return;
	if (sub->groupClause)
	{
		sub->groupClause = NIL;
		sub->hasAggs = false;
	}
	if (!sub->hasAggs)
		sub->targetList = NIL;
	sub->hasSubLinks = checkExprHasSubLink((Node *) sub->jointree);
}

/* LIMIT n with n > 0 leaves a row where there is one. */
static void
strip_limit(Query *sub)
{
	int64		count;

	if (pgs_limit_value(sub->limitCount, &count) && count > 0 && !sub->limitOffset)
		sub->limitCount = NULL;
}

/*
 * The keys for which a subquery has rows, each once, and "one", which is true.  NULL with an obstacle noted.
 */
Query *
pgs_existence(PgsSublinks *s, Query *sub, List **matches)
{
	Query	   *keys;
	Query	   *result;
	ListCell   *lc;
	int			n = 0;

	strip_limit(sub);
	strip_for_exists(sub);
	sub = pgs_decorrelate(sub, s->domain, false, matches);
	if (!sub)
		return (Query *) pgs_sublink_refuse(s, "a subquery that refers to the query around it in a way that has no rule yet");
	/* nothing is asked of it but to be there */
	if (sub->targetList == NIL)
		sub->targetList = list_make1(pgs_target((Expr *) makeBoolConst(true, false), 1, "one"));
	keys = pgs_select_from(pgs_subquery_item(sub, "found"));
	foreach(lc, *matches)
	{
		PgsMatch   *match = lfirst(lc);
		Node	   *inner = list_nth(match->op->args, match->inner);
		TargetEntry *tle;

		n++;
		tle = pgs_target((Expr *) makeVar(1, match->resno, exprType(inner), exprTypmod(inner), exprCollation(inner), 0),
						 n, psprintf("key%d", n));
		keys->targetList = lappend(keys->targetList, tle);
		match->resno = n;
	}
	if (n == 0)
		keys->targetList = list_make1(pgs_target((Expr *) makeBoolConst(true, false), 1, "one"));
	pgs_make_distinct(keys);
	if (n == 0)
		return keys;
	result = pgs_select_from(pgs_subquery_item(keys, "keys"));
	result->targetList = lappend(pgs_vars_of(keys->targetList),
								 pgs_target((Expr *) makeBoolConst(true, false), n + 1, "one"));
	return result;
}

/* EXISTS (SELECT ... HAVING c), without GROUP BY, as (SELECT c) IS TRUE. */
static Node *
having_value(PgsSublinks *s, Query *sub)
{
	BooleanTest *result = makeNode(BooleanTest);
	SubLink    *sublink = makeNode(SubLink);

	sub->targetList = list_make1(pgs_target((Expr *) sub->havingQual, 1, "having"));
	sub->havingQual = NULL;
	sub->distinctClause = sub->sortClause = sub->windowClause = NIL;
	sub->hasDistinctOn = sub->hasWindowFuncs = false;
	sublink->subLinkType = EXPR_SUBLINK;
	sublink->subselect = (Node *) sub;
	sublink->location = -1;
	result->arg = (Expr *) pgs_scalar_value(s, sublink);
	result->booltesttype = IS_TRUE;
	result->location = -1;
	return result->arg ? (Node *) result : NULL;
}

/* EXISTS (sub), wherever it stands: an expression of the level. */
Node *
pgs_exists_value(PgsSublinks *s, Query *sub)
{
	List	   *matches;
	JoinExpr   *join;

	/* one row, whatever there is to aggregate, if HAVING holds */
	if (sub->hasAggs && !sub->groupClause && !sub->groupingSets && !sub->limitCount && !sub->limitOffset && !sub->hasTargetSRFs)
		return sub->havingQual ? having_value(s, sub) : makeBoolConst(true, false);
	sub = pgs_existence(s, sub, &matches);
	if (!sub)
		return NULL;
	join = pgs_sublink_join_left(s, sub, matches);
	return (Node *) pgs_null_test((Expr *) pgs_sublink_column(s, join, list_length(sub->targetList)), IS_NOT_NULL);
}

/* ---- IN, ANY, ALL ---- */

typedef struct
{
	List	   *exprs;			/* what stands for the columns of the subquery */
} ParamContext;

static Node *
param_mutator(Node *node, ParamContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_SUBLINK)
		return copyObject(list_nth(context->exprs, ((Param *) node)->paramid - 1));
	return expression_tree_mutator(node, param_mutator, context);
}

/* The subquery, and its columns as expressions of its level: itself where its WHERE can take conditions, else one around it. */
static Query *
open_subquery(Query *sub, List **columns)
{
	Query	   *result = copyObject(sub);
	ListCell   *lc;

	*columns = NIL;
	if (!pgs_is_plain(result))
	{
		/* what it refers to outside is one level further up now */
		IncrementVarSublevelsUp((Node *) result, 1, 1);
		result = pgs_select_from(pgs_subquery_item(result, "listed"));
		result->targetList = pgs_vars_of(rt_fetch(1, result->rtable)->subquery->targetList);
	}
	foreach(lc, result->targetList)
		if (!lfirst_node(TargetEntry, lc)->resjunk)
			*columns = lappend(*columns, lfirst_node(TargetEntry, lc)->expr);
	result->targetList = NIL;
	result->sortClause = NIL;
	return result;
}

/* The test of a sublink, with expressions for the columns of the subquery. */
Node *
pgs_sublink_test(Node *test, List *columns)
{
	ParamContext context = {.exprs = columns};

	return param_mutator(test, &context);
}

/* The test of an ANY or ALL, as an expression of the subquery's level. */
static Node *
test_inside(SubLink *sublink, List *columns)
{
	Node	   *test = copyObject(sublink->testexpr);

	IncrementVarSublevelsUp(test, 1, 0);
	return pgs_sublink_test(test, columns);
}

static Node *
is_null(Node *expr)
{
	return (Node *) pgs_null_test((Expr *) expr, IS_NULL);
}

Query *
pgs_sublink_rows(SubLink *sublink, PgsRows which)
{
	List	   *columns;
	Query	   *sub = open_subquery(castNode(Query, sublink->subselect), &columns);
	Node	   *qual = NULL;

	switch (which)
	{
		case ROWS_ALL:
			break;
		case ROWS_TRUE:
			qual = test_inside(sublink, columns);
			break;
		case ROWS_FALSE:
			qual = (Node *) makeBoolExpr(NOT_EXPR, list_make1(test_inside(sublink, columns)), -1);
			break;
		case ROWS_UNKNOWN:
			qual = is_null(test_inside(sublink, columns));
			break;
		case ROWS_NULL:
			qual = is_null(copyObject(linitial(columns)));
			break;
	}
	sub->jointree->quals = make_and_qual(sub->jointree->quals, qual);
	return sub;
}

/* CASE WHEN decided THEN result WHEN unknown THEN NULL ELSE NOT result END */
static Node *
three_values(Node *decided, bool result, Node *unknown)
{
	CaseExpr   *expr = makeNode(CaseExpr);

	expr->casetype = BOOLOID;
	for (int i = 0; i < (unknown ? 2 : 1); i++)
	{
		CaseWhen   *when = makeNode(CaseWhen);

		when->expr = (Expr *) (i == 0 ? decided : unknown);
		when->result = (Expr *) makeBoolConst(result, i == 1);
		when->location = -1;
		expr->args = lappend(expr->args, when);
	}
	expr->defresult = (Expr *) makeBoolConst(!result, false);
	expr->location = -1;
	return (Node *) expr;
}

/* Whether the test of an ANY is one strict equality; then it is unknown only where one of its sides is NULL. */
static bool
is_plain_in(SubLink *sublink)
{
	OpExpr	   *op = (OpExpr *) sublink->testexpr;

	return sublink->subLinkType == ANY_SUBLINK && IsA(op, OpExpr) && list_length(op->args) == 2 && op_strict(op->opno) &&
		op_mergejoinable(op->opno, exprType(linitial(op->args))) && IsA(lsecond(op->args), Param);
}

/* x op ANY (sub), x op ALL (sub), wherever they stand. */
Node *
pgs_quantified_value(PgsSublinks *s, SubLink *sublink)
{
	bool		any = sublink->subLinkType == ANY_SUBLINK;
	Node	   *decided = pgs_exists_value(s, pgs_sublink_rows(sublink, any ? ROWS_TRUE : ROWS_FALSE));
	Node	   *unknown = NULL;

	if (!decided)
		return NULL;
	if (is_plain_in(sublink))
	{
		Node	   *x = linitial(((OpExpr *) sublink->testexpr)->args);
		Query	   *sub = castNode(Query, sublink->subselect);
		TargetEntry *y = linitial_node(TargetEntry, sub->targetList);

		if (!pgs_is_never_null(sub, (Node *) y->expr))
		{
			unknown = pgs_exists_value(s, pgs_sublink_rows(sublink, ROWS_NULL));
			if (!unknown)
				return NULL;
		}
		if (!pgs_is_never_null(s->domain, x))
		{
			Node	   *rows = pgs_exists_value(s, pgs_sublink_rows(sublink, ROWS_ALL));
			Node	   *both;

			if (!rows)
				return NULL;
			both = (Node *) makeBoolExpr(AND_EXPR, list_make2(is_null(copyObject(x)), rows), -1);
			unknown = unknown ? (Node *) makeBoolExpr(OR_EXPR, list_make2(unknown, both), -1) : both;
		}
	}
	else
	{
		unknown = pgs_exists_value(s, pgs_sublink_rows(sublink, ROWS_UNKNOWN));
		if (!unknown)
			return NULL;
	}
	return three_values(decided, any, unknown);
}
