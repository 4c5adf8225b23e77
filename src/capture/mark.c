/*
 * mark.c - change marks: (relation, transaction, command) of what no change buffer tells
 *
 * TRUNCATE, DDL, a buffer that is not there, rows that the engine loaded in bulk: whoever reads the relation computes the
 * whole once.  One append-only table for all; like the buffers it commits with the change itself.
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
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/xid8.h"

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
