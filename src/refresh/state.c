/*
 * state.c - the states of a stream table's blocks: made, filled, and changed by deltas
 *
 * A state is a table of ours with one row for each group: a hash of the keys, by which it is found, the keys, the number of
 * rows, and what the aggregates need; or with the rows of each partition.  It is right whenever the stream table's frontier
 * is, as both are written by the same transaction; and it is filled anew by each full refresh.  What a delta changes in it
 * (refresh/groups.c, refresh/partitions.c) is the delta for those who read it.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/toasting.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "common/hashfn.h"
#include "compat.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "refresh/refresh_internal.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* ---- making ---- */

static bool
has_columns(Oid relid, const List *columns)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	bool		same = desc->natts == list_length(columns);
	ListCell   *lc;

	foreach(lc, columns)
	{
		ColumnDef  *def = lfirst_node(ColumnDef, lc);
		Form_pg_attribute attr = same ? TupleDescAttr(desc, foreach_current_index(lc)) : NULL;

		same = same && attr->atttypid == def->typeName->typeOid && attr->atttypmod == def->typeName->typemod &&
			attr->attcollation == def->collOid;
	}
	table_close(rel, NoLock);
	return same;
}

/* "k1, k2": what joins to a state look for; at most as many as an index may have, and of types that have an order */
static char *
key_list(const PgsBlock *block)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 1; i <= Min(block->nkeys, INDEX_MAX_KEYS); i++)
		if (OidIsValid(GetDefaultOpClass(list_nth_node(ColumnDef, block->columns, i)->typeName->typeOid, BTREE_AM_OID)))
			appendStringInfo(&buf, "%sk%d", buf.len ? ", " : "", i);
	return buf.data;
}

static void
create_state(int64 stream_id, const PgsBlock *block)
{
	CreateStmt *stmt = makeNode(CreateStmt);
	char	   *name = pgs_delta_state_name(stream_id, block->number);
	ObjectAddress address;

	stmt->relation = makeRangeVar(PGS_INTERNAL_SCHEMA, name, -1);
	stmt->oncommit = ONCOMMIT_NOOP;
	stmt->tableElts = copyObject(block->columns);
	/* groups are updated in place, again and again: leave room for that */
	stmt->options = list_make1(makeDefElem("fillfactor", (Node *) makeInteger(80), -1));
	address = DefineRelation(stmt, RELKIND_RELATION, BOOTSTRAP_SUPERUSERID, NULL, NULL);
	CommandCounterIncrement();
	NewRelationCreateToastTable(address.objectId, (Datum) 0);
	pgs_stream_adopt(address.objectId);
	pgs_execute_as_superuser(psprintf("CREATE INDEX ON " PGS_INTERNAL_SCHEMA ".%s (h)", name));
	if (block->is_joined && *key_list(block))
		pgs_execute_as_superuser(psprintf("CREATE INDEX ON " PGS_INTERNAL_SCHEMA ".%s (%s)", name, key_list(block)));
	/* as the stream table itself: published or not, it can be updated without a key */
	pgs_execute_as_superuser(psprintf("ALTER TABLE " PGS_INTERNAL_SCHEMA ".%s REPLICA IDENTITY FULL", name));
}

static Oid
find_state(int64 stream_id, int number)
{
	return get_relname_relid(pgs_delta_state_name(stream_id, number), get_namespace_oid(PGS_INTERNAL_SCHEMA, false));
}

bool
pgs_state_exists(int64 stream_id, int number)
{
	return OidIsValid(find_state(stream_id, number));
}

/* Drop the states of a stream table from a number on. */
void
pgs_state_drop(int64 stream_id, int from)
{
	Oid			relid;

	for (int i = from; OidIsValid(relid = find_state(stream_id, i)); i++)
		pgs_capture_drop_table(relid);
}

/*
 * Make the states that a stream table's blocks want, with the right columns; empty where they are new.  The blocks are to be
 * found anew afterwards, by pgs_delta_analyze.
 */
void
pgs_state_prepare(int64 stream_id, const PgsIncrement *inc)
{
	Oid			save_userid;
	int			save_sec;
	ListCell   *lc;

	GetUserIdAndSecContext(&save_userid, &save_sec);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, save_sec | SECURITY_LOCAL_USERID_CHANGE);
	foreach(lc, inc->blocks)
	{
		PgsBlock   *block = lfirst(lc);
		Oid			relid = find_state(stream_id, block->number);

		if (OidIsValid(relid) && !has_columns(relid, block->columns))
		{
			pgs_capture_drop_table(relid);
			relid = InvalidOid;
		}
		if (!OidIsValid(relid))
			create_state(stream_id, block);
	}
	pgs_state_drop(stream_id, list_length(inc->blocks) + 1);
	SetUserIdAndSecContext(save_userid, save_sec);
}

