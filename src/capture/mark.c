/*
 * mark.c - writers leave a mark: (relation, transaction, command)
 *
 * A statement trigger on each source, enabled always, inserts one row into an append-only table; the engine does the same
 * for the stream tables that it writes, and the event triggers for DDL.  As the mark commits with the change itself, commit
 * order, rollbacks and long transactions need no further thought.
 *
 * The command id is that of the end of the statement, so it is never older than the rows: a refresh in the middle of a
 * statement (from a function that it calls) finds the mark newer than itself.
 *
 * A transaction marks each relation once for each subtransaction, until it takes a frontier itself.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "capture/capture.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(pgs_capture);

enum
{
	Anum_change_relid = 1, Anum_change_kind, Anum_change_xid, Anum_change_cid, Natts_change = Anum_change_cid
};

/* relations marked by this subtransaction already; a full array only costs marks too many */
static struct
{
	FullTransactionId xid;
	SubTransactionId subxact;
	int			n;
	Oid			relids[32];
}			marked;

static bool
already_marked(Oid relid)
{
	FullTransactionId xid = GetTopFullTransactionIdIfAny();

	if (!FullTransactionIdEquals(xid, marked.xid) || marked.subxact != GetCurrentSubTransactionId())
	{
		marked.n = 0;
		return false;
	}
	for (int i = 0; i < marked.n; i++)
		if (marked.relids[i] == relid)
			return true;
	return false;
}

static void
remember_marked(Oid relid)
{
	marked.xid = GetTopFullTransactionId();
	marked.subxact = GetCurrentSubTransactionId();
	if (marked.n < lengthof(marked.relids))
		marked.relids[marked.n++] = relid;
}

/* The transaction takes a frontier: what it writes from now on needs marks of its own. */
void
pgs_capture_new_frontier(void)
{
	marked.n = 0;
}

/*
 * Leave a mark for a relation, or for everything (InvalidOid).  Works for any role: the caller's rights were those to make
 * the change itself.
 */
void
pgs_capture_mark(Oid relid, PgsMarkKind kind)
{
	Relation	rel;
	Datum		values[Natts_change];
	bool		nulls[Natts_change] = {false};

	if (kind == PGS_MARK_ROWS && already_marked(relid))
		return;
	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), RowExclusiveLock);
	values[Anum_change_relid - 1] = ObjectIdGetDatum(relid);
	values[Anum_change_kind - 1] = CharGetDatum((char) kind);
	values[Anum_change_xid - 1] = FullTransactionIdGetDatum(GetTopFullTransactionId());
	values[Anum_change_cid - 1] = Int64GetDatum(GetCurrentCommandId(true));
	simple_heap_insert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
	/* not held to the end: a writer's transaction must not keep anybody from the catalogs */
	table_close(rel, RowExclusiveLock);
	if (kind == PGS_MARK_ROWS)
		remember_marked(relid);
}

/*
 * capture() returns trigger: AFTER ... FOR EACH STATEMENT on a source
 */
Datum
pgs_capture(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(data->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("capture() can only be called as a statement trigger")));
	/* the extension may be half dropped, or be restored after its sources: nobody misses the mark then */
	if (pgs_catalog_exists())
		pgs_capture_mark(RelationGetRelid(data->tg_relation), PGS_MARK_ROWS);
	return PointerGetDatum(NULL);
}
