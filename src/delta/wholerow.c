/*
 * wholerow.c - whole rows of a table or subquery: to_jsonb(t), count(t), t::text
 *
 * A whole row is a ROW of its columns, and columns have deltas.  Where an outer join may have padded the item, the two differ (NULL, or
 * a row of NULLs), so there it stays what it is.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

typedef struct
{
	Query	   *query;
	Bitmapset  *nullable;
	Index		depth;			/* of the query that we are in, beneath it */
} WholeRowContext;

/*
 * The columns of a table as a row of its type.  NULL where one has been dropped: its place would have to be kept by a NULL, which
 * IS NOT NULL takes for one of the row's.
 */
static RowExpr *
row_of_table(RangeTblEntry *rte, const Var *var)
{
	RowExpr    *row = makeNode(RowExpr);
	Relation	rel = table_open(rte->relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (attr->attisdropped)
			row = NULL;
		if (!row)
			break;
		row->args = lappend(row->args, makeVar(var->varno, i + 1, attr->atttypid, attr->atttypmod, attr->attcollation,
											   var->varlevelsup));
	}
	table_close(rel, NoLock);
	return row;
}

static RowExpr *
row_of_subquery(RangeTblEntry *rte, const Var *var)
{
	RowExpr    *row = makeNode(RowExpr);
	ListCell   *lc;

	foreach(lc, rte->subquery->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		row->args = lappend(row->args, makeVar(var->varno, tle->resno, exprType((Node *) tle->expr),
											   exprTypmod((Node *) tle->expr), exprCollation((Node *) tle->expr),
											   var->varlevelsup));
	}
	row->colnames = copyObject(rte->eref->colnames);
	return row;
}

static Node *
whole_row_mutator(Node *node, WholeRowContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		RangeTblEntry *rte;
		RowExpr    *row = NULL;

		if (var->varattno != 0 || var->varlevelsup != context->depth || bms_is_member(var->varno, context->nullable))
			return copyObject(node);
		rte = rt_fetch(var->varno, context->query->rtable);
		if (rte->rtekind == RTE_RELATION && var->vartype == get_rel_type_id(rte->relid))
			row = row_of_table(rte, var);
		else if (rte->rtekind == RTE_SUBQUERY && var->vartype == RECORDOID)
			row = row_of_subquery(rte, var);
		if (!row)
			return copyObject(node);
		row->row_typeid = var->vartype;
		row->row_format = COERCE_IMPLICIT_CAST;
		row->location = -1;
		return (Node *) row;
	}
	if (IsA(node, Query))
	{
		Query	   *result;

		context->depth++;
		result = query_tree_mutator((Query *) node, whole_row_mutator, context, 0);
		context->depth--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, whole_row_mutator, context);
}

/* Spell the whole rows of a level's items, in place and in all that is beneath it. */
void
pgs_spell_whole_rows(Query *query)
{
	WholeRowContext context = {.query = query, .nullable = pgs_nullable_items(query)};

	(void) query_tree_mutator(query, whole_row_mutator, &context, QTW_DONT_COPY_QUERY);
}
