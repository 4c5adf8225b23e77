/*
 * compat.h - the only file that names PG_VERSION_NUM
 *
 * It offers the newest server's API to the older ones, so that every other file is written once, for the newest.
 */
#ifndef PGS_COMPAT_H
#define PGS_COMPAT_H

#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parse_relation.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/inval.h"

/* ConditionalLockDatabaseObject (lmgr.c), which older minor releases of every major lack */
static inline bool
pgs_lock_object_at_once(Oid classid, Oid objid, uint16 objsubid, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, classid, objid, objsubid);
	if (LockAcquire(&tag, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}

/* 16 made one ownership test of the many */
#if PG_VERSION_NUM < 160000
#define pgs_owns_relation(relid, roleid) pg_class_ownercheck(relid, roleid)
#define pgs_schema_aclcheck(nsp, roleid, mode) pg_namespace_aclcheck(nsp, roleid, mode)
#define pgs_type_aclcheck(type, roleid, mode) pg_type_aclcheck(type, roleid, mode)
#else
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#define pgs_owns_relation(relid, roleid) object_ownercheck(RelationRelationId, relid, roleid)
#define pgs_schema_aclcheck(nsp, roleid, mode) object_aclcheck(NamespaceRelationId, nsp, roleid, mode)
#define pgs_type_aclcheck(type, roleid, mode) object_aclcheck(TypeRelationId, type, roleid, mode)
#endif

/* 16 moved the permission bits of a range table entry into a list of their own */
#if PG_VERSION_NUM < 160000
#define pgs_init_range_table(estate, rte, updated) \
	((rte)->updatedCols = (updated), ExecInitRangeTable(estate, list_make1(rte)))
#define pgs_rte_detach_relation(rte) ((rte)->requiredPerms = 0, (rte)->selectedCols = NULL)
#define pgs_rte_read_as(query, rte, user) \
	((rte)->requiredPerms = ACL_SELECT, (rte)->checkAsUser = (user), (rte)->selectedCols = NULL)
#define pgs_rte_adopt(query, rte, from) ((void) 0)
#else
#define pgs_rte_detach_relation(rte) ((rte)->perminfoindex = 0)
/* an item that is moved to another query takes its permissions along */
static inline void
pgs_rte_adopt(Query *query, RangeTblEntry *rte, Query *from)
{
	RTEPermissionInfo *old;
	RTEPermissionInfo *new;

	if (rte->perminfoindex == 0)
		return;
	old = getRTEPermissionInfo(from->rteperminfos, rte);
	rte->perminfoindex = 0;
	new = addRTEPermissionInfo(&query->rteperminfos, rte);
	new->requiredPerms = old->requiredPerms;
	new->checkAsUser = old->checkAsUser;
	new->selectedCols = old->selectedCols;
}
static inline void
pgs_rte_read_as(Query *query, RangeTblEntry *rte, Oid user)
{
	RTEPermissionInfo *perminfo;

	rte->perminfoindex = 0;
	perminfo = addRTEPermissionInfo(&query->rteperminfos, rte);
	perminfo->requiredPerms = ACL_SELECT;
	perminfo->checkAsUser = user;
}
static inline void
pgs_init_range_table(EState *estate, RangeTblEntry *rte, Bitmapset *updated)
{
	List	   *perminfos = NIL;

	addRTEPermissionInfo(&perminfos, rte)->updatedCols = updated;
#if PG_VERSION_NUM < 180000
	ExecInitRangeTable(estate, list_make1(rte), perminfos);
#else
	/* 18 wants to know which entries survive initial pruning: all one of them */
	ExecInitRangeTable(estate, list_make1(rte), perminfos, bms_make_singleton(1));
#endif
}
#endif

/* a range table is appended to another, permissions and all */
#if PG_VERSION_NUM < 160000
#define pgs_combine_range_tables(query, sub) ((query)->rtable = list_concat((query)->rtable, (sub)->rtable))
#else
#include "rewrite/rewriteManip.h"
#define pgs_combine_range_tables(query, sub) \
	CombineRangeTables(&(query)->rtable, &(query)->rteperminfos, (sub)->rtable, (sub)->rteperminfos)
#endif

/* 18 gave GROUP BY a range table entry of its own */
#if PG_VERSION_NUM < 180000
#define pgs_rte_is_group(rte) false
#define pgs_rte_group_exprs(rte) NIL
#define pgs_flatten_groups(query) ((void) 0)
#else
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
static inline void
pgs_flatten_groups(Query *query)
{
	Bitmapset  *group = bms_make_singleton(list_length(query->rtable));

	if (!query->hasGroupRTE)
		return;
	query->targetList = (List *) flatten_group_exprs(NULL, query, (Node *) query->targetList);
	query->havingQual = flatten_group_exprs(NULL, query, query->havingQual);
	/* what grouping sets make NULL is no matter of the join tree; the entry comes last */
	query->targetList = (List *) remove_nulling_relids((Node *) query->targetList, group, NULL);
	query->havingQual = remove_nulling_relids(query->havingQual, group, NULL);
	query->rtable = list_delete_last(query->rtable);
	query->hasGroupRTE = false;
}
#define pgs_rte_is_group(rte) ((rte)->rtekind == RTE_GROUP)
#define pgs_rte_group_exprs(rte) ((rte)->groupexprs)
#endif

/* 18 moved what EXPLAIN is made of */
#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/* 18 counts what an index scan does, for EXPLAIN */
#if PG_VERSION_NUM < 180000
#define pgs_index_beginscan(rel, index, snapshot, nkeys) index_beginscan(rel, index, snapshot, nkeys, 0)
#else
#define pgs_index_beginscan(rel, index, snapshot, nkeys) index_beginscan(rel, index, snapshot, NULL, nkeys, 0)
#endif

/* 18 tells the columns of RETURNING OLD and NEW apart */
#if PG_VERSION_NUM < 180000
#define pgs_expand_rte(rte, rtindex, names, vars) expandRTE(rte, rtindex, 0, -1, false, names, vars)
#else
#define pgs_expand_rte(rte, rtindex, names, vars) \
	expandRTE(rte, rtindex, 0, VAR_RETURNING_DEFAULT, -1, false, names, vars)
#endif

/* 18 runs a query once, always */
#if PG_VERSION_NUM < 180000
#define pgs_executor_run(desc) ExecutorRun(desc, ForwardScanDirection, 0, true)
#else
#define pgs_executor_run(desc) ExecutorRun(desc, ForwardScanDirection, 0)
#endif

/* 16 renamed relfilenodes; 17 made reindexing tell its statement */
#if PG_VERSION_NUM < 160000
#define pgs_new_storage(rel) RelationSetNewRelfilenode(rel, (rel)->rd_rel->relpersistence)
#else
#define pgs_new_storage(rel) RelationSetNewRelfilenumber(rel, (rel)->rd_rel->relpersistence)
#endif
#if PG_VERSION_NUM < 170000
#define pgs_reindex_table(relid, params) reindex_relation(relid, REINDEX_REL_PROCESS_TOAST, params)
#else
#define pgs_reindex_table(relid, params) reindex_relation(NULL, relid, REINDEX_REL_PROCESS_TOAST, params)
#endif

/* 16 made Vars tell which outer joins can have nulled them, and flattening ask for the planner's state */
#if PG_VERSION_NUM < 160000
#define pgs_keep_nullingrels(var, joins) ((void) 0)
#define pgs_copy_nullingrels(var, from, without) ((void) 0)
#define pgs_add_nullingrel(var, join) ((void) 0)
#define pgs_flatten_aliases(query, node) flatten_join_alias_vars(query, node)
#else
#define pgs_keep_nullingrels(var, joins) ((var)->varnullingrels = bms_intersect((var)->varnullingrels, joins))
#define pgs_copy_nullingrels(var, from, without) \
	((var)->varnullingrels = bms_difference((from)->varnullingrels, without))
#define pgs_add_nullingrel(var, join) ((var)->varnullingrels = bms_add_member((var)->varnullingrels, join))
#define pgs_flatten_aliases(query, node) flatten_join_alias_vars(NULL, query, node)
#endif

/* 18 can leave room before a minimal tuple */
#if PG_VERSION_NUM < 180000
#define pgs_form_minimal_tuple(desc, values, nulls) heap_form_minimal_tuple(desc, values, nulls)
#else
#define pgs_form_minimal_tuple(desc, values, nulls) heap_form_minimal_tuple(desc, values, nulls, 0)
#endif

/* 16 tells a recheck which relations are targets */
#if PG_VERSION_NUM < 160000
#define pgs_epq_init(epq, estate) EvalPlanQualInit(epq, estate, NULL, NIL, -1)
#else
#define pgs_epq_init(epq, estate) EvalPlanQualInit(epq, estate, NULL, NIL, -1, NIL)
#endif

/* 17 added the search_path of maintenance commands; before it, the same by hand */
#if PG_VERSION_NUM < 170000
#define pgs_restrict_search_path() \
	((void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, \
							  GUC_ACTION_SAVE, true, 0, false))
#else
#define pgs_restrict_search_path() RestrictSearchPath()
#endif

/* 17 gave extensions wait events with names of their own */
#if PG_VERSION_NUM < 170000
#define pgs_wait_event(name) PG_WAIT_EXTENSION
#else
#include "utils/wait_event.h"
#define pgs_wait_event(name) WaitEventExtensionNew(name)
#endif

/* 18 keeps a compact copy of each attribute that must follow a change of the attribute */
#if PG_VERSION_NUM < 180000
#define pgs_attribute_changed(desc, i) ((void) 0)
#else
#define pgs_attribute_changed(desc, i) populate_compact_attribute(desc, i)
#endif

/* 16 renamed the hash table walk of fmgr's text helper; 17 dropped the sign of procnumbers */
#if PG_VERSION_NUM < 170000
#define pgs_proc_count() (ProcGlobal->allProcCount)
#define pgs_proc_at(i) (&ProcGlobal->allProcs[i])
#else
#define pgs_proc_count() (ProcGlobal->allProcCount)
#define pgs_proc_at(i) GetPGProcByNumber(i)
#endif

#endif							/* PGS_COMPAT_H */
