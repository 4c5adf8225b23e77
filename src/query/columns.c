/*
 * columns.c - which columns of a relation a query's result can depend on
 *
 * Change buffers hold these and no others, and an update that touches none of them is none.  From the top down: of a
 * subquery in FROM only the output columns that are used above it count, so a staging view that selects everything costs
 * nothing here.  Wherever an output column decides which rows there are (DISTINCT, set operations), it counts.
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
	if (IsA(node, Query))
	{
		use_query((Query *) node, NULL, true, level, level->purpose);
		return false;
	}
	return expression_tree_walker(node, walker, level);
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

static void
use_query(Query *query, const Bitmapset *outputs, bool all, Level *parent, Purpose *purpose)
{
	Level		level = {.query = query, .parent = parent, .purpose = purpose};
	int			n = list_length(query->rtable);
	ListCell   *lc;

	check_stack_depth();
	level.used = palloc0(sizeof(Bitmapset *) * (n + 1));
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
	foreach(lc, query->cteList)
		(void) walker(lfirst_node(CommonTableExpr, lc)->ctequery, &level);
	/* functions and values; and lateral subqueries, which may use their neighbours */
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY && rte->lateral)
			use_query(rte->subquery, NULL, true, &level, purpose);
		else if (rte->rtekind != RTE_RELATION && rte->rtekind != RTE_SUBQUERY && rte->rtekind != RTE_JOIN)
			(void) range_table_entry_walker(rte, walker, &level, 0);
	}
	for (int i = 1; i <= n; i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);

		if (rte->rtekind == RTE_RELATION && rte->relid == purpose->relid)
			use_relation(rte, level.used[i], &purpose->result);
		else if (rte->rtekind == RTE_SUBQUERY && !rte->lateral)
		{
			bool		arm = query->setOperations != NULL;

			use_query(rte->subquery, arm ? outputs : level.used[i],
					  arm && (all || !pgs_query_is_union_all(query)), &level, purpose);
		}
	}
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
