/*
 * embed.c - small pieces of Query trees
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/fmgroids.h"
#include "utils/queryenvironment.h"

/* An output column. */
TargetEntry *
pgs_target(Expr *expr, int resno, const char *name)
{
	return makeTargetEntry(expr, resno, pstrdup(name), false);
}

/* -weight */
Expr *
pgs_negated(Expr *weight)
{
	return (Expr *) makeFuncExpr(F_INT8UM, INT8OID, list_make1(weight), InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

Expr *
pgs_int8_const(int64 value)
{
	return (Expr *) makeConst(INT8OID, -1, InvalidOid, sizeof(int64), Int64GetDatum(value), false, FLOAT8PASSBYVAL);
}

/* a op b, a condition */
Expr *
pgs_operation(Oid opno, Expr *a, Expr *b)
{
	Expr	   *result = make_opclause(opno, BOOLOID, false, a, b, InvalidOid, exprCollation((Node *) a));

	set_opfuncid((OpExpr *) result);
	return result;
}

/* a IS NOT DISTINCT FROM b */
Expr *
pgs_not_distinct(Oid eqop, Expr *a, Expr *b)
{
	Expr	   *result = pgs_operation(eqop, a, b);

	/* DistinctExpr is an OpExpr under another tag */
	NodeSetTag(result, T_DistinctExpr);
	return makeBoolExpr(NOT_EXPR, list_make1(result), -1);
}

/* Leave of a level its FROM and WHERE: no columns, and nothing that is done to rows. */
void
pgs_bare_level(Query *query)
{
	query->havingQual = query->limitCount = query->limitOffset = NULL;
	query->targetList = query->groupClause = query->groupingSets = query->distinctClause = query->sortClause = NIL;
	query->windowClause = query->constraintDeps = NIL;
	query->hasAggs = query->hasTargetSRFs = query->hasWindowFuncs = query->hasDistinctOn = false;
	query->hasSubLinks = false;
	query->limitOption = LIMIT_OPTION_COUNT;
}

/* Whether a subquery does nothing to the rows of its FROM and WHERE but to select columns. */
bool
pgs_is_plain(Query *query)
{
	return !query->setOperations && !query->hasAggs && !query->groupClause && !query->groupingSets && !query->havingQual &&
		!query->hasWindowFuncs && !query->distinctClause && !query->hasTargetSRFs && !query->limitCount && !query->limitOffset &&
		!query->cteList;
}

/* arg IS [NOT] NULL, of a single value */
Expr *
pgs_null_test(Expr *arg, NullTestType type)
{
	NullTest   *result = makeNode(NullTest);

	result->arg = arg;
	result->nulltesttype = type;
	result->location = -1;
	return (Expr *) result;
}

/* All conditions of a list as one; NULL for none. */
Node *
pgs_all_of(List *conditions)
{
	return conditions ? (Node *) make_ands_explicit(conditions) : NULL;
}

/* SELECT DISTINCT all columns, by their default equality. */
void
pgs_make_distinct(Query *query)
{
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		tle->ressortgroupref = tle->resno;
		query->distinctClause = lappend(query->distinctClause, pgs_group_clause(tle->expr, tle->resno));
	}
}

/* Put a weight behind the columns of a query. */
void
pgs_add_weight(Query *query, Expr *weight)
{
	query->targetList = lappend(query->targetList,
								pgs_target(weight, list_length(query->targetList) + 1, "weight"));
}

/* Names of a query's output columns, none of them empty. */
static List *
column_names(Query *query)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk)
			result = lappend(result, makeString(tle->resname && tle->resname[0] ? pstrdup(tle->resname) :
												psprintf("column%d", tle->resno)));
	}
	return result;
}

/* A subquery in FROM. */
RangeTblEntry *
pgs_subquery_item(Query *subquery, const char *alias)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_SUBQUERY;
	rte->subquery = subquery;
	rte->alias = makeAlias(alias, column_names(subquery));
	rte->eref = copyObject(rte->alias);
	rte->inFromCl = true;
	return rte;
}

