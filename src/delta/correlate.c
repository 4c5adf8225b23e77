/*
 * correlate.c - subqueries that refer to the level around them, made independent of it
 *
 * A correlated subquery is one query for each row outside.  All of them together are one query, with the rows that it has for a row
 * outside found by a key:
 *
 *  - where the subquery refers to the outside only by conditions "inner = outer" of its WHERE, the key is inner, and the condition
 *    moves to where the two are joined;
 *  - else the values that it refers to are joined to it, each combination once: SELECT DISTINCT values FROM outside; they are the
 *    key.
 *
 * What the subquery does to its rows, it does for each key then: GROUP BY, DISTINCT and PARTITION BY it as well, and LIMIT becomes a
 * condition on row_number().  Of a set operation, each arm is treated so, and the key is among its columns (correlate_set.c).  (Neumann and Kemper, "Unnesting arbitrary queries", 2015; the first way is Kim's and Dayal's.)
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"

/* ---- what refers to what ---- */

typedef struct
{
	Index		depth;			/* of the query that we are in, beneath the subquery */
	bool		local;			/* refers to items of the subquery itself */
	bool		outer;			/* to items of the level around it */
	bool		aggregate;		/* holds an aggregate of the level around it */
	List	   *vars;			/* of Var, as that level sees them: each one once */
} References;

static bool
reference_walker(Node *node, References *r)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		r->local |= var->varlevelsup == r->depth;
		if (var->varlevelsup == r->depth + 1)
		{
			var = copyObject(var);
			var->varlevelsup = 0;
			r->outer = true;
			r->vars = list_append_unique(r->vars, var);
		}
		return false;
	}
	if ((IsA(node, Aggref) && ((Aggref *) node)->agglevelsup > r->depth) ||
		(IsA(node, GroupingFunc) && ((GroupingFunc *) node)->agglevelsup > r->depth))
		r->aggregate = true;
	if (IsA(node, Query))
	{
		r->depth++;
		(void) query_tree_walker((Query *) node, reference_walker, r, 0);
		r->depth--;
		return false;
	}
	return expression_tree_walker(node, reference_walker, r);
}

/* References of an expression of the subquery's own level. */
static References
expression_references(Node *expr)
{
	References	result = {0};

	(void) reference_walker(expr, &result);
	return result;
}

static References
query_references(Query *query)
{
	References	result = {0};

	(void) query_tree_walker(query, reference_walker, &result, 0);
	return result;
}

/* Whether a subquery refers to the level around it. */
bool
pgs_is_correlated(Query *sub)
{
	return query_references(sub).outer;
}

/* The columns of the level around a subquery that it refers to, as Vars of that level. */
List *
pgs_outer_columns(Query *sub)
{
	return query_references(sub).vars;
}

/* ---- the key in all that a subquery does ---- */

static Index
next_ref(const List *targets)
{
	Index		result = 1;
	ListCell   *lc;

	foreach(lc, targets)
		result = Max(result, lfirst_node(TargetEntry, lc)->ressortgroupref + 1);
	return result;
}

/* Columns that are not junk come first, and the new one last among them. */
static TargetEntry *
add_output(Query *sub, Expr *expr, const char *name)
{
	TargetEntry *tle = pgs_target(expr, 1, name);
	List	   *targets = NIL;
	ListCell   *lc;
	bool		added = false;

	foreach(lc, sub->targetList)
	{
		if (lfirst_node(TargetEntry, lc)->resjunk && !added)
		{
			targets = lappend(targets, tle);
			added = true;
		}
		targets = lappend(targets, lfirst(lc));
	}
	if (!added)
		targets = lappend(targets, tle);
	foreach(lc, targets)
		lfirst_node(TargetEntry, lc)->resno = foreach_current_index(lc) + 1;
	sub->targetList = targets;
	return tle;
}

/* For each key: what GROUP BY, DISTINCT [ON] and windows do, they do for it. */
static int
add_key(Query *sub, Expr *expr, int n)
{
	TargetEntry *tle = add_output(sub, expr, psprintf("key%d", n));
	SortGroupClause *clause = pgs_group_clause(expr, next_ref(sub->targetList));
	ListCell   *lc;

	if (sub->groupClause || sub->hasAggs || sub->hasWindowFuncs || sub->distinctClause)
		tle->ressortgroupref = clause->tleSortGroupRef;
	if (sub->groupClause || sub->hasAggs || sub->havingQual)
		sub->groupClause = lappend(sub->groupClause, copyObject(clause));
	foreach(lc, sub->windowClause)
		lfirst_node(WindowClause, lc)->partitionClause = lcons(copyObject(clause),
															   lfirst_node(WindowClause, lc)->partitionClause);
	if (sub->hasDistinctOn)
	{
		sub->distinctClause = lcons(copyObject(clause), sub->distinctClause);
		sub->sortClause = lcons(copyObject(clause), sub->sortClause);
	}
	else if (sub->distinctClause)
		sub->distinctClause = lappend(sub->distinctClause, copyObject(clause));
	return tle->resno;
}

