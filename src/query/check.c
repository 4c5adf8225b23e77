/*
 * check.c - what a query may not contain, and what decides how it is kept up to date
 *
 * Findings are returned, not raised: creation refuses the first one that has an SQLSTATE, check_query shows all.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "query/query.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

typedef struct
{
	List	   *reasons;
	List	   *volatile_names;		/* of String: each function is named once */
	List	   *stable_names;
	List	   *relations;			/* of Oid: each relation is judged once */
	bool		clock;
} CheckContext;

static void
add(CheckContext *context, int sqlerrcode, const char *block, const char *reason, const char *hint)
{
	PgsReason  *r = palloc0(sizeof(PgsReason));

	r->block = block;
	r->rule = sqlerrcode ? "refused" : "full";
	r->reason = reason;
	r->hint = hint;
	r->sqlerrcode = sqlerrcode;
	context->reasons = lappend(context->reasons, r);
}

/* ---- functions ---- */

static void
note_volatility(CheckContext *context, char volatility, char *name)
{
	List	  **seen = volatility == PROVOLATILE_VOLATILE ? &context->volatile_names : &context->stable_names;

	if (volatility != PROVOLATILE_IMMUTABLE && !list_member(*seen, makeString(name)))
		*seen = lappend(*seen, makeString(name));
}

static bool
note_function(Oid funcid, void *arg)
{
	char		volatility = func_volatile(funcid);

	if (volatility == PROVOLATILE_STABLE && pgs_query_is_settled(funcid))
		volatility = PROVOLATILE_IMMUTABLE;
	note_volatility(arg, volatility, get_func_name(funcid));
	return false;				/* never stops the walk */
}

/* An aggregate is declared immutable whatever its functions are, so ask those. */
static void
note_aggregate(Oid aggfnoid, CheckContext *context)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggfnoid));
	Form_pg_aggregate agg;

	if (!HeapTupleIsValid(tuple))
		return;					/* a plain function used as a window function */
	agg = (Form_pg_aggregate) GETSTRUCT(tuple);
	note_function(agg->aggtransfn, context);
	if (OidIsValid(agg->aggfinalfn))
		note_function(agg->aggfinalfn, context);
	ReleaseSysCache(tuple);
}

static bool walker(Node *node, CheckContext *context);

/* Defaults of arguments that the call leaves out are filled in by the planner only: look at them now. */
static void
note_defaults(FuncExpr *expr, CheckContext *context)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(expr->funcid));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", expr->funcid);
	if (((Form_pg_proc) GETSTRUCT(tuple))->pronargs > list_length(expr->args))
	{
		List	   *args = expand_function_arguments(expr->args, false, expr->funcresulttype, tuple);

		(void) expression_tree_walker((Node *) args, walker, context);
	}
	ReleaseSysCache(tuple);
}

/* ---- relations ---- */