/* ---- what a state is of ---- */

/*
 * What a state holds depends on how its query is cut, and that on more than the query: a unique index, a NOT NULL.  So each state says
 * what it was filled with, as its comment, and is of no use to a block that is another one by now.
 */
static char *
signature(const PgsBlock *block)
{
	char	   *groups = nodeToString(block->groups);
	char	   *input = nodeToString(block->input);
	uint64		hash = hash_combine64(hash_bytes_extended((unsigned char *) groups, strlen(groups), 0),
									  hash_bytes_extended((unsigned char *) input, strlen(input), 0));

	return psprintf("filled as " UINT64_FORMAT, hash);
}

static void
sign(const PgsBlock *block)
{
	CreateComments(block->state, RelationRelationId, 0, signature(block));
}

/* Whether the state of a block was filled for this very block. */
bool
pgs_state_fits(const PgsBlock *block)
{
	char	   *comment;

	comment = GetComment(block->state, RelationRelationId, 0);
	return comment && strcmp(comment, signature(block)) == 0;
}

/* ---- filling ---- */

typedef struct
{
	DestReceiver pub;
	PgsLoader  *loader;
	bool		hashed;			/* the rows come with their hash */
	PgsKeys	keys;
	TupleTableSlot *slot;		/* of the state */
} FillReceiver;

static bool
receive_group(TupleTableSlot *slot, DestReceiver *self)
{
	FillReceiver *r = (FillReceiver *) self;

	if (r->hashed)
	{
		pgs_loader_add(r->loader, slot);
		return true;
	}
	(void) pgs_keys_store(&r->keys, slot, r->slot);
	pgs_loader_add(r->loader, r->slot);
	return true;
}

static void
startup(DestReceiver *self, int operation, TupleDesc desc)
{
}

static void
shutdown(DestReceiver *self)
{
}

/*
 * Compute the state of a block anew, from the sources and the states below it.
 */
void
pgs_state_fill(const PgsBlock *block)
{
	Relation	rel = table_open(block->state, AccessExclusiveLock);
	FillReceiver r = {
		.pub = {.receiveSlot = receive_group, .rStartup = startup, .rShutdown = shutdown, .rDestroy = shutdown,
		.mydest = DestNone}
	};
	ReindexParams params = {0};
	PlannedStmt *plan = pgs_execute_plan(block->groups);

	/* as TRUNCATE does: new files for the table, and its indexes built when it is full */
	pgs_new_storage(rel);
	if (OidIsValid(rel->rd_rel->reltoastrelid))
	{
		Relation	toast = table_open(rel->rd_rel->reltoastrelid, AccessExclusiveLock);

		pgs_new_storage(toast);
		table_close(toast, NoLock);
	}
	CommandCounterIncrement();
	r.loader = pgs_loader_begin(rel);
	r.hashed = block->kind == PGS_BLOCK_PARTITION;
	if (!r.hashed)
		pgs_keys_open(&r.keys, block);
	r.slot = MakeSingleTupleTableSlot(RelationGetDescr(rel), &TTSOpsVirtual);
	pgs_execute_run(plan, NIL, &r.pub);
	(void) pgs_loader_end(r.loader);
	ExecDropSingleTupleTableSlot(r.slot);
	table_close(rel, NoLock);
	(void) pgs_reindex_table(block->state, &params);
	sign(block);
	CommandCounterIncrement();
	UpdateActiveSnapshotCommandId();
}

/* ---- changing ---- */

/*
 * Bring the state of a block up to date by the plan of pgs_state_change_query.  Returns the delta of the state, with or without rows.
 */
PgsDelta *
pgs_state_change(const PgsBlock *block, PlannedStmt *plan, const List *deltas)
{
	return block->kind == PGS_BLOCK_PARTITION ? pgs_partitions_change(block, plan, deltas) : pgs_groups_change(block, plan, deltas);
}

/* What a delta of a block's input tells of its state: the change of each group, or the partitions touched. */
Query *
pgs_state_change_query(const PgsBlock *block, Query *delta)
{
	return block->kind == PGS_BLOCK_PARTITION ? pgs_delta_touched(block, delta) :
		pgs_delta_parse(pgs_delta_groups_sql(block), delta, NULL);
}

/* What is computed again when "rows" keys of a block are touched, and the tuplestore of keys that it reads from: for plans only. */
Query *
pgs_state_again_query(const PgsBlock *block, double rows, PgsDelta **keys)
{
	*keys = pgs_keys_delta(block, "keys");
	(*keys)->rows = rows;
	if (block->kind == PGS_BLOCK_PARTITION)
		return pgs_delta_partitions(block, list_make1(*keys));
	return pgs_delta_recompute(block, (*keys)->desc, (*keys)->name, rows, false);
}
