/*
 * key.c - which output columns tell rows apart
 *
 * The key pairs the old and the new version of a row, so that a refresh updates it in place.  It is a guess that
 * costs nothing when wrong: rows with equal keys are paired by number, and what is written is decided by whole rows.
 * So the rules may be generous: the GROUP BY columns, else the primary keys of the tables read, as far as they are
 * selected.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "query/query.h"
#include "utils/rel.h"
#include "utils/relcache.h"

/* Output column numbers that are just the column "attno" of range table entry "rtindex"; the first one, or 0. */
static int
find_output(Query *query, int rtindex, int attno)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Var		   *var = (Var *) tle->expr;

		if (tle->resjunk || !IsA(var, Var) || var->varlevelsup != 0)
			continue;
		/* a column of JOIN USING is a Var of the join: look through to the side that it stands for */
		if (rt_fetch(var->varno, query->rtable)->rtekind == RTE_JOIN)
		{
			RangeTblEntry *join = rt_fetch(var->varno, query->rtable);

			var = var->varattno > 0 ? list_nth(join->joinaliasvars, var->varattno - 1) : NULL;
			if (var == NULL || !IsA(var, Var))
				continue;
		}
		if (var->varno == rtindex && var->varattno == attno)
			return tle->resno;
	}
	return 0;
}

/* Translate key columns of one FROM item to output columns; NIL if one of them is not selected. */
static List *
exposed(Query *query, int rtindex, const List *columns)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, columns)
	{
		int			resno = find_output(query, rtindex, lfirst_int(lc));

		if (resno == 0)
			return NIL;
		result = lappend_int(result, resno);
	}
	return result;
}

static List *
primary_key(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	Bitmapset  *attrs = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	List	   *result = NIL;
	int			i = -1;

	while ((i = bms_next_member(attrs, i)) >= 0)
		result = lappend_int(result, i + FirstLowInvalidHeapAttributeNumber);
	table_close(rel, NoLock);
	return result;
}

static List *
group_key(Query *query)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		ListCell   *group;

		foreach(group, query->groupClause)
			if (tle->ressortgroupref == lfirst_node(SortGroupClause, group)->tleSortGroupRef && !tle->resjunk)
			{
				result = list_append_unique_int(result, tle->resno);
				break;
			}
	}
	return result;
}

static List *from_key(Query *query, Node *from);

/* Keys of the items below a join tree node, gathered. */
static List *
join_key(Query *query, Node *node)
{
	if (IsA(node, JoinExpr))
		return list_union_int(join_key(query, ((JoinExpr *) node)->larg), join_key(query, ((JoinExpr *) node)->rarg));
	return from_key(query, node);
}

static List *
from_key(Query *query, Node *from)
{
	int			rtindex;
	RangeTblEntry *rte;

	if (!IsA(from, RangeTblRef))
		return join_key(query, from);
	rtindex = ((RangeTblRef *) from)->rtindex;
	rte = rt_fetch(rtindex, query->rtable);
	if (rte->rtekind == RTE_SUBQUERY)
		return exposed(query, rtindex, pgs_query_key(rte->subquery));
	if (rte->rtekind == RTE_RELATION &&
		(rte->relkind == RELKIND_RELATION || rte->relkind == RELKIND_PARTITIONED_TABLE))
		return exposed(query, rtindex, primary_key(rte->relid));
	return NIL;
}

/*
 * Output columns of a query (list of int, 1-based) whose values tell its rows apart, or NIL.
 */
List *
pgs_query_key(Query *query)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (query->setOperations)
		return NIL;
	if (query->groupClause)
		return group_key(query);
	foreach(lc, query->jointree->fromlist)
		result = list_union_int(result, from_key(query, lfirst(lc)));
	return result;
}