/* The value of a LIMIT or OFFSET, where that is a constant and not NULL. */
bool
pgs_limit_value(Node *limit, int64 *value)
{
	Const	   *constant = (Const *) eval_const_expressions(NULL, limit);

	if (constant == NULL || !IsA(constant, Const) || constant->consttype != INT8OID)
		return false;
	*value = constant->constisnull ? -1 : DatumGetInt64(constant->constvalue);
	return *value >= 0;
}

/* LIMIT and OFFSET for each key: a condition on the number of the row, or with ties, on its rank.  NULL: not possible. */
static Query *
limit_by_key(Query *sub, const List *keys)
{
	int64		offset = 0;
	int64		count = 0;
	bool		ties = sub->limitOption == LIMIT_OPTION_WITH_TIES;
	WindowClause *window = makeNode(WindowClause);
	WindowFunc *function = makeNode(WindowFunc);
	List	   *quals = NIL;
	Query	   *outer;
	TargetEntry *number;
	Var		   *var;
	ListCell   *lc;
	Oid			le = InvalidOid;

	if ((sub->limitCount && !pgs_limit_value(sub->limitCount, &count)) ||
		(sub->limitOffset && !pgs_limit_value(sub->limitOffset, &offset)) || (ties && offset > 0))
		return NULL;
	outer = pgs_peel_limit(sub);
	/* the order is the window's now */
	window->winref = 1;
	window->frameOptions = FRAMEOPTION_DEFAULTS;
	window->orderClause = outer->sortClause;
	foreach(lc, keys)
	{
		TargetEntry *tle = get_tle_by_resno(outer->targetList, lfirst_int(lc));
		SortGroupClause *clause;

		if (tle->ressortgroupref == 0)
			tle->ressortgroupref = next_ref(outer->targetList);
		clause = pgs_group_clause(tle->expr, tle->ressortgroupref);
		window->partitionClause = lappend(window->partitionClause, clause);
	}
	function->winfnoid = ties ? F_RANK_ : F_ROW_NUMBER;
	function->wintype = INT8OID;
	function->winref = 1;
	function->location = -1;
	outer->windowClause = list_make1(window);
	outer->hasWindowFuncs = true;
	outer->sortClause = NIL;
	number = add_output(outer, (Expr *) function, "number");
	if (outer->limitCount == NULL)
		count = -1;
	outer->limitCount = outer->limitOffset = NULL;
	outer->limitOption = LIMIT_OPTION_COUNT;

	/* what is peeled off once more is just the condition */
	var = makeVar(1, number->resno, INT8OID, -1, InvalidOid, 0);
	outer = pgs_peel_limit(outer);
	le = get_opfamily_member(get_opclass_family(GetDefaultOpClass(INT8OID, BTREE_AM_OID)), INT8OID, INT8OID,
							 BTLessEqualStrategyNumber);
	if (count >= 0)
		quals = lappend(quals, pgs_operation(le, (Expr *) var, pgs_int8_const(offset + count)));
	if (offset > 0)
		quals = lappend(quals, pgs_operation(get_commutator(le), (Expr *) copyObject(var), pgs_int8_const(offset + 1)));
	outer->jointree->quals = (Node *) make_ands_explicit(quals);
	/* nobody above asks for the number, or for what the order wanted */
	outer->targetList = list_truncate(outer->targetList, number->resno - 1);
	return outer;
}

/* ---- by equality ---- */

/* Whether an operator, of one type or two, has the same idea of equality as a type's own. */
bool
pgs_is_equality_of(Oid opno, Oid eqop)
{
	ListCell   *lc;

	if (opno == eqop)
		return true;
	foreach(lc, get_mergejoin_opfamilies(opno))
		if (list_member_oid(get_mergejoin_opfamilies(eqop), lfirst_oid(lc)))
			return true;
	return false;
}

