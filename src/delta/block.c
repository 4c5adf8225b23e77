/*
 * block.c - cut a query into blocks
 *
 * A linear query (joins, WHERE, projection, UNION ALL) has a delta that follows from those of what it reads.  Each aggregate,
 * DISTINCT, window or LIMIT, wherever it stands, becomes a block: its input is a linear query, its result is kept in a state table,
 * and in its place the query reads from that state.  So a complicated query becomes a list of blocks, inner ones first, and a linear
 * query on top, the output; and a block's state is just another relation to what stands above it.
 *
 * From the top down, level by level: WITH queries are put where they are used; a level that does several things becomes several;
 * grouping sets, FULL joins, INTERSECT and EXCEPT are said by other operators; LATERAL subqueries and those in expressions become joins;
 * each outer join gets a level of its own.  What is left is one of the blocks, or linear.
 *
 * What doesn't fit is said, and the whole query is kept up to date another way.
 */
#include "postgres.h"

#include "access/nbtree.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "compat.h"
#include "delta/delta_internal.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

/* Name of the state table of a block, within the internal schema. */
char *
pgs_delta_state_name(int64 stream_id, int number)
{
	return psprintf("s_" INT64_FORMAT "_%d", stream_id, number);
}

/* Note why the query can't be cut; the first reason counts. */
Query *
pgs_cut_refuse(PgsCut *cut, const char *obstacle)
{
	if (!cut->obstacle)
		cut->obstacle = obstacle;
	return NULL;
}

/* ---- blocks ---- */

PgsBlock *
pgs_cut_new_block(PgsBlockKind kind, const char *title)
{
	PgsBlock   *block = palloc0(sizeof(PgsBlock));

	block->kind = kind;
	block->title = title;
	pgs_cut_add_column(block, "h", INT8OID, -1, InvalidOid);
	return block;
}

void
pgs_cut_add_column(PgsBlock *block, const char *name, Oid type, int32 typmod, Oid collation)
{
	block->columns = lappend(block->columns, makeColumnDef(name, type, typmod, collation));
}

/*
 * Whether values of a type that are equal are the same to the last bit (access/nbtree.h: BTEQUALIMAGE_PROC).  They are, too,
 * where a type modifier says how many decimals a numeric has, or how many blanks fill up a character(n).
 */
bool
pgs_delta_equal_means_same(Oid type, int32 typmod, Oid collation)
{
	Oid			opclass;
	Oid			proc;

	type = getBaseTypeAndTypmod(type, &typmod);
	if (type == NUMERICOID && typmod >= 0)
		return true;
	if (type == BPCHAROID && typmod >= 0)
		return OidIsValid(collation) && get_collation_isdeterministic(collation);
	opclass = GetDefaultOpClass(type, BTREE_AM_OID);
	if (!OidIsValid(opclass))
		return false;
	proc = get_opfamily_proc(get_opclass_family(opclass), get_opclass_input_type(opclass),
							 get_opclass_input_type(opclass), BTEQUALIMAGE_PROC);
	return OidIsValid(proc) &&
		DatumGetBool(OidFunctionCall1Coll(proc, collation, ObjectIdGetDatum(get_opclass_input_type(opclass))));
}

/*
 * Add a key to a block.  Its groups are found by hash and equality.  Where equal values can look different (1.0 and 1.00), any of
 * them may stand for the group, as long as it is there: when rows leave, such a group is computed again.
 */
bool
pgs_cut_add_key(PgsCut *cut, PgsBlock *block, Expr *expr, Oid eqop)
{
	Oid			type = exprType((Node *) expr);
	TypeCacheEntry *entry = lookup_type_cache(type, TYPECACHE_EQ_OPR | TYPECACHE_HASH_EXTENDED_PROC);

	if (!OidIsValid(entry->hash_extended_proc) || entry->eq_opr != eqop)
	{
		pgs_cut_refuse(cut, psprintf("a group key of type %s, which has no hash function", format_type_be(type)));
		return false;
	}
	block->open |= !pgs_delta_equal_means_same(type, exprTypmod((Node *) expr), exprCollation((Node *) expr));
	block->nkeys++;
	block->eqops = lappend_oid(block->eqops, eqop);
	pgs_cut_add_column(block, psprintf("k%d", block->nkeys), type, exprTypmod((Node *) expr),
					   exprCollation((Node *) expr));
	return true;
}

/*
 * A block is complete: give it its number, and its state where there is one.  Returns the block to read from, which may be an equal one
 * that is there already (a WITH query that is referred to twice); NULL with an obstacle noted.
 */
