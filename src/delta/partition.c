/*
 * partition.c - window functions, DISTINCT ON, LIMIT
 *
 * Rule B, recompute by key.  Rows of such a result depend on rows of the input that share a key with them, and on no others: what
 * all windows are partitioned by, the expressions of DISTINCT ON; for LIMIT there is none, and the whole shares it.  The state
 * holds the result, by that key.  What a change touches is computed again, and the difference to what is stored is the change
 * of the result:
 *
 *     SELECT columns, 1 FROM (query, keys touched)  UNION ALL  SELECT columns, -1 FROM state, keys touched
 *
 * Of a LIMIT, a change that sorts behind its last row touches nothing.  So the state holds what it is ordered by, too.
 *
 * No old state of the input is needed.  Equal keys may look different here (1.0 and 1.00): every row has its own.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "lib/stringinfo.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/* the hash is a function call, and those take no more arguments than this */
#define MAX_KEYS 90

typedef struct
{
	List	   *exprs;			/* of Expr */
	List	   *eqops;			/* of Oid */
} KeyList;

/* ---- the key ---- */

static bool
has_key(const List *clauses, const List *targets, Node *expr, Oid eqop)
{
	ListCell   *lc;

	foreach(lc, clauses)
		if (lfirst_node(SortGroupClause, lc)->eqop == eqop &&
			equal(get_sortgroupclause_expr(lfirst(lc), unconstify(List *, targets)), expr))
			return true;
	return false;
}

/* What a list of clauses says; and for windows, what all of them do. */
static KeyList
find_keys(Query *query)
{
	List	   *clauses = query->hasDistinctOn ? query->distinctClause : NIL;
	KeyList		result = {0};
	ListCell   *lc;
	ListCell   *window;

	if (query->hasWindowFuncs)
		clauses = linitial_node(WindowClause, query->windowClause)->partitionClause;
	foreach(lc, clauses)
	{
		SortGroupClause *clause = lfirst_node(SortGroupClause, lc);
		Node	   *expr = get_sortgroupclause_expr(clause, query->targetList);
		bool		everywhere = true;

		if (query->hasWindowFuncs)
			foreach(window, query->windowClause)
				everywhere &= has_key(lfirst_node(WindowClause, window)->partitionClause, query->targetList, expr,
									  clause->eqop);
		if (!everywhere || list_member(result.exprs, expr) || list_length(result.exprs) == MAX_KEYS)
			continue;
		/* a key that can't be looked up: those that are left will do, with larger partitions */
		if (!OidIsValid(lookup_type_cache(exprType(expr), TYPECACHE_HASH_EXTENDED_PROC)->hash_extended_proc) ||
			lookup_type_cache(exprType(expr), TYPECACHE_EQ_OPR)->eq_opr != clause->eqop ||
			expression_returns_set(expr))
			continue;
		result.exprs = lappend(result.exprs, expr);
		result.eqops = lappend_oid(result.eqops, clause->eqop);
	}
	return result;
}

/* An expression with one hash for all values that are equal. */
static Expr *
hashable(Expr *key)
{
	Oid			type = exprType((Node *) key);
	Oid			collation = exprCollation((Node *) key);
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_HASH_EXTENDED_PROC);
	Oid			argtype;
	Oid		   *argtypes;
	int			nargs;

	/* row_hash() hashes the image */
	if (pgs_delta_equal_means_same(type, -1, collation))
		return key;
	(void) get_func_signature(entry->hash_extended_proc, &argtypes, &nargs);
	argtype = argtypes[0];
	if (argtype != type && !IsPolymorphicType(argtype))
		key = (Expr *) makeRelabelType(key, argtype, -1, collation, COERCE_IMPLICIT_CAST);
	return (Expr *) makeFuncExpr(entry->hash_extended_proc, INT8OID, list_make2(key, pgs_int8_const(0)), InvalidOid, collation,
								 COERCE_EXPLICIT_CALL);
}