static void
check_relation(RangeTblEntry *rte, CheckContext *context)
{
	Relation	rel;
	char	   *name;

	if (list_member_oid(context->relations, rte->relid))
		return;
	context->relations = lappend_oid(context->relations, rte->relid);
	rel = table_open(rte->relid, AccessShareLock);
	name = pstrdup(RelationGetRelationName(rel));

	if (rel->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		add(context, ERRCODE_INVALID_TABLE_DEFINITION, "FROM",
			psprintf("\"%s\" is a temporary relation, which other sessions cannot read", name),
			"Use a permanent table as source.");
	switch (rel->rd_rel->relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			break;
		case RELKIND_MATVIEW:
			add(context, 0, "FROM",
				psprintf("\"%s\" is a materialized view, whose changes cannot be captured", name),
				"Make it a stream table.");
			break;
		case RELKIND_FOREIGN_TABLE:
			add(context, 0, "FROM",
				psprintf("\"%s\" is a foreign table, whose changes cannot be captured", name), NULL);
			break;
		case RELKIND_VIEW:
			add(context, 0, "FROM",
				psprintf("view \"%s\" is read as its owner sees it, so it is not expanded", name),
				"Grant the owner of the stream table SELECT on the tables beneath the view.");
			break;
		default:
			add(context, ERRCODE_WRONG_OBJECT_TYPE, "FROM",
				psprintf("\"%s\" is not a table or view", name), NULL);
	}
	table_close(rel, NoLock);
}

/* ---- the walk ---- */

static void
check_block(Query *query, CheckContext *context)
{
	if (query->hasModifyingCTE || query->commandType != CMD_SELECT)
		add(context, ERRCODE_FEATURE_NOT_SUPPORTED, "WITH",
			"a data-modifying statement in WITH would run on every refresh",
			"Use a plain SELECT.");
	if (query->rowMarks)
		add(context, ERRCODE_FEATURE_NOT_SUPPORTED, "FOR UPDATE",
			"row locking clauses (FOR UPDATE, FOR SHARE) have no meaning in a stored result",
			"Leave the locking clause out.");
	if (query->limitCount && !query->sortClause)
		add(context, 0, "LIMIT", "LIMIT without ORDER BY may choose other rows each time",
			"Add an ORDER BY that decides which rows are kept.");
}

static void
check_rte(RangeTblEntry *rte, CheckContext *context)
{
	if (rte->rtekind == RTE_RELATION && (rte->inFromCl || rte->inh))
		check_relation(rte, context);
	if (rte->tablesample)
		add(context, ERRCODE_FEATURE_NOT_SUPPORTED, "TABLESAMPLE",
			"TABLESAMPLE chooses rows by where they lie, not by what they are",
			"Filter by a hash of a key instead.");
	if (rte->rtekind == RTE_NAMEDTUPLESTORE)
		add(context, ERRCODE_WRONG_OBJECT_TYPE, "FROM",
			psprintf("\"%s\" exists in a trigger only", rte->enrname), NULL);
}

static bool
walker(Node *node, CheckContext *context)
{
	if (node == NULL)
		return false;
	if (pgs_query_is_clock(node))
	{
		context->clock = true;
		return false;
	}
	if (pgs_query_is_watched_cast(node))
		return walker((Node *) ((CoerceViaIO *) node)->arg, context);
	switch (nodeTag(node))
	{
		case T_Query:
			check_block((Query *) node, context);
			return query_tree_walker((Query *) node, walker, context, QTW_EXAMINE_RTES_BEFORE);
		case T_RangeTblEntry:
			check_rte((RangeTblEntry *) node, context);
			return false;
		case T_Aggref:
			note_aggregate(((Aggref *) node)->aggfnoid, context);
			break;
		case T_WindowFunc:
			note_aggregate(((WindowFunc *) node)->winfnoid, context);
			break;
		case T_FuncExpr:
			note_defaults((FuncExpr *) node, context);
			break;
		case T_SQLValueFunction:
			note_volatility(context, PROVOLATILE_STABLE, "current date, time, user or schema");
			break;
		case T_NextValueExpr:
			note_volatility(context, PROVOLATILE_VOLATILE, "nextval");
			break;
		default:
			break;
	}
	(void) check_functions_in_node(node, note_function, context);
	return expression_tree_walker(node, walker, context);
}

/* ---- output columns ---- */

static void
check_column(TargetEntry *tle, List *before, CheckContext *context)
{
	Oid			type = exprType((Node *) tle->expr);
	char	   *name = tle->resname;

	if (name == NULL || strcmp(name, "?column?") == 0)
	{
		add(context, ERRCODE_INVALID_COLUMN_DEFINITION, "SELECT",
			psprintf("output column %d has no name", tle->resno), "Give it one with AS.");
		return;
	}
	if (list_member(before, makeString(name)))
		add(context, ERRCODE_DUPLICATE_COLUMN, "SELECT",
			psprintf("column name \"%s\" appears more than once in the output", name),
			"Give each column a name of its own with AS.");
	if (get_typtype(type) == TYPTYPE_PSEUDO)
		add(context, ERRCODE_INVALID_TABLE_DEFINITION, "SELECT",
			psprintf("output column \"%s\" has pseudo-type %s", name, format_type_be(type)),
			"Cast it to a type that a table can hold.");
	if (type_is_collatable(type) && !OidIsValid(exprCollation((Node *) tle->expr)))
		add(context, ERRCODE_INDETERMINATE_COLLATION, "SELECT",
			psprintf("collation of output column \"%s\" is not determined", name),
			"Say which with a COLLATE clause.");
}

static void
check_output(Query *query, CheckContext *context)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		check_column(tle, names, context);
		names = lappend(names, makeString(tle->resname ? tle->resname : ""));
	}
	if (names == NIL)
		add(context, ERRCODE_INVALID_TABLE_DEFINITION, "SELECT", "the query has no output columns",
			"Select at least one column.");
}

/* "a, b and c" */
static char *
enumerate(const List *names)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, names)
		appendStringInfo(&buf, "%s%s", lc == list_head(names) ? "" : lnext(names, lc) ? ", " : " and ", strVal(lfirst(lc)));
	return buf.data;
}

/*
 * Judge the expanded query of a definition, and fill in what comes of it: "reasons", a list of PgsReason, refusals first by their place
 * in the walk, "data_only" (stable functions may read tables, settings and clocks of their own), "clock" and "unsettled".
 */
void
pgs_query_check(PgsDefinition *def)
{
	CheckContext context = {0};
	ListCell   *lc;

	check_output(def->query, &context);
	(void) walker((Node *) def->query, &context);
	foreach(lc, context.volatile_names)
		add(&context, ERRCODE_FEATURE_NOT_SUPPORTED, "functions",
			psprintf("function %s is volatile: its result is another one on every call", strVal(lfirst(lc))),
			"Compute it where the source rows are written, or declare the function STABLE or IMMUTABLE if it is.");
	foreach(lc, context.stable_names)
		add(&context, 0, "functions",
			psprintf("%s is stable, not immutable: its result can change while no source does",
					 strVal(lfirst(lc))),
			"Refused in refresh mode DIFFERENTIAL; in AUTO and FULL, rows follow it at each refresh, not between two.");
	def->reasons = context.reasons;
	def->data_only = context.stable_names == NIL && context.volatile_names == NIL;
	def->clock = context.clock;
	def->unsettled = context.stable_names ? enumerate(context.stable_names) : NULL;
}

/* Raise the first refusal of a list, if there is one. */
void
pgs_query_refuse(const List *reasons)
{
	ListCell   *lc;

	foreach(lc, reasons)
	{
		PgsReason  *r = lfirst(lc);

		if (r->sqlerrcode)
			ereport(ERROR,
					(errcode(r->sqlerrcode),
					 errmsg("cannot keep this query as a stream table: %s", r->reason),
					 r->hint ? errhint("%s", r->hint) : 0));
	}
}