PgsBlock *
pgs_cut_finish_block(PgsCut *cut, PgsBlock *block)
{
	ListCell   *lc;

	foreach(lc, cut->blocks)
	{
		PgsBlock   *other = lfirst(lc);

		if (other->kind == block->kind && equal(other->groups, block->groups) && equal(other->input, block->input))
			return other;
	}
	foreach(lc, block->columns)
		if (get_typtype(lfirst_node(ColumnDef, lc)->typeName->typeOid) == TYPTYPE_PSEUDO)
		{
			(void) pgs_cut_refuse(cut, psprintf("a column of pseudo-type %s beneath %s",
												format_type_be(lfirst_node(ColumnDef, lc)->typeName->typeOid),
												block->title));
			return NULL;
		}
	cut->blocks = lappend(cut->blocks, block);
	block->number = list_length(cut->blocks);
	block->state = get_relname_relid(pgs_delta_state_name(cut->stream_id, block->number),
									 get_namespace_oid(PGS_INTERNAL_SCHEMA, false));
	return block;
}

/* A column of a block's state. */
Var *
pgs_state_var(const PgsBlock *block, int varno, AttrNumber attno)
{
	ColumnDef  *def = list_nth_node(ColumnDef, block->columns, attno - 1);

	return makeVar(varno, attno, def->typeName->typeOid, def->typeName->typemod, def->collOid, 0);
}

/* SELECT targets FROM state WHERE having: Vars of item 1 are columns of the state. */
Query *
pgs_cut_state_query(PgsBlock *block, List *targets, Node *having)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);
	List	   *names = NIL;
	Query	   *query;
	ListCell   *lc;

	foreach(lc, block->columns)
		names = lappend(names, makeString(pstrdup(lfirst_node(ColumnDef, lc)->colname)));
	rte->rtekind = RTE_RELATION;
	rte->relid = block->state;
	rte->relkind = RELKIND_RELATION;
	rte->rellockmode = AccessShareLock;
	rte->inFromCl = true;
	rte->eref = makeAlias(psprintf("state_%d", block->number), names);
	query = pgs_select_from(rte);
	/* before there is a state, the query is looked at, but not run */
	if (OidIsValid(rte->relid))
		pgs_rte_read_as(query, rte, BOOTSTRAP_SUPERUSERID);
	query->targetList = targets;
	query->jointree->quals = having;
	return query;
}

/* ---- what a linear query may hold ---- */

static bool
odd_var_walker(Node *node, Query *query)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		/* whole rows and system columns of an item that may be replaced; joins are looked through */
		return var->varlevelsup == 0 && var->varattno <= 0 &&
			rt_fetch(var->varno, query->rtable)->rtekind != RTE_FUNCTION &&
			rt_fetch(var->varno, query->rtable)->rtekind != RTE_VALUES;
	}
	if (IsA(node, Query))
		return false;			/* sublinks are refused elsewhere */
	return expression_tree_walker(node, odd_var_walker, query);
}

static const char *
level_obstacle(Query *query)
{
	if (query->hasRecursive)
		return "a recursive query";
	if (!query->setOperations)
	{
		if (odd_var_walker((Node *) query->targetList, query) || odd_var_walker((Node *) query->jointree, query) ||
			odd_var_walker(query->havingQual, query))
			return "a whole row or a system column of a source";
	}
	return NULL;
}

static const char *
item_obstacle(RangeTblEntry *rte)
{
	switch (rte->rtekind)
	{
		case RTE_RELATION:
			if (!rte->inFromCl && !rte->inh)
				return NULL;	/* OLD and NEW of a view's rule, before 16 */
			if (rte->relkind != RELKIND_RELATION && rte->relkind != RELKIND_PARTITIONED_TABLE)
				return "a source that is no table";
			if (!rte->inh && has_subclass(rte->relid))
				return "ONLY of a table with children";
			return NULL;
		case RTE_SUBQUERY:
			return rte->lateral ? "a LATERAL subquery" : NULL;
		case RTE_JOIN:
		case RTE_FUNCTION:
		case RTE_VALUES:
		case RTE_TABLEFUNC:
		case RTE_RESULT:
			return NULL;
		default:
			return "an item of FROM that is neither table, function nor subquery";
	}
}

/* ---- the cut ---- */

static Query *
without_junk(Query *query)
{
	List	   *kept = NIL;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (tle->resjunk)
			continue;
		tle->ressortgroupref = 0;
		kept = lappend(kept, tle);
	}
	query->targetList = kept;
	return query;
}

/*
 * A query with the same rows that is simpler at the top, where there is one: what comes last in a level is taken off, and what can be
 * said by other means is.  NULL: this level does one thing only.
 */
static Query *
simpler_query(Query *query)
{
	bool		aggregates = query->hasAggs || query->groupClause || query->groupingSets || query->havingQual;

	if ((query->limitCount || query->limitOffset) &&
		(query->setOperations || aggregates || query->hasWindowFuncs || query->distinctClause))
		return pgs_peel_limit(query);
	if (query->setOperations)
		return NULL;
	if (query->distinctClause && (query->hasWindowFuncs || query->groupingSets || (aggregates && query->hasTargetSRFs)))
		return pgs_peel_distinct(query);
	if (aggregates && pgs_has_work_after_aggregates(query))
		return pgs_peel_aggregates(query);
	if (query->groupingSets)
		return pgs_grouping_sets_as_union(query);
	if (pgs_is_full_level(query))
		return pgs_full_as_union(query);
	return NULL;
}