/* Whether "inner = outer" is an equality by which inner can be grouped. */
static bool
is_groupable(OpExpr *op, Node *inner)
{
	Oid			type = exprType(inner);
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_HASH_EXTENDED_PROC);

	if (!OidIsValid(entry->eq_opr) || !OidIsValid(entry->hash_extended_proc) || expression_returns_set(inner))
		return false;
	if ((OidIsValid(op->inputcollid) && !get_collation_isdeterministic(op->inputcollid)) ||
		(OidIsValid(exprCollation(inner)) && !get_collation_isdeterministic(exprCollation(inner))))
		return false;
	return pgs_is_equality_of(op->opno, entry->eq_opr);
}

/* Read a condition as "inner = outer"; "first" tells which argument is the inner one. */
static bool
is_match(Node *qual, bool *first)
{
	OpExpr	   *op = (OpExpr *) qual;
	References	a;
	References	b;

	if (!IsA(op, OpExpr) || list_length(op->args) != 2 || !op_strict(op->opno) ||
		!op_mergejoinable(op->opno, exprType(linitial(op->args))) || checkExprHasSubLink(qual))
		return false;
	a = expression_references(linitial(op->args));
	b = expression_references(lsecond(op->args));
	if (a.outer == b.outer || (a.outer ? a.local : b.local) || a.aggregate || b.aggregate)
		return false;
	*first = b.outer;
	return is_groupable(op, list_nth(op->args, *first ? 0 : 1));
}

/* Take the conditions "inner = outer" out of WHERE; false, and nothing changed, if the subquery refers to the outside elsewhere. */
static bool
take_matches(Query *sub, List **matches)
{
	List	   *rest = NIL;
	List	   *found = NIL;
	Node	   *quals = sub->jointree->quals;
	ListCell   *lc;

	foreach(lc, make_ands_implicit((Expr *) quals))
	{
		bool		first;

		if (is_match(lfirst(lc), &first))
		{
			PgsMatch   *match = palloc0(sizeof(PgsMatch));

			match->op = copyObject(lfirst(lc));
			match->inner = first ? 0 : 1;
			found = lappend(found, match);
		}
		else
			rest = lappend(rest, lfirst(lc));
	}
	sub->jointree->quals = pgs_all_of(rest);
	if (query_references(sub).outer)
	{
		sub->jointree->quals = quals;
		return false;
	}
	*matches = found;
	return true;
}

/* ---- by the values outside ---- */

typedef struct
{
	Index		depth;
	List	   *vars;
	int			rtindex;		/* of the values, in the subquery */
} ValuesContext;

static Node *
values_mutator(Node *node, ValuesContext *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varlevelsup == context->depth + 1)
	{
		Var		   *var = copyObject((Var *) node);
		ListCell   *lc;

		var->varlevelsup = 0;
		foreach(lc, context->vars)
			if (equal(lfirst(lc), var))
				return (Node *) makeVar(context->rtindex, foreach_current_index(lc) + 1, var->vartype, var->vartypmod,
										var->varcollid, context->depth);
	}
	if (IsA(node, Query))
	{
		Query	   *result;

		context->depth++;
		result = query_tree_mutator((Query *) node, values_mutator, context, 0);
		context->depth--;
		return (Node *) result;
	}
	return expression_tree_mutator(node, values_mutator, context);
}

/* Whether the condition of an outer join refers to the outside: there the values can't be joined. */
static bool
outer_condition(Node *node)
{
	ListCell   *lc;

	if (IsA(node, FromExpr))
	{
		foreach(lc, ((FromExpr *) node)->fromlist)
			if (outer_condition(lfirst(lc)))
				return true;
		return false;
	}
	if (!IsA(node, JoinExpr))
		return false;
	return expression_references(((JoinExpr *) node)->quals).outer || outer_condition(((JoinExpr *) node)->larg) ||
		outer_condition(((JoinExpr *) node)->rarg);
}

/* Items of a join tree that an outer join may pad with NULLs. */
static void
gather_nullable(Node *node, bool nullable, Bitmapset **result)
{
	ListCell   *lc;

	if (IsA(node, RangeTblRef))
	{
		if (nullable)
			*result = bms_add_member(*result, ((RangeTblRef *) node)->rtindex);
	}
	else if (IsA(node, FromExpr))
		foreach(lc, ((FromExpr *) node)->fromlist)
			gather_nullable(lfirst(lc), nullable, result);
	else
	{
		JoinExpr   *join = (JoinExpr *) node;

		gather_nullable(join->larg, nullable || join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL, result);
		gather_nullable(join->rarg, nullable || join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL, result);
	}
}

