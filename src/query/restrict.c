/*
 * restrict.c - which rows of a result can a change of one source row touch?
 *
 * Rule B, recompute by key.  Let an output column o of a query always hold, in every row derived from a row s of a source,
 * the value s.c.  Then a change of s (its old and new versions) can touch no row of the result but those with o = s.c, old
 * or new.  So it is enough to compare query and stored rows where o is one of the values of c in the changed rows: the
 * planner pushes that condition down to indexes, through joins and GROUP BY.
 *
 * It holds for a column selected as it is, through filters, inner joins, the preserved side of outer joins, GROUP BY, DISTINCT,
 * UNION and its kin; for any other column that an inner join's condition, or this outer join's own, equates with it; and
 * for windows that are all partitioned by it.  It doesn't hold below LIMIT, in sublinks, CTEs and grouping sets: there the
 * answer is "unknown", and the whole is computed.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "compat.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "query/query.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* A column of a FROM item: (range table index, attribute number). */
typedef struct
{
	int			varno;
	int			attno;
} Column;

/* Two columns that are equal in every row that the query lets through. */
typedef struct
{
	Column		a;
	Column		b;
	Bitmapset  *nullable;		/* FROM items of the outer join's other side, for which alone it holds; NULL: for all */
} Equality;

typedef struct
{
	Query	   *query;
	Oid			relid;			/* the source that changes */
	List	   *equalities;
	Bitmapset  *nullable;		/* FROM items below the nullable side of an outer join */
} Scope;

/* Look through join columns, and through the grouping of newer servers, to a column of a FROM item. */
static Var *
plain_var(Query *query, Node *node)
{
	for (;;)
	{
		RangeTblEntry *rte;
		Var		   *var = (Var *) node;

		if (node == NULL || !IsA(node, Var) || var->varlevelsup != 0 || var->varattno <= 0)
			return NULL;
		rte = rt_fetch(var->varno, query->rtable);
		if (pgs_rte_is_group(rte))
			node = list_nth(pgs_rte_group_exprs(rte), var->varattno - 1);
		else if (rte->rtekind == RTE_JOIN)
			node = list_nth(rte->joinaliasvars, var->varattno - 1);
		else
			return var;
	}
}

static bool
same_column(const Column *a, const Column *b)
{
	return a->varno == b->varno && a->attno == b->attno;
}

/* Whether a type can be looked up by a list of values: it has a default equality, and an array of it. */
static bool
is_searchable(Oid type)
{
	return OidIsValid(get_array_type(type)) && get_typtype(type) != TYPTYPE_DOMAIN && get_typlen(type) != -2 &&
		OidIsValid(lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr);
}

/* ---- what the join tree says ---- */

static void
note_equalities(Scope *scope, Node *quals, Bitmapset *nullable)
{
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) quals))
	{
		OpExpr	   *op = lfirst(lc);
		Var		   *a;
		Var		   *b;
		Equality   *equality;

		if (!IsA(op, OpExpr) || list_length(op->args) != 2)
			continue;
		a = plain_var(scope->query, linitial(op->args));
		b = plain_var(scope->query, lsecond(op->args));
		/* the very equality by which values are looked up later, between columns of one type and collation */
		if (!a || !b || a->vartype != b->vartype || a->varcollid != b->varcollid ||
			op->inputcollid != a->varcollid ||
			lookup_type_cache(a->vartype, TYPECACHE_EQ_OPR)->eq_opr != op->opno)
			continue;
		equality = palloc(sizeof(Equality));
		equality->a = (Column) {a->varno, a->varattno};
		equality->b = (Column) {b->varno, b->varattno};
		equality->nullable = nullable;
		scope->equalities = lappend(scope->equalities, equality);
	}
}

static Bitmapset *
items_of(Node *node)
{
	Bitmapset  *result = NULL;
	ListCell   *lc;

	if (IsA(node, RangeTblRef))
		return bms_make_singleton(((RangeTblRef *) node)->rtindex);
	if (IsA(node, JoinExpr))
		return bms_union(items_of(((JoinExpr *) node)->larg), items_of(((JoinExpr *) node)->rarg));
	foreach(lc, ((FromExpr *) node)->fromlist)
		result = bms_union(result, items_of(lfirst(lc)));
	return result;
}

/*
 * Gather equalities and nullable items.  Conditions below an outer join hold within it only, so from there none but its
 * own counts, and only for its nullable side.
 */
