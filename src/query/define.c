/*
 * define.c - the definition of a stream table, and the view that holds it
 *
 * The view lives in the internal schema.  PostgreSQL then tracks what the query depends on, follows renames,
 * refuses to drop a column in use, checks the owner's rights at each refresh, and carries the query through
 * pg_dump and pg_upgrade; none of that would hold for a stored text or tree.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "commands/tablecmds.h"
#include "commands/view.h"
#include "compat.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "query/query.h"
#include "rewrite/rewriteHandler.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"

/*
 * Parse, expand, check and normalise a query on behalf of the role that will own the stream table.
 *
 * The text is analysed under the caller's search_path; the result names everything in full.  Raises errors of the
 * parser; findings of the check are left in "reasons".
 */
PgsDefinition *
pgs_query_define(const char *text, Oid owner)
{
	PgsDefinition *def = palloc0(sizeof(PgsDefinition));

	def->user_query = pgs_query_trim(text);
	def->query = pgs_query_parse(def->user_query);
	pgs_query_expand_views(def->query, owner);
	pgs_query_watch_casts(def->query);
	pgs_query_check(def);
	def->key = pgs_query_key(def->query);
	def->sql = pgs_query_deparse(def->query);
	return def;
}

/* The text of an analysed query with every name qualified, so that equal texts mean equal trees. */
char *
pgs_query_deparse(Query *query)
{
	int			level = NewGUCNestLevel();
	char	   *sql;

	pgs_restrict_search_path();
	sql = pg_get_querydef(copyObject(query), false);
	AtEOXact_GUC(false, level);
	return pgs_query_trim(sql);
}

/* Name of the view that holds the query of a stream table, within the internal schema. */
char *
pgs_query_view_name(int64 id)
{
	return psprintf("q_" INT64_FORMAT, id);
}

static List *
column_definitions(Query *query)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, query->targetList)
	{
		TargetEntry *tle = lfirst_node(TargetEntry, lc);

		if (!tle->resjunk)
			result = lappend(result, makeColumnDef(tle->resname, exprType((Node *) tle->expr),
												   exprTypmod((Node *) tle->expr),
												   exprCollation((Node *) tle->expr)));
	}
	return result;
}

/*
 * Create the view of stream table "id" from a normalised text, owned by "owner".
 *
 * The internal schema lets nobody create in it, so this one step runs as the bootstrap superuser; the view itself
 * belongs to the owner, and it is the owner's rights that count when it is read.
 */
Oid
pgs_query_create_view(int64 id, const char *sql, Oid owner)
{
	int			level = NewGUCNestLevel();
	CreateStmt *stmt = makeNode(CreateStmt);
	Query	   *query;
	ObjectAddress address;
	Oid			save_userid;
	int			save_sec;

	pgs_restrict_search_path();
	query = pgs_query_parse(sql);
	stmt->relation = makeRangeVar(PGS_INTERNAL_SCHEMA, pgs_query_view_name(id), -1);
	stmt->tableElts = column_definitions(query);
	stmt->oncommit = ONCOMMIT_NOOP;

	GetUserIdAndSecContext(&save_userid, &save_sec);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, save_sec | SECURITY_LOCAL_USERID_CHANGE);
	address = DefineRelation(stmt, RELKIND_VIEW, owner, NULL, NULL);
	CommandCounterIncrement();
	StoreViewQuery(address.objectId, query, false);
	SetUserIdAndSecContext(save_userid, save_sec);
	CommandCounterIncrement();
	AtEOXact_GUC(false, level);
	return address.objectId;
}

/*
 * The current text of a stored query: renamed sources appear under their new names.
 */
char *
pgs_query_view_sql(Oid viewid)
{
	Relation	view = table_open(viewid, AccessShareLock);
	char	   *sql = pgs_query_deparse(get_view_query(view));

	table_close(view, NoLock);
	return sql;
}

/* A copy of a stored query's tree. */
Query *
pgs_query_of_view(Oid viewid)
{
	Relation	view = table_open(viewid, AccessShareLock);
	Query	   *query = copyObject(get_view_query(view));

	table_close(view, NoLock);
	return query;
}

/* Visit what a stored query depends on: from pg_depend, so that it works without opening the view or anything it reads. */
static void
for_each_dependency(Oid viewid, void (*visit) (Form_pg_depend dep, void *context), void *context)
{
	Relation	rewrite = table_open(RewriteRelationId, AccessShareLock);
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc rules;
	HeapTuple	rule;

	ScanKeyInit(&key[0], Anum_pg_rewrite_ev_class, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(viewid));
	rules = systable_beginscan(rewrite, RewriteRelRulenameIndexId, true, NULL, 1, key);
	while ((rule = systable_getnext(rules)) != NULL)
	{
		SysScanDesc scan;
		HeapTuple	tuple;

		ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(RewriteRelationId));
		ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(((Form_pg_rewrite) GETSTRUCT(rule))->oid));
		scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
		while ((tuple = systable_getnext(scan)) != NULL)
			visit((Form_pg_depend) GETSTRUCT(tuple), context);
		systable_endscan(scan);
	}
	systable_endscan(rules);
	table_close(depend, AccessShareLock);
	table_close(rewrite, AccessShareLock);
}

typedef struct
{
	Oid			viewid;
	List	   *relids;
	bool		code;
} Dependencies;

static void
visit_relation(Form_pg_depend dep, void *context)
{
	Dependencies *d = context;

	/* sequences are referenced by nextval(), which is refused; composite types by whole rows */
	if (dep->refclassid == RelationRelationId && dep->refobjid != d->viewid)
		d->relids = list_append_unique_oid(d->relids, dep->refobjid);
}

/*
 * Relations that a stored query reads, without duplicates, ascending.
 */
List *
pgs_query_sources(Oid viewid)
{
	Dependencies d = {.viewid = viewid};

	for_each_dependency(viewid, visit_relation, &d);
	list_sort(d.relids, list_oid_cmp);
	return d.relids;
}

static void
visit_code(Form_pg_depend dep, void *context)
{
	Dependencies *d = context;

	/* (what the server brings is not in pg_depend, and what we put into queries is known) */
	if (dep->refclassid != RelationRelationId && dep->refclassid != NamespaceRelationId &&
		!(dep->refclassid == ProcedureRelationId && get_func_namespace(dep->refobjid) == get_namespace_oid(PGS_INTERNAL_SCHEMA, false)))
		d->code = true;
}

/* Whether a relation has a column of a type that is not the server's. */
static bool
has_types(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	bool		found = false;

	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(rel), i);

		found |= !attr->attisdropped && (attr->atttypid >= FirstNormalObjectId || attr->attcollation >= FirstNormalObjectId);
	}
	table_close(rel, NoLock);
	return found;
}

/*
 * Whether a stored query can be concerned by a function, operator or type that is defined anew: it uses one that is not the server's, or
 * reads a relation ("sources", which are locked) that has such types.
 */
bool
pgs_query_uses_code(Oid viewid, const List *sources)
{
	Dependencies d = {.viewid = viewid};
	ListCell   *lc;

	for_each_dependency(viewid, visit_code, &d);
	foreach(lc, sources)
		d.code = d.code || has_types(lfirst_oid(lc));
	return d.code;
}