static Expr *
row_hash(List *args)
{
	Oid			any = ANYOID;

	return (Expr *) makeFuncExpr(pgs_catalog_function("row_hash", 1, &any),
								 INT8OID, args, InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

/* row_hash(keys): by what the state's rows are found */
static Expr *
hash_of(const List *keys)
{
	List	   *args = NIL;
	ListCell   *lc;

	if (keys == NIL)
		return pgs_int8_const(0);
	foreach(lc, keys)
		args = lappend(args, hashable(copyObject(lfirst(lc))));
	return row_hash(args);
}

/*
 * Windows over the whole input have no key, and may have any number of rows that change: these are found one by one then, by all that
 * they hold, not all together.
 */
static Expr *
hash_of_row(const List *targets)
{
	List	   *args = NIL;
	ListCell   *lc;

	foreach(lc, targets)
		if (list_length(args) < MAX_KEYS && lnext(targets, lc))
			args = lappend(args, copyObject(lfirst_node(TargetEntry, lnext(targets, lc))->expr));
	return row_hash(args);
}

/* ---- the cut ---- */

/* SELECT keys FROM ...: what the delta tells of the partitions; of a LIMIT, what it is ordered by. */
static Query *
input_query(Query *query, const List *exprs)
{
	Query	   *input = copyObject(query);
	List	   *targets = NIL;
	ListCell   *lc;

	foreach(lc, exprs)
		targets = lappend(targets, pgs_target(copyObject(lfirst(lc)), list_length(targets) + 1,
											  psprintf("k%d", list_length(targets) + 1)));
	if (targets == NIL)
		targets = list_make1(pgs_target((Expr *) makeBoolConst(true, false), 1, "one"));
	pgs_bare_level(input);
	input->targetList = targets;
	return input;
}

/* Add a column to the state, computed by "expr". */
static TargetEntry *
add_column(PgsBlock *block, List **targets, Expr *expr, const char *name)
{
	TargetEntry *tle = pgs_target(expr, list_length(*targets) + 1, name);

	*targets = lappend(*targets, tle);
	pgs_cut_add_column(block, name, exprType((Node *) expr), exprTypmod((Node *) expr), exprCollation((Node *) expr));
	return tle;
}

/* What a LIMIT is ordered by, where a boundary can be told from it. */
static List *
find_order(Query *query, PgsBlock *block)
{
	List	   *result = NIL;
	ListCell   *lc;

	if (!query->sortClause || query->hasTargetSRFs || !pgs_limit_value(query->limitCount, &block->limit) || block->limit == 0)
	{
		block->limit = 0;
		return NIL;
	}
	foreach(lc, query->sortClause)
	{
		SortGroupClause *clause = copyObject(lfirst_node(SortGroupClause, lc));

		clause->tleSortGroupRef = foreach_current_index(lc) + 1;
		block->order = lappend(block->order, clause);
		result = lappend(result, get_sortgroupclause_expr(lfirst(lc), query->targetList));
	}
	return result;
}

/* The columns of the state that hold what a LIMIT is ordered by; those that are not selected are added. */
static void
add_order(PgsBlock *block, const List *exprs, List **targets)
{
	ListCell   *lc;

	foreach(lc, exprs)
	{
		int			attno = 0;
		ListCell   *target;

		foreach(target, *targets)
			if (equal(lfirst_node(TargetEntry, target)->expr, lfirst(lc)))
				attno = lfirst_node(TargetEntry, target)->resno;
		if (attno == 0)
			attno = add_column(block, targets, copyObject(lfirst(lc)), psprintf("o%d", foreach_current_index(lc) + 1))->resno;
		block->order_columns = lappend_int(block->order_columns, attno);
	}
}

/*
 * Cut a level with window functions, DISTINCT ON or LIMIT, one of them, and no aggregate; its FROM is linear.
 */
Query *
pgs_cut_partition(PgsCut *cut, Query *query)
{
	KeyList		keys = find_keys(query);
	PgsBlock   *block;
	List	   *targets = NIL;
	List	   *outputs = NIL;
	List	   *junk = NIL;
	List	   *order = NIL;
	ListCell   *lc;

	block = pgs_cut_new_block(PGS_BLOCK_PARTITION, query->hasWindowFuncs ? "window functions" :
							  query->hasDistinctOn ? "DISTINCT ON" : "LIMIT");
	block->nkeys = list_length(keys.exprs);
	block->eqops = keys.eqops;
	if (!query->hasWindowFuncs && !query->hasDistinctOn)
		order = find_order(query, block);
	block->input = input_query(query, order ? order : keys.exprs);
	targets = list_make1(pgs_target(hash_of(keys.exprs), Anum_state_hash, "h"));
	foreach(lc, keys.exprs)
		(void) add_column(block, &targets, copyObject(lfirst(lc)), psprintf("k%d", foreach_current_index(lc) + 1));
	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);
		int			attno = 0;
		ListCell   *key;

		if (tle->resjunk)
		{
			junk = lappend(junk, tle);
			continue;
		}
		foreach(key, keys.exprs)
			if (equal(tle->expr, lfirst(key)))
				attno = Anum_state_hash + 1 + foreach_current_index(key);
		if (attno == 0)
		{
			add_column(block, &targets, tle->expr, psprintf("c%d", tle->resno))->ressortgroupref = tle->ressortgroupref;
			attno = list_length(targets);
		}
		else if (tle->ressortgroupref)
		{
			/* the column is there already, but the clauses want to find it */
			TargetEntry *copy = copyObject(tle);

			copy->resjunk = true;
			junk = lappend(junk, copy);
		}
		outputs = lappend(outputs, pgs_target((Expr *) pgs_state_var(block, 1, attno), list_length(outputs) + 1, tle->resname));
	}
	add_order(block, order, &targets);
	if (keys.exprs == NIL && query->hasWindowFuncs && !query->hasTargetSRFs && list_length(targets) > 1)
		linitial_node(TargetEntry, targets)->expr = hash_of_row(targets);
	foreach(lc, junk)
		lfirst_node(TargetEntry, lc)->resno = list_length(targets) + 1 + foreach_current_index(lc);
	query->targetList = list_concat(targets, junk);
	query->constraintDeps = NIL;
	block->groups = query;
	block = pgs_cut_finish_block(cut, block);
	return block ? pgs_cut_state_query(block, outputs, NULL) : NULL;
}

