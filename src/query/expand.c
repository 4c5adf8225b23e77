/*
 * expand.c - replace views by what they say, so that a stream table depends on base tables only
 *
 * dbt drops and re-creates its staging views on every run.  A defining query that named them would lose its source
 * each time; one that holds their text instead doesn't notice, and "unchanged" means that the meaning is unchanged.
 *
 * A view stays as it is where its text would not mean the same in our hands:
 *  - a relation beneath it may be read by the view's owner, not by ours;
 *  - row security beneath it is applied as the view's owner;
 *  - the query uses a whole row of it, whose type is the view's own.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "query/query.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

typedef struct
{
	Oid			owner;			/* of the stream table */
	List	   *open;			/* views that we are inside of, against endless recursion */
} ExpandContext;

typedef struct
{
	Oid			owner;			/* who will read */
	Oid			view_owner;		/* who reads today */
	bool		allowed;
} BeneathContext;

/* Whether every relation of a view's query can be read by "owner" with the same result. */
static bool
beneath_walker(Node *node, BeneathContext *context)
{
	if (node == NULL || !context->allowed)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		/* OLD and NEW of a view's rule are there before 16; they read nothing */
		if (rte->rtekind == RTE_RELATION && (rte->inFromCl || rte->inh))
		{
			Relation	rel = table_open(rte->relid, AccessShareLock);

			if (pg_class_aclcheck(rte->relid, context->owner, ACL_SELECT) != ACLCHECK_OK ||
				(rel->rd_rel->relrowsecurity && context->owner != context->view_owner))
				context->allowed = false;
			table_close(rel, NoLock);
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, beneath_walker, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, beneath_walker, context);
}

typedef struct
{
	int			varno;
	int			sublevels;
} WholeRowContext;

static bool
whole_row_walker(Node *node, WholeRowContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		return var->varno == context->varno && var->varlevelsup == context->sublevels && var->varattno == 0;
	}
	if (IsA(node, Query))
	{
		bool		found;

		context->sublevels++;
		found = query_tree_walker((Query *) node, whole_row_walker, context, 0);
		context->sublevels--;
		return found;
	}
	return expression_tree_walker(node, whole_row_walker, context);
}

static bool
uses_whole_row(Query *query, int rtindex)
{
	WholeRowContext context = {.varno = rtindex};

	return query_tree_walker(query, whole_row_walker, &context, 0);
}

/* Turn one view reference into a subquery, if its text means the same for us. */
static bool
expand_view(Query *query, int rtindex, ExpandContext *context)
{
	RangeTblEntry *rte = rt_fetch(rtindex, query->rtable);
	Relation	view = table_open(rte->relid, AccessShareLock);
	BeneathContext beneath = {.owner = context->owner, .allowed = true};
	Query	   *subquery;

	if (list_member_oid(context->open, rte->relid))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("view \"%s\" reads from itself", RelationGetRelationName(view))));
	subquery = copyObject(get_view_query(view));
	beneath.view_owner = RelationHasSecurityInvoker(view) ? context->owner : view->rd_rel->relowner;
	table_close(view, NoLock);

	(void) query_tree_walker(subquery, beneath_walker, &beneath, QTW_EXAMINE_RTES_BEFORE);
	if (!beneath.allowed || uses_whole_row(query, rtindex))
		return false;

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = subquery;
	/* the view may have renamed the columns of its query: spell all of them */
	rte->alias = makeAlias(rte->eref->aliasname, copyObject(rte->eref->colnames));
	rte->relid = InvalidOid;
	rte->relkind = 0;
	rte->rellockmode = 0;
	rte->inh = false;
	pgs_rte_detach_relation(rte);
	return true;
}

static bool expand_walker(Node *node, ExpandContext *context);

static void
expand_query(Query *query, ExpandContext *context)
{
	check_stack_depth();
	for (int i = 1; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);
		Oid			relid = rte->relid;

		if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_VIEW &&
			(rte->inFromCl || rte->inh) && expand_view(query, i, context))
		{
			/* by hand, not by the walker below, to know which view we are in */
			context->open = lappend_oid(context->open, relid);
			expand_query(rte->subquery, context);
			context->open = list_delete_last(context->open);
		}
		else if (rte->rtekind == RTE_SUBQUERY)
			expand_query(rte->subquery, context);
	}
	/* CTEs and sublinks; a subquery that is an expanded view has nothing left to expand */
	(void) query_tree_walker(query, expand_walker, context, QTW_IGNORE_RT_SUBQUERIES);
}

static bool
expand_walker(Node *node, ExpandContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		expand_query((Query *) node, context);
		return false;
	}
	return expression_tree_walker(node, expand_walker, context);
}

/*
 * Expand the views that a query reads, in place and at every depth, on behalf of the role "owner".
 */
void
pgs_query_expand_views(Query *query, Oid owner)
{
	ExpandContext context = {.owner = owner};

	expand_query(query, &context);
}