/* Items of a level that an outer join may pad with NULLs. */
Bitmapset *
pgs_nullable_items(Query *query)
{
	Bitmapset  *result = NULL;

	gather_nullable((Node *) query->jointree, false, &result);
	return result;
}

/* Whether an expression of a level is a column that is never NULL. */
bool
pgs_is_never_null(Query *query, Node *expr)
{
	Var		   *var = (Var *) expr;
	RangeTblEntry *rte;
	bool		result;

	if (expr && IsA(expr, Const))
		return !((Const *) expr)->constisnull;
	if (expr == NULL || !IsA(var, Var) || var->varlevelsup != 0 || var->varattno <= 0 || query->setOperations ||
		query->groupingSets)
		return false;
	if (bms_is_member(var->varno, pgs_nullable_items(query)))
		return false;
	rte = rt_fetch(var->varno, query->rtable);
	if (rte->rtekind == RTE_SUBQUERY)
		return pgs_is_never_null(rte->subquery,
								 (Node *) get_tle_by_resno(rte->subquery->targetList, var->varattno)->expr);
	if (rte->rtekind == RTE_RELATION)
	{
		Relation	rel = table_open(rte->relid, AccessShareLock);

		result = TupleDescAttr(RelationGetDescr(rel), var->varattno - 1)->attnotnull;
		table_close(rel, NoLock);
		return result;
	}
	return false;
}

/*
 * A part of a level's FROM, with conditions of its WHERE: where the values come from that a subquery beside it refers to.  "nodes" are
 * of the join tree.
 */
Query *
pgs_domain(Query *query, List *nodes, List *quals)
{
	Query	   *result = copyObject(query);
	Bitmapset  *items = NULL;
	Bitmapset  *joins = NULL;

	pgs_bare_level(result);
	result->jointree = makeFromExpr(copyObject(nodes), pgs_all_of(copyObject(quals)));
	pgs_gather_items((Node *) result->jointree, &items, &joins);
	pgs_keep_items(result, bms_union(items, joins));
	/* in conditions of outer joins */
	result->hasSubLinks = checkExprHasSubLink((Node *) result->jointree);
	return result;
}

/* Join the distinct values of "vars", what a subquery refers to, from "domain", a FROM and WHERE of the level around it. */
static bool
join_values(Query *sub, List *vars, Query *domain, List **matches)
{
	ValuesContext context = {.vars = vars, .rtindex = list_length(sub->rtable) + 1};
	Query	   *values;
	Bitmapset  *items = NULL;
	Bitmapset  *joins = NULL;
	RangeTblRef *ref = makeNode(RangeTblRef);
	ListCell   *lc;

	if (outer_condition((Node *) sub->jointree))
		return false;
	values = copyObject(domain);
	pgs_gather_items((Node *) values->jointree, &items, &joins);
	foreach(lc, vars)
	{
		int			n = foreach_current_index(lc) + 1;
		TargetEntry *tle = pgs_target(copyObject(lfirst(lc)), n, psprintf("value%d", n));
		PgsMatch   *match = palloc0(sizeof(PgsMatch));

		/* one value stands for all that are equal to it: they must be the same in whatever is computed from it */
		if (!pgs_delta_equal_means_same(exprType(lfirst(lc)), exprTypmod(lfirst(lc)), exprCollation(lfirst(lc))))
			return false;
		if (((Var *) lfirst(lc))->varattno <= 0 || !bms_is_member(((Var *) lfirst(lc))->varno, items) ||
			!OidIsValid(lookup_type_cache(exprType(lfirst(lc)), TYPECACHE_EQ_OPR)->eq_opr))
			return false;
		values->targetList = lappend(values->targetList, tle);
		match->op = (OpExpr *) pgs_operation(lookup_type_cache(exprType(lfirst(lc)), TYPECACHE_EQ_OPR)->eq_opr,
											 (Expr *) makeVar(context.rtindex, n, exprType(lfirst(lc)),
															  exprTypmod(lfirst(lc)), exprCollation(lfirst(lc)), 0),
											 copyObject(lfirst(lc)));
		IncrementVarSublevelsUp(lsecond(match->op->args), 1, 0);
		match->null_safe = !pgs_is_never_null(domain, lfirst(lc));
		*matches = lappend(*matches, match);
	}
	pgs_make_distinct(values);
	/* items of FROM that refer to the values are beside them now */
	foreach(lc, sub->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);
		References	r = {0};

		if (rte->rtekind != RTE_SUBQUERY && rte->rtekind != RTE_FUNCTION && rte->rtekind != RTE_VALUES && rte->rtekind != RTE_TABLEFUNC)
			continue;
		(void) range_table_entry_walker(rte, reference_walker, &r, 0);
		rte->lateral |= r.outer;
	}
	(void) query_tree_mutator(sub, values_mutator, &context, QTW_DONT_COPY_QUERY);
	sub->rtable = lappend(sub->rtable, pgs_subquery_item(values, "outside"));
	ref->rtindex = context.rtindex;
	/* first, so that what refers to it comes behind */
	sub->jointree->fromlist = lcons(ref, sub->jointree->fromlist);
	return true;
}