/* ---- deltas ---- */

/* ORDER BY the first columns as a LIMIT does, then "last", if given; one row, behind so many. */
static void
order_as(Query *query, const PgsBlock *block, Expr *last, int64 offset)
{
	query->sortClause = copyObject(block->order);
	for (int i = 0; i < list_length(block->order); i++)
		list_nth_node(TargetEntry, query->targetList, i)->ressortgroupref = i + 1;
	if (last)
	{
		int			n = list_length(query->targetList) + 1;
		TargetEntry *tle = pgs_target(last, n, "last");

		tle->ressortgroupref = n;
		query->targetList = lappend(query->targetList, tle);
		query->sortClause = lappend(query->sortClause, pgs_group_clause(last, n));
	}
	query->limitCount = (Node *) pgs_int8_const(1);
	if (offset > 0)
		query->limitOffset = (Node *) pgs_int8_const(offset);
}

static Query *
with_flag(Query *query, int ncolumns, bool flag)
{
	Query	   *result = pgs_select_from(pgs_subquery_item(query, "arm"));

	result->targetList = list_truncate(pgs_vars_of(query->targetList), ncolumns);
	result->targetList = lappend(result->targetList, pgs_target((Expr *) makeBoolConst(flag, false), ncolumns + 1, "last"));
	return result;
}

/*
 * The first of the changed rows, if it sorts before the last row of the state, or as it does; any, if the state has less rows than
 * the LIMIT lets it have.
 */
static Query *
before_last(const PgsBlock *block, Query *delta)
{
	int			n = list_length(block->order);
	List	   *columns = NIL;
	Query	   *last;
	Query	   *both;
	Query	   *first;
	Query	   *query;
	ListCell   *lc;

	foreach(lc, block->order_columns)
		columns = lappend(columns, pgs_target((Expr *) pgs_state_var(block, 1, lfirst_int(lc)), list_length(columns) + 1,
											  psprintf("s%d", list_length(columns) + 1)));
	last = pgs_cut_state_query(unconstify(PgsBlock *, block), columns, NULL);
	order_as(last, block, NULL, block->limit - 1);
	both = pgs_delta_union_all(list_make2(with_flag(delta, n, false), with_flag(last, n, true)));
	first = pgs_select_from(pgs_subquery_item(both, "both"));
	first->targetList = list_truncate(pgs_vars_of(both->targetList), n);
	/* of rows that sort alike, the changed one is first */
	order_as(first, block, (Expr *) makeVar(1, n + 1, BOOLOID, -1, InvalidOid, 0), 0);
	query = pgs_select_from(pgs_subquery_item(first, "first"));
	query->targetList = list_make1(pgs_target((Expr *) makeBoolConst(true, false), 1, "one"));
	query->jointree->quals = (Node *) makeBoolExpr(NOT_EXPR, list_make1(makeVar(1, n + 1, BOOLOID, -1, InvalidOid, 0)), -1);
	return query;
}