/* A named tuplestore in FROM, with its number of rows for the planner. */
RangeTblEntry *
pgs_delta_tuplestore(const char *name, TupleDesc desc, double rows)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *names = NIL;

	rte->rtekind = RTE_NAMEDTUPLESTORE;
	rte->enrname = pstrdup(name);
	rte->enrtuples = rows;
	rte->inFromCl = true;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		rte->coltypes = lappend_oid(rte->coltypes, attr->atttypid);
		rte->coltypmods = lappend_int(rte->coltypmods, attr->atttypmod);
		rte->colcollations = lappend_oid(rte->colcollations, attr->attcollation);
		names = lappend(names, makeString(pstrdup(NameStr(attr->attname))));
	}
	rte->alias = makeAlias(name, names);
	rte->eref = copyObject(rte->alias);
	return rte;
}

/* SELECT ... FROM item, with no columns yet. */
Query *
pgs_select_from(RangeTblEntry *item)
{
	Query	   *query = makeNode(Query);
	RangeTblRef *ref = makeNode(RangeTblRef);

	ref->rtindex = 1;
	query->commandType = CMD_SELECT;
	query->canSetTag = true;
	query->rtable = list_make1(item);
	query->jointree = makeFromExpr(list_make1(ref), NULL);
	return query;
}

/* SELECT Vars of item 1, typed and named as "targets", but for junk. */
List *
pgs_vars_of(const List *targets)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, targets)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		result = lappend(result, pgs_target((Expr *) makeVarFromTargetEntry(1, tle), tle->resno, tle->resname));
	}
	return result;
}

static TupleDesc
output_desc(Query *query)
{
	TupleDesc	desc = CreateTemplateTupleDesc(list_length(query->targetList));
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		TupleDescInitEntry(desc, tle->resno, tle->resname, exprType((Node *) tle->expr), exprTypmod((Node *) tle->expr), 0);
		TupleDescInitEntryCollation(desc, tle->resno, exprCollation((Node *) tle->expr));
	}
	return desc;
}

/* What stands for the relations "d" and "r" of SQL of our own. */
typedef struct
{
	Query	   *d;
	Query	   *r;
} Inputs;

static bool
replace_walker(Node *node, Inputs *inputs)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *rte = (RangeTblEntry *) node;

		if (rte->rtekind == RTE_NAMEDTUPLESTORE && (strcmp(rte->enrname, "d") == 0 || strcmp(rte->enrname, "r") == 0))
		{
			rte->rtekind = RTE_SUBQUERY;
			rte->subquery = copyObject(rte->enrname[0] == 'd' ? inputs->d : inputs->r);
			rte->enrname = NULL;
			rte->coltypes = rte->coltypmods = rte->colcollations = NIL;
			if (!rte->alias)
				rte->alias = copyObject(rte->eref);
		}
		return false;
	}
	if (IsA(node, Query))
	{
		/* what is put in is not looked into */
		return query_tree_walker((Query *) node, replace_walker, inputs, QTW_EXAMINE_RTES_BEFORE);
	}
	return expression_tree_walker(node, replace_walker, inputs);
}

static void
register_input(QueryEnvironment *env, const char *name, Query *input)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.tupdesc = output_desc(input);
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	register_ENR(env, enr);
}

/*
 * Parse SQL of our own that reads from relations "d" and "r" (NULL: there is none), and put queries in their place.
 */
Query *
pgs_delta_parse(const char *sql, Query *d, Query *r)
{
	QueryEnvironment *env = create_queryEnv();
	RawStmt    *raw = linitial_node(RawStmt, raw_parser(sql, RAW_PARSE_DEFAULT));
	Inputs		inputs = {.d = d, .r = r};
	Query	   *query;

	register_input(env, "d", d);
	if (r)
		register_input(env, "r", r);
	query = parse_analyze_fixedparams(raw, sql, NULL, 0, env);
	(void) replace_walker((Node *) query, &inputs);
	return query;
}