/*
 * Cut one query level and what is beneath it.  Returns a linear query with the same rows, or NULL with an obstacle noted.
 * The query given is used up.
 */
Query *
pgs_cut_query(PgsCut *cut, Query *query)
{
	const char *why;
	Query	   *simpler;
	ListCell   *lc;

	check_stack_depth();
	if (query->cteList && !pgs_cut_inline_ctes(query))
		return pgs_cut_refuse(cut, "a recursive query");
	pgs_flatten_groups(query);
	if (!query->setOperations)
		pgs_spell_whole_rows(query);
	why = level_obstacle(query);
	if (why)
		return pgs_cut_refuse(cut, why);
	simpler = simpler_query(query);
	if (simpler)
		return pgs_cut_query(cut, simpler);
	if (query->setOperations)
		return pgs_cut_union(cut, query);
	if (query->groupingSets)
		return pgs_cut_refuse(cut, "more than 64 grouping sets");
	if (!pgs_cut_laterals(cut, query))
		return NULL;
	if (query->hasSubLinks && !pgs_cut_sublinks(cut, query))
		return NULL;
	if (!pgs_cut_split_outer(query))
		return pgs_cut_refuse(cut, "an outer join with a function in FROM that refers to what is outside of it");
	pgs_flatten_from(query);
	if (pgs_cut_misuses_clock(query))
		return pgs_cut_refuse(cut, pgs_delta_clock_obstacle);
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		why = item_obstacle(rte);
		if (why)
			return pgs_cut_refuse(cut, why);
		if (rte->rtekind == RTE_SUBQUERY)
		{
			rte->subquery = pgs_cut_query(cut, rte->subquery);
			if (!rte->subquery)
				return NULL;
		}
	}
	/* an order means nothing to a set of rows, but where it chooses among them */
	if (!query->hasDistinctOn && !query->limitCount && !query->limitOffset)
		query->sortClause = NIL;
	if (query->hasAggs || query->groupClause || query->havingQual)
		return pgs_cut_aggregate(cut, query);
	if (query->hasWindowFuncs || query->hasDistinctOn || query->limitCount || query->limitOffset)
		return pgs_cut_partition(cut, query);
	if (query->distinctClause)
		return pgs_cut_distinct(cut, query);
	return without_junk(query);
}

/* Whether a linear query joins the state of a block; "beside": something above joins it already. */
static bool
joins_state(Query *query, const PgsBlock *block, bool beside)
{
	int			items = 0;
	ListCell   *lc;

	foreach(lc, query->rtable)
		items += lfirst_node(RangeTblEntry, lc)->rtekind != RTE_JOIN && lfirst_node(RangeTblEntry, lc)->inFromCl;
	beside |= items > 1 && !query->setOperations;
	foreach(lc, query->rtable)
	{
		RangeTblEntry *rte = lfirst_node(RangeTblEntry, lc);

		if (rte->rtekind == RTE_SUBQUERY && joins_state(rte->subquery, block, beside))
			return true;
		/* one that isn't there yet has its name only */
		if (rte->rtekind == RTE_RELATION && rte->relid == block->state && beside &&
			strcmp(rte->eref->aliasname, psprintf("state_%d", block->number)) == 0)
			return true;
	}
	return false;
}

static void
find_joined(PgsIncrement *inc)
{
	ListCell   *a;
	ListCell   *b;

	foreach(a, inc->blocks)
	{
		PgsBlock   *block = lfirst(a);

		block->is_joined = joins_state(inc->output, block, false);
		foreach(b, inc->blocks)
			block->is_joined |= joins_state(((PgsBlock *) lfirst(b))->input, block, false);
	}
}

/*
 * How a query can be kept up to date by deltas.  "stream_id" names the state tables; those that exist are in the result.
 */
PgsIncrement *
pgs_delta_analyze(Query *query, int64 stream_id)
{
	PgsCut		cut = {.stream_id = stream_id};
	PgsIncrement *result = palloc0(sizeof(PgsIncrement));

	query = copyObject(query);
	pgs_query_prune(query);
	result->clock = pgs_delta_reads_clock(query);
	result->output = pgs_cut_query(&cut, query);
	result->blocks = cut.blocks;
	result->obstacle = cut.obstacle;
	if (result->output)
		find_joined(result);
	return result;
}

/* Whether what a change touches in a block is computed again. */
bool
pgs_delta_computes_again(const PgsBlock *block)
{
	return block->kind == PGS_BLOCK_PARTITION || block->open || pgs_delta_uses_rule(block, PGS_AGG_RECOMPUTE);
}

/* Whether SQL leaves open what some rows of the result look like, by groups of values that are equal and look different. */
bool
pgs_delta_is_open(const PgsIncrement *inc)
{
	ListCell   *lc;

	foreach(lc, inc->blocks)
		if (((PgsBlock *) lfirst(lc))->open)
			return true;
	return false;
}