/*
 * The keys that the delta of a block's input touches, and their hash; without keys, one row or none.
 */
Query *
pgs_delta_touched(const PgsBlock *block, Query *delta)
{
	StringInfoData sql;
	Query	   *query;
	List	   *keys = NIL;
	ListCell   *lc;

	initStringInfo(&sql);
	for (int i = 1; i <= block->nkeys; i++)
		appendStringInfo(&sql, "%sk%d", i > 1 ? ", " : "", i);
	if (block->limit > 0)
		query = before_last(block, delta);
	else if (block->nkeys == 0)
		query = pgs_delta_parse("SELECT true AS one FROM d LIMIT 1", delta, NULL);
	else
		query = pgs_delta_parse(psprintf("SELECT %s FROM d GROUP BY %s", sql.data, sql.data), delta, NULL);
	pgs_flatten_groups(query);
	if (block->nkeys > 0)
		foreach(lc, query->targetList)
			keys = lappend(keys, lfirst_node(TargetEntry, lc)->expr);
	query->targetList = lappend(query->targetList, pgs_target(hash_of(keys), list_length(query->targetList) + 1, "h"));
	return query;
}

/* What the touched partitions are now, with weight 1. */
static Query *
partitions_now(const PgsBlock *block, const PgsDelta *keys, bool nulls)
{
	Query	   *sub = pgs_delta_recompute(block, keys->desc, keys->name, keys->rows, nulls);
	Query	   *query = pgs_select_from(pgs_subquery_item(sub, "now"));

	query->targetList = pgs_vars_of(sub->targetList);
	pgs_add_weight(query, pgs_int8_const(1));
	return query;
}

/* What is stored of them, with weight -1: found by the hash, known by the keys. */
static Query *
partitions_stored(PgsBlock *block, const PgsDelta *keys)
{
	List	   *targets = NIL;
	List	   *quals = NIL;
	Query	   *query;
	RangeTblRef *ref = makeNode(RangeTblRef);
	ListCell   *lc;

	foreach(lc, block->columns)
	{
		int			attno = foreach_current_index(lc) + 1;

		targets = lappend(targets, pgs_target((Expr *) pgs_state_var(block, 1, attno), attno, lfirst_node(ColumnDef, lc)->colname));
	}
	query = pgs_cut_state_query(block, targets, NULL);
	if (block->nkeys > 0)
	{
		query->rtable = lappend(query->rtable, pgs_delta_tuplestore(keys->name, keys->desc, keys->rows));
		ref->rtindex = list_length(query->rtable);
		query->jointree->fromlist = lappend(query->jointree->fromlist, ref);
		quals = list_make1(pgs_operation(lookup_type_cache(INT8OID, TYPECACHE_EQ_OPR)->eq_opr,
										 (Expr *) pgs_state_var(block, 1, Anum_state_hash),
										 (Expr *) makeVar(ref->rtindex, block->nkeys + 1, INT8OID, -1, InvalidOid, 0)));
	}
	foreach(lc, block->eqops)
	{
		int			n = foreach_current_index(lc) + 1;
		Var		   *key = pgs_state_var(block, ref->rtindex, Anum_state_hash + n);

		key->varattno = key->varattnosyn = n;
		quals = lappend(quals, pgs_not_distinct(lfirst_oid(lc), (Expr *) pgs_state_var(block, 1, Anum_state_hash + n),
												(Expr *) key));
	}
	query->jointree->quals = pgs_all_of(quals);
	pgs_add_weight(query, pgs_int8_const(-1));
	return query;
}

/*
 * The weighted delta of a state: its columns and, last, the weight.  "keys" is a list of two PgsDelta, for keys without a NULL and
 * for those with one.
 */
Query *
pgs_delta_partitions(const PgsBlock *block, List *keys)
{
	List	   *arms = NIL;
	ListCell   *lc;

	foreach(lc, keys)
	{
		PgsDelta   *some = lfirst(lc);

		if (some->rows == 0)
			continue;
		arms = lappend(arms, partitions_now(block, some, foreach_current_index(lc) > 0));
		arms = lappend(arms, partitions_stored(unconstify(PgsBlock *, block), some));
	}
	return pgs_delta_union_all(arms);
}
