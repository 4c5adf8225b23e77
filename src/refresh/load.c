/*
 * load.c - rows in bulk, into a table that nobody else writes to
 *
 * As CREATE TABLE AS writes them (commands/createas.c): many at a time, past the free space map, without being kept, compared
 * or looked at again.  Of a stream table it is the first population, fit while the table is physically empty and has no index,
 * constraint or row trigger; of a state, every time that it is filled.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "refresh/refresh_internal.h"
#include "storage/bufmgr.h"
#include "tcop/dest.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

/* rows collected before they are written together */
#define BATCH_ROWS 500
#define BATCH_BYTES 65536

struct PgsLoader
{
	Relation	rel;
	MemoryContext context;
	CommandId	cid;
	BulkInsertState bulk;
	TupleTableSlot *slots[BATCH_ROWS];
	int			nslots;			/* made */
	int			nrows;			/* filled */
	Size		bytes;
	int64		total;
};

/* Begin to load rows into a relation that the caller holds a lock on. */
PgsLoader *
pgs_loader_begin(Relation rel)
{
	PgsLoader  *l = palloc0(sizeof(PgsLoader));

	(void) GetCurrentTransactionId();	/* which a parallel query may not assign later */
	l->rel = rel;
	l->context = CurrentMemoryContext;
	/* also marks the command id as used, nor may it do that */
	l->cid = GetCurrentCommandId(true);
	l->bulk = GetBulkInsertState();
	return l;
}

static void
flush(PgsLoader *l)
{
	if (l->nrows > 0)
		table_multi_insert(l->rel, l->slots, l->nrows, l->cid, TABLE_INSERT_SKIP_FSM, l->bulk);
	for (int i = 0; i < l->nrows; i++)
		ExecClearTuple(l->slots[i]);
	l->total += l->nrows;
	l->nrows = 0;
	l->bytes = 0;
}

/* Add a row. */
void
pgs_loader_add(PgsLoader *l, TupleTableSlot *slot)
{
	if (l->nrows == l->nslots)
	{
		/* we may be called in the executor's memory, which ends before the last batch is written */
		MemoryContext old = MemoryContextSwitchTo(l->context);

		l->slots[l->nslots++] = table_slot_create(l->rel, NULL);
		MemoryContextSwitchTo(old);
	}
	ExecCopySlot(l->slots[l->nrows], slot);
	ExecMaterializeSlot(l->slots[l->nrows]);
	/* the width of a row is that of its materialized heap tuple */
	l->bytes += ((HeapTupleTableSlot *) l->slots[l->nrows])->tuple->t_len;
	if (++l->nrows == BATCH_ROWS || l->bytes > BATCH_BYTES)
		flush(l);
}

/* Write what is left; returns how many rows were added. */
int64
pgs_loader_end(PgsLoader *l)
{
	int64		total;

	flush(l);
	for (int i = 0; i < l->nslots; i++)
		ExecDropSingleTupleTableSlot(l->slots[i]);
	FreeBulkInsertState(l->bulk);
	table_finish_bulk_insert(l->rel, TABLE_INSERT_SKIP_FSM);
	total = l->total;
	pfree(l);
	return total;
}

/* ---- the first population of a stream table ---- */

typedef struct
{
	DestReceiver pub;
	PgsLoader  *loader;
} LoadReceiver;

static bool
row_triggers(const TriggerDesc *desc)
{
	return desc && (desc->trig_insert_before_row || desc->trig_insert_after_row);
}

/* Whether nothing can stand in the way of a bulk load. */
bool
pgs_load_possible(Relation rel)
{
	return RelationGetNumberOfBlocks(rel) == 0 && !rel->rd_rel->relhasindex && !row_triggers(rel->trigdesc) &&
		rel->rd_att->constr == NULL;
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	pgs_loader_add(((LoadReceiver *) self)->loader, slot);
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
 * Fill a table from its query, or from "output" which stands for it; returns the number of rows.  The caller has checked pgs_load_possible, holds the
 * locks and has pushed the snapshot.
 */
int64
pgs_load_run(const PgsStream *stream, Relation rel, Query *output)
{
	LoadReceiver r = {
		.pub = {.receiveSlot = receive, .rStartup = startup, .rShutdown = shutdown, .rDestroy = shutdown,
		.mydest = DestNone},
		.loader = pgs_loader_begin(rel)
	};
	char	   *view = quote_qualified_identifier(get_namespace_name(get_rel_namespace(stream->viewid)),
												  get_rel_name(stream->viewid));

	if (output)
		pgs_execute_run(pgs_execute_plan(output), NIL, &r.pub);
	else
		pgs_diff_execute(psprintf("SELECT * FROM %s", view), 0, NULL, NULL, &r.pub);
	return pgs_loader_end(r.loader);
}