/* ---- both ---- */

/* Bring a level into the form in which its conditions are all in WHERE. */
static bool
prepare(Query *sub)
{
	if (sub->cteList && !pgs_cut_inline_ctes(sub))
		return false;
	pgs_flatten_groups(sub);
	if (!sub->setOperations)
	{
		pgs_forget_join_aliases(sub);
		pgs_hoist_joins(sub, false);
	}
	return true;
}

/* Give a subquery its keys as columns; what it does to its rows, it does for each key then.  NULL: not possible. */
static Query *
add_keys(Query *sub, List *matches)
{
	bool		limited = sub->limitCount || sub->limitOffset;
	List	   *keys = NIL;
	ListCell   *lc;

	foreach(lc, matches)
	{
		PgsMatch   *match = lfirst(lc);

		match->resno = add_key(sub, copyObject(list_nth(match->op->args, match->inner)), foreach_current_index(lc) + 1);
		keys = lappend_int(keys, match->resno);
	}
	return limited ? limit_by_key(sub, keys) : sub;
}

/* What no key can be given to. */
static bool
is_beyond_keys(Query *sub, bool empty_known)
{
	return sub->groupingSets || sub->setOperations || query_references(sub).aggregate ||
		((sub->hasAggs || sub->havingQual) && !sub->groupClause && !empty_known);
}

/* An arm of a set operation, as a subquery of the level around that: with the values of "vars" as keys, whether it refers to them or not. */
Query *
pgs_decorrelate_arm(Query *arm, List *vars, Query *domain, List **matches)
{
	*matches = NIL;
	if (!prepare(arm) || is_beyond_keys(arm, false) || !join_values(arm, vars, domain, matches))
		return NULL;
	return add_keys(arm, *matches);
}

/*
 * Make a subquery independent of the level around it.  Returns it with key columns behind its own, and in "matches" (of PgsMatch) what
 * they are equal to outside; NULL where that can't be done.  "domain" is where the values outside come from.
 *
 * A subquery that is one row because it aggregates without GROUP BY is no row then where there is nothing to aggregate;
 * "empty_known": the caller knows what it would be.
 */
Query *
pgs_decorrelate(Query *sub, Query *domain, bool empty_known, List **matches)
{
	*matches = NIL;
	if (!prepare(sub))
		return NULL;
	if (!pgs_is_correlated(sub))
		return sub;
	if (sub->setOperations)
	{
		List	   *keys = pgs_decorrelate_arms(sub, domain, matches);

		if (keys == NIL)
			return NULL;
		return sub->limitCount || sub->limitOffset ? limit_by_key(sub, keys) : sub;
	}
	if (is_beyond_keys(sub, empty_known))
		return NULL;
	if (!take_matches(sub, matches) && !join_values(sub, query_references(sub).vars, domain, matches))
		return NULL;
	return add_keys(sub, *matches);
}

/* The condition that joins item "rtindex", a subquery made independent, to a row outside. */
static Expr *
match_condition(const PgsMatch *match, int rtindex)
{
	OpExpr	   *op = copyObject(match->op);
	Node	   *inner = list_nth(op->args, match->inner);
	Node	   *outer = list_nth(op->args, 1 - match->inner);
	Var		   *key = makeVar(rtindex, match->resno, exprType(inner), exprTypmod(inner), exprCollation(inner), 0);

	IncrementVarSublevelsUp(outer, -1, 1);
	lfirst(list_nth_cell(op->args, match->inner)) = key;
	if (match->null_safe)
		return pgs_not_distinct(op->opno, (Expr *) linitial(op->args), (Expr *) lsecond(op->args));
	return (Expr *) op;
}

/* All of them: a list of conditions, NIL for none. */
List *
pgs_match_conditions(const List *matches, int rtindex)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, matches)
		result = lappend(result, match_condition(lfirst(lc), rtindex));
	return result;
}
