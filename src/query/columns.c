/*
 * columns.c - which columns of a relation a query's result can depend on
 *
 * Change buffers hold these and no others, and an update that touches none of them is none.  From the top down: of a
 * subquery in FROM or WITH only the output columns that are used above it count, of one in EXISTS none, so a staging view that
 * selects everything costs nothing here.  Wherever an output column decides which rows there are (DISTINCT, set operations), it counts.
 */
#include "postgres.h"

#include "access/table.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "query/query.h"
#include "utils/rel.h"

/* What the walk is for. */
typedef struct
{
	Oid			relid;			/* whose columns are gathered */
	Bitmapset  *result;
	bool		prune;			/* instead: what is not used becomes NULL */
} Purpose;

/* One query on the way down; Vars of outer levels find theirs through the parents. */
typedef struct Level
{
	Query	   *query;
	Bitmapset **used;			/* by range table index: columns of that item, 0 for the whole row */
	Bitmapset **cte_used;		/* the same of each WITH query, by its place in the list */
	struct Level *parent;
	Purpose    *purpose;
} Level;

static void use_query(Query *query, const Bitmapset *outputs, bool all, Level *parent, Purpose *purpose);

static bool
walker(Node *node, Level *level)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		RangeTblEntry *rte;

		for (Index up = var->varlevelsup; up > 0 && level; up--)
			level = level->parent;
		if (level == NULL || var->varattno < 0)
			return false;		/* a system column is nobody's change */
		rte = rt_fetch(var->varno, level->query->rtable);
		if (pgs_rte_is_group(rte))
			return walker(list_nth(pgs_rte_group_exprs(rte), var->varattno - 1), level);
		if (rte->rtekind == RTE_JOIN)
			return walker(var->varattno > 0 ? list_nth(rte->joinaliasvars, var->varattno - 1) :
						  (Node *) rte->joinaliasvars, level);
		level->used[var->varno] = bms_add_member(level->used[var->varno], var->varattno);
		return false;
	}
	if (IsA(node, SubLink) && ((SubLink *) node)->subLinkType == EXISTS_SUBLINK)
	{
		use_query((Query *) ((SubLink *) node)->subselect, NULL, false, level, level->purpose);
		return false;
	}
	if (IsA(node, Query))
	{
		use_query((Query *) node, NULL, true, level, level->purpose);
		return false;
	}
	return expression_tree_walker(node, walker, level);
}

/* A reference to a WITH query uses columns of it, wherever it stands. */
static void
use_cte(const RangeTblEntry *rte, const Bitmapset *used, Level *level)
{
	ListCell   *lc;

	for (Index up = rte->ctelevelsup; up > 0 && level; up--)
		level = level->parent;
	if (level == NULL)
		return;
	foreach(lc, level->query->cteList)
	{
		int			i = foreach_current_index(lc);

		if (strcmp(lfirst_node(CommonTableExpr, lc)->ctename, rte->ctename) == 0)
			level->cte_used[i] = bms_add_members(level->cte_used[i], used);
	}
}

static void
use_relation(RangeTblEntry *rte, const Bitmapset *used, Bitmapset **result)
{
	if (bms_is_member(0, used))
	{
		Relation	rel = table_open(rte->relid, AccessShareLock);

		for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
			if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
				*result = bms_add_member(*result, i + 1);
		table_close(rel, NoLock);
	}
	*result = bms_del_member(bms_add_members(*result, used), 0);
}

/* What a lateral subquery may use of its neighbours, whatever of itself is used. */
static void
use_neighbours(Query *query, Level *level)
{
	Purpose		none = {0};

	use_query(query, NULL, true, level, &none);
}

/* The items of a query's FROM and WITH, once it is known what is used of them. */
static void
use_items(Level *level, const Bitmapset *outputs, bool all)
{
	Query	   *query = level->query;
	Purpose    *purpose = level->purpose;
	bool		arms = query->setOperations != NULL;

	for (int i = 1; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);

		if (rte->rtekind == RTE_RELATION && rte->relid == purpose->relid)
			use_relation(rte, level->used[i], &purpose->result);
		else if (rte->rtekind == RTE_SUBQUERY)
			use_query(rte->subquery, arms ? outputs : level->used[i], arms && (all || !pgs_query_is_union_all(query)), level, purpose);
		else if (rte->rtekind == RTE_CTE)
			use_cte(rte, level->used[i], level);
	}
	/* a WITH query is used by those behind it, and by all that was seen above */
	for (int i = list_length(query->cteList) - 1; i >= 0; i--)
	{
		CommonTableExpr *cte = list_nth_node(CommonTableExpr, query->cteList, i);

		if (IsA(cte->ctequery, Query))
			use_query((Query *) cte->ctequery, level->cte_used[i], query->hasRecursive, level, purpose);
	}
}

static void
use_query(Query *query, const Bitmapset *outputs, bool all, Level *parent, Purpose *purpose)
{
	Level		level = {.query = query, .parent = parent, .purpose = purpose};
	ListCell   *lc;

	check_stack_depth();
	level.used = palloc0(sizeof(Bitmapset *) * (list_length(query->rtable) + 1));
	level.cte_used = palloc0(sizeof(Bitmapset *) * (list_length(query->cteList) + 1));
	all |= bms_is_member(0, outputs) || query->distinctClause || query->hasTargetSRFs || query->sortClause;
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (all || tle->resjunk || tle->ressortgroupref || bms_is_member(tle->resno, outputs))
			(void) walker((Node *) tle->expr, &level);
		else if (purpose->prune)
			tle->expr = (Expr *) makeNullConst(exprType((Node *) tle->expr), exprTypmod((Node *) tle->expr),
											   exprCollation((Node *) tle->expr));
	}
	(void) walker((Node *) query->jointree, &level);
	(void) walker(query->havingQual, &level);
	(void) walker(query->limitCount, &level);
	(void) walker(query->limitOffset, &level);
	(void) walker((Node *) query->windowClause, &level);
	/* functions and values; and lateral subqueries, which may use their neighbours */
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY && rte->lateral)
			use_neighbours(rte->subquery, &level);
		else if (rte->rtekind != RTE_RELATION && rte->rtekind != RTE_SUBQUERY && rte->rtekind != RTE_JOIN)
			(void) range_table_entry_walker(rte, walker, &level, 0);
	}
	use_items(&level, outputs, all);
}

/* The arms of a set operation that is UNION ALL throughout. */
static bool
all_union_all(Node *node)
{
	SetOperationStmt *op = (SetOperationStmt *) node;

	if (IsA(node, RangeTblRef))
		return true;
	return op->op == SETOP_UNION && op->all && all_union_all(op->larg) && all_union_all(op->rarg);
}

bool
pgs_query_is_union_all(const Query *query)
{
	return query->setOperations && all_union_all(query->setOperations);
}

/*
 * Attribute numbers of the columns of a relation that a query uses, at every depth.
 */
Bitmapset *
pgs_query_columns_used(Query *query, Oid relid)
{
	Purpose		purpose = {.relid = relid};

	use_query(query, NULL, true, NULL, &purpose);
	return purpose.result;
}

/*
 * Leave out of a query, in place, what its result doesn't depend on: columns of subqueries that nobody uses become NULL.  They are in no
 * change buffer, so nothing may be computed from them.
 */
void
pgs_query_prune(Query *query)
{
	Purpose		purpose = {.prune = true};

	use_query(query, NULL, true, NULL, &purpose);
}
