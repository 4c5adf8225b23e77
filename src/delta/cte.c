/*
 * cte.c - WITH queries as subqueries, one copy for each reference
 *
 * What is not recursive, not volatile and writes nothing means the same wherever it stands; MATERIALIZED is a hint about cost.
 */
#include "postgres.h"

#include "delta/delta_internal.h"
#include "nodes/nodeFuncs.h"
#include "rewrite/rewriteManip.h"

typedef struct
{
	Query	   *query;			/* whose WITH it is */
	Index		depth;			/* of the query that we are in, beneath it */
} CteContext;

static CommonTableExpr *
find_cte(Query *query, const char *name)
{
	ListCell   *lc;

	foreach(lc, query->cteList)
		if (strcmp(lfirst_node(CommonTableExpr, lc)->ctename, name) == 0)
			return lfirst(lc);
	return NULL;
}

static bool
inline_walker(Node *node, CteContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;
		CommonTableExpr *cte;

		if (rte->rtekind != RTE_CTE || rte->ctelevelsup != context->depth ||
			!(cte = find_cte(context->query, rte->ctename)))
			return false;
		rte->rtekind = RTE_SUBQUERY;
		rte->subquery = copyObject(castNode(Query, cte->ctequery));
		/* the WITH query stood one level below its WITH; what it refers to above is further up now */
		IncrementVarSublevelsUp((Node *) rte->subquery, context->depth, 1);
		rte->ctename = NULL;
		rte->ctelevelsup = 0;
		rte->coltypes = rte->coltypmods = rte->colcollations = NIL;
		if (!rte->alias)
			rte->alias = copyObject(rte->eref);
		return false;			/* the walk goes on into the subquery */
	}
	if (IsA(node, Query))
	{
		bool		result;

		context->depth++;
		result = query_tree_walker((Query *) node, inline_walker, context, QTW_EXAMINE_RTES_BEFORE);
		context->depth--;
		return result;
	}
	return expression_tree_walker(node, inline_walker, context);
}

/* Replace all references to the WITH queries of a query, in place; false if one of them is recursive. */
bool
pgs_cut_inline_ctes(Query *query)
{
	CteContext	context = {.query = query};
	ListCell   *lc;

	foreach(lc, query->cteList)
		if (lfirst_node(CommonTableExpr, lc)->cterecursive)
			return false;
	/* those that are referred to by others first take in what they refer to themselves, as the walk goes into copies */
	(void) query_tree_walker(query, inline_walker, &context, QTW_EXAMINE_RTES_BEFORE);
	query->cteList = NIL;
	return true;
}