static void
walk_join_tree(Scope *scope, Node *node, bool below_outer)
{
	ListCell   *lc;

	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;

		foreach(lc, from->fromlist)
			walk_join_tree(scope, lfirst(lc), below_outer);
		if (!below_outer)
			note_equalities(scope, from->quals, NULL);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;
		Bitmapset  *left = items_of(join->larg);
		Bitmapset  *right = items_of(join->rarg);

		walk_join_tree(scope, join->larg, below_outer || join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL);
		walk_join_tree(scope, join->rarg, below_outer || join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL);
		switch (join->jointype)
		{
			case JOIN_INNER:
				if (!below_outer)
					note_equalities(scope, join->quals, NULL);
				break;
			case JOIN_LEFT:
				scope->nullable = bms_union(scope->nullable, right);
				/* a single nullable table: a deeper one is matched by more than this condition */
				if (!below_outer && bms_membership(right) == BMS_SINGLETON)
					note_equalities(scope, join->quals, right);
				break;
			case JOIN_RIGHT:
				scope->nullable = bms_union(scope->nullable, left);
				if (!below_outer && bms_membership(left) == BMS_SINGLETON)
					note_equalities(scope, join->quals, left);
				break;
			default:
				scope->nullable = bms_union(scope->nullable, bms_union(left, right));
		}
	}
}

/* ---- output columns ---- */

/* Whether each window is partitioned by an output column. */
static bool
in_all_windows(Query *query, Index sortgroupref)
{
	ListCell   *lc;

	foreach(lc, query->windowClause)
	{
		bool		found = false;
		ListCell   *part;

		foreach(part, lfirst_node(WindowClause, lc)->partitionClause)
			found |= sortgroupref != 0 && lfirst_node(SortGroupClause, part)->tleSortGroupRef == sortgroupref;
		if (!found)
			return false;
	}
	return true;
}

static bool
in_clause(List *clause, Index sortgroupref)
{
	ListCell   *lc;

	foreach(lc, clause)
		if (sortgroupref != 0 && lfirst_node(SortGroupClause, lc)->tleSortGroupRef == sortgroupref)
			return true;
	return false;
}

/* Output column that holds a column of a FROM item, and may be used to restrict; 0 if there is none. */
static int
output_of(Scope *scope, const Column *column)
{
	Query	   *query = scope->query;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		Var		   *var = plain_var(query, (Node *) tle->expr);

		if (tle->resjunk || !var || var->varno != column->varno || var->varattno != column->attno ||
			!is_searchable(var->vartype) || exprType((Node *) tle->expr) != var->vartype)
			continue;
		if ((query->groupClause && !in_clause(query->groupClause, tle->ressortgroupref)) ||
			!in_all_windows(query, tle->ressortgroupref) ||
			(query->hasDistinctOn && !in_clause(query->distinctClause, tle->ressortgroupref)))
			continue;
		return tle->resno;
	}
	return 0;
}

/*
 * Output column that equals a column of a FROM item in every row derived from the item; 0 if there is none.  On the
 * nullable side of an outer join it must be the other side's column of the join condition: there the padded rows have it, too.
 */
static int
restricting_output(Scope *scope, const Column *column)
{
	bool		nullable = bms_is_member(column->varno, scope->nullable);
	ListCell   *lc;
	int			resno;

	if (!nullable && (resno = output_of(scope, column)) > 0)
		return resno;
	foreach(lc, scope->equalities)
	{
		Equality   *e = lfirst(lc);
		Column	   *other;

		if (same_column(&e->a, column))
			other = &e->b;
		else if (same_column(&e->b, column))
			other = &e->a;
		else
			continue;
		/* an inner condition doesn't reach padded rows; an outer join's own holds for its nullable side alone */
		if (nullable != (e->nullable != NULL) || (nullable && !bms_is_member(column->varno, e->nullable)) ||
			bms_is_member(other->varno, scope->nullable))
			continue;
		if ((resno = output_of(scope, other)) > 0)
			return resno;
	}
	return 0;
}

/* ---- occurrences of the source ---- */

static List *occurrences(Query *query, Oid relid, bool *unknown);

static PgsRestriction *
make_restriction(int resno, int attno)
{
	PgsRestriction *r = palloc(sizeof(PgsRestriction));

	r->resno = resno;
	r->attno = attno;
	return r;
}

static void
add_alternatives(List *alternatives, List **result, bool *unknown)
{
	if (alternatives == NIL)
		*unknown = true;
	else
		*result = lappend(*result, alternatives);
}

/* A table in FROM: any of its columns that restricts will do.  (A virtual column has no value where it is captured.) */
static void
add_table(Scope *scope, int rtindex, List **result, bool *unknown)
{
	Oid			relid = rt_fetch(rtindex, scope->query->rtable)->relid;
	Relation	rel = table_open(relid, AccessShareLock);
	int			natts = RelationGetNumberOfAttributes(rel);
	List	   *alternatives = NIL;

	table_close(rel, NoLock);
	for (int attno = 1; attno <= natts; attno++)
	{
		Column		column = {rtindex, attno};
		int			resno = restricting_output(scope, &column);

		if (resno > 0 && get_attgenerated(relid, attno) == '\0')
			alternatives = lappend(alternatives, make_restriction(resno, attno));
	}
	add_alternatives(alternatives, result, unknown);
}

