/*
 * load.c - the first population: a bulk load instead of a difference
 *
 * Fit for a table that is physically empty, has no index or constraint, and no trigger but the guard: then rows can be written
 * as CREATE TABLE AS does (commands/createas.c), without being kept, compared or looked at again.
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

typedef struct
{
	DestReceiver pub;
	Relation	rel;
	MemoryContext context;
	CommandId	cid;
	BulkInsertState bulk;
	TupleTableSlot **slots;
	int			nslots;			/* made */
	int			nrows;			/* filled */
	Size		bytes;
	int64		total;
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

static void
flush(LoadReceiver *r)
{
	if (r->nrows > 0)
		table_multi_insert(r->rel, r->slots, r->nrows, r->cid, TABLE_INSERT_SKIP_FSM, r->bulk);
	for (int i = 0; i < r->nrows; i++)
		ExecClearTuple(r->slots[i]);
	r->total += r->nrows;
	r->nrows = 0;
	r->bytes = 0;
}

static bool
receive(TupleTableSlot *slot, DestReceiver *self)
{
	LoadReceiver *r = (LoadReceiver *) self;

	if (r->nrows == r->nslots)
	{
		/* we are called in the executor's memory, which ends before the last batch is written */
		MemoryContext old = MemoryContextSwitchTo(r->context);

		r->slots[r->nslots++] = table_slot_create(r->rel, NULL);
		MemoryContextSwitchTo(old);
	}
	ExecCopySlot(r->slots[r->nrows], slot);
	ExecMaterializeSlot(r->slots[r->nrows]);
	/* the width of a row is that of its materialized heap tuple */
	r->bytes += ((HeapTupleTableSlot *) r->slots[r->nrows])->tuple->t_len;
	if (++r->nrows == BATCH_ROWS || r->bytes > BATCH_BYTES)
		flush(r);
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
 * Fill a table from its query; returns the number of rows.  The caller has checked pgs_load_possible, holds the
 * locks and has pushed the snapshot.
 */
int64
pgs_load_run(const PgsStream *stream, Relation rel)
{
	LoadReceiver r = {
		.pub = {.receiveSlot = receive, .rStartup = startup, .rShutdown = shutdown, .rDestroy = shutdown,
		.mydest = DestNone},
		.rel = rel,
		.context = CurrentMemoryContext,
		/* also marks the command id as used, which a parallel query may not do later */
		.cid = GetCurrentCommandId(true),
		.bulk = GetBulkInsertState(),
		.slots = palloc0(sizeof(TupleTableSlot *) * BATCH_ROWS)
	};
	char	   *view = quote_qualified_identifier(get_namespace_name(get_rel_namespace(stream->viewid)),
												  get_rel_name(stream->viewid));

	(void) GetCurrentTransactionId();	/* nor assign one */
	pgs_diff_execute(psprintf("SELECT * FROM %s", view), 0, NULL, NULL, &r.pub);
	flush(&r);
	for (int i = 0; i < r.nslots; i++)
		ExecDropSingleTupleTableSlot(r.slots[i]);
	FreeBulkInsertState(r.bulk);
	table_finish_bulk_insert(rel, TABLE_INSERT_SKIP_FSM);
	return r.total;
}