/* A subquery in FROM: what restricts it must restrict us. */
static void
add_subquery(Scope *scope, int rtindex, List **result, bool *unknown)
{
	ListCell   *lc;

	foreach(lc, occurrences(rt_fetch(rtindex, scope->query->rtable)->subquery, scope->relid, unknown))
	{
		List	   *alternatives = NIL;
		ListCell   *alternative;

		foreach(alternative, (List *) lfirst(lc))
		{
			PgsRestriction *inner = lfirst(alternative);
			Column		column = {rtindex, inner->resno};
			int			resno = scope->query->setOperations ? inner->resno : restricting_output(scope, &column);

			if (resno > 0)
				alternatives = lappend(alternatives, make_restriction(resno, inner->attno));
		}
		add_alternatives(alternatives, result, unknown);
	}
}

static bool
relations_walker(Node *node, List **relids)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_RELATION && (rte->inFromCl || rte->inh))
			*relids = list_append_unique_oid(*relids, rte->relid);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, relations_walker, relids, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, relations_walker, relids);
}

/* Relations that a query reads, at every depth. */
List *
pgs_query_relations(Query *query)
{
	List	   *result = NIL;

	(void) relations_walker((Node *) query, &result);
	return result;
}

static bool
reads(Query *query, Oid relid)
{
	return list_member_oid(pgs_query_relations(query), relid);
}

/* Whether sublinks, CTEs or functions in FROM, which we don't look into, read the source. */
static bool
reads_elsewhere(Query *query, Oid relid)
{
	List	   *relids = NIL;
	ListCell   *lc;

	(void) query_tree_walker(query, relations_walker, &relids, QTW_IGNORE_RANGE_TABLE);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind != RTE_RELATION && rte->rtekind != RTE_SUBQUERY)
			(void) range_table_entry_walker(rte, relations_walker, &relids, 0);
	}
	return list_member_oid(relids, relid);
}

/* Columns of a set operation must have kept type and collation, or equal values may have changed on the way. */
static bool
types_kept(Query *query, Query *arm)
{
	ListCell   *a;
	ListCell   *b;

	forboth(a, query->targetList, b, arm->targetList)
		if (!lfirst_node(TargetEntry, b)->resjunk &&
			(exprType((Node *) lfirst_node(TargetEntry, a)->expr) != exprType((Node *) lfirst_node(TargetEntry, b)->expr) ||
			 exprCollation((Node *) lfirst_node(TargetEntry, a)->expr) !=
			 exprCollation((Node *) lfirst_node(TargetEntry, b)->expr)))
			return false;
	return true;
}

static List *
occurrences(Query *query, Oid relid, bool *unknown)
{
	Scope		scope = {.query = query, .relid = relid};
	List	   *result = NIL;

	check_stack_depth();
	if (!reads(query, relid))
		return NIL;
	if (query->limitCount || query->limitOffset || query->groupingSets || reads_elsewhere(query, relid) ||
		(query->hasAggs && !query->groupClause))
	{
		*unknown = true;
		return NIL;
	}
	walk_join_tree(&scope, (Node *) query->jointree, false);
	for (int i = 1; i <= list_length(query->rtable); i++)
	{
		RangeTblEntry *rte = rt_fetch(i, query->rtable);

		if (rte->rtekind == RTE_RELATION && rte->relid == relid && (rte->inFromCl || rte->inh))
			add_table(&scope, i, &result, unknown);
		else if (rte->rtekind == RTE_SUBQUERY && reads(rte->subquery, relid))
		{
			if (rte->lateral || (query->setOperations && !types_kept(query, rte->subquery)))
				*unknown = true;
			else
				add_subquery(&scope, i, &result, unknown);
		}
	}
	return result;
}

/*
 * How the changed rows of a source restrict the rows of a query that they can touch.  One element for each place where the
 * query reads the source, as each touches rows of its own: a list of PgsRestriction, of which any one suffices.  NIL if that
 * can't be told.
 */
List *
pgs_query_restrictions(Query *query, Oid relid)
{
	bool		unknown = false;
	List	   *result = occurrences(query, relid, &unknown);

	return unknown ? NIL : result;
}

/* What a change of a source means for a query, in words: NULL if the whole has to be computed. */
char *
pgs_query_describe_changes(Query *query, Oid relid)
{
	List	   *places = pgs_query_restrictions(query, relid);
	StringInfoData buf;
	ListCell   *lc;

	if (places == NIL)
		return NULL;
	initStringInfo(&buf);
	foreach(lc, places)
	{
		ListCell   *alternative;

		appendStringInfoString(&buf, foreach_current_index(lc) ? "; and where " : "compared where ");
		foreach(alternative, (List *) lfirst(lc))
		{
			PgsRestriction *r = lfirst(alternative);
			TargetEntry *tle = get_tle_by_resno(query->targetList, r->resno);

			appendStringInfo(&buf, "%s%s is the %s", foreach_current_index(alternative) ? ", or " : "",
							 quote_identifier(tle->resname), quote_identifier(get_attname(relid, r->attno, false)));
		}
		appendStringInfoString(&buf, " of a changed row");
	}
	return buf.data;
}
