/*
 * frontier.c - which changes has a stream table seen?
 *
 * MVCC itself is the frontier: the snapshot of the last refresh, its own transaction and command.  A mark is consumed if
 * its transaction is visible in that snapshot, or is that very transaction and made it by an older command.
 *
 * A frontier is worth nothing where the marks are other ones: in a database restored from a dump, whose transaction ids
 * begin anew.  So it carries its home, the cluster and the catalog that it was taken in.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xlog.h"
#include "capture/capture.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/xid8.h"

typedef struct
{
	Oid			relid;
	char		kind;
	FullTransactionId xid;
	int64		cid;
	int			attnum;			/* 0: any row */
	bytea	   *value;			/* NULL: null */
} Mark;

/* The cluster and catalog in which marks and frontiers of this database mean something. */
char *
pgs_capture_home(void)
{
	return psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), pgs_catalog_relid(PGS_CATALOG_STREAM));
}

/* All marks that the active snapshot sees. */
List *
pgs_capture_read_marks(void)
{
	Relation	rel = table_open(pgs_catalog_relid(PGS_CATALOG_CHANGE), AccessShareLock);
	TableScanDesc scan = table_beginscan(rel, GetActiveSnapshot(), 0, NULL);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	List	   *result = NIL;

	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		Mark	   *mark = palloc(sizeof(Mark));

		slot_getallattrs(slot);
		mark->relid = DatumGetObjectId(slot->tts_values[Anum_change_relid - 1]);
		mark->kind = DatumGetChar(slot->tts_values[Anum_change_kind - 1]);
		mark->xid = DatumGetFullTransactionId(slot->tts_values[Anum_change_xid - 1]);
		mark->cid = DatumGetInt64(slot->tts_values[Anum_change_cid - 1]);
		mark->attnum = DatumGetInt16(slot->tts_values[Anum_change_attnum - 1]);
		mark->value = slot->tts_isnull[Anum_change_value - 1] ? NULL :
			DatumGetByteaPCopy(slot->tts_values[Anum_change_value - 1]);
		result = lappend(result, mark);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

static bool
is_consumed(const PgsStream *stream, const Mark *mark)
{
	if (FullTransactionIdEquals(mark->xid, stream->refresh_xid))
		return mark->cid < stream->frontier_cid;
	return DatumGetBool(DirectFunctionCall2(pg_visible_in_snapshot, FullTransactionIdGetDatum(mark->xid),
											stream->frontier));
}

/* Whether a mark tells of something that the stream table depends on. */
static bool
concerns(const PgsStream *stream, const List *sources, const Mark *mark)
{
	if (mark->relid == InvalidOid || list_member_oid(sources, mark->relid))
		return true;
	/* rows of its own are written by its own refreshes; DDL on it (a disabled guard) is another matter */
	return mark->relid == stream->relid && mark->kind == PGS_MARK_DDL;
}

static bool
has_frontier(const PgsStream *stream)
{
	return stream->populated && stream->frontier != (Datum) 0 && stream->frontier_home != NULL &&
		strcmp(stream->frontier_home, pgs_capture_home()) == 0;
}

/*
 * What has changed for a stream table since its frontier, as far as marks tell.  The caller has made sure that all of its
 * sources are captured.  For PGS_CHANGES_ROWS, "changed" are the sources that have.
 */
PgsChanges
pgs_capture_changes(const PgsStream *stream, const List *sources, const List *marks, List **changed)
{
	PgsChanges	result = PGS_CHANGES_NONE;
	ListCell   *lc;

	*changed = NIL;
	if (!has_frontier(stream))
		return PGS_CHANGES_ANY;
	foreach(lc, marks)
	{
		Mark	   *mark = lfirst(lc);

		if (!concerns(stream, sources, mark) || is_consumed(stream, mark))
			continue;
		if (mark->kind != PGS_MARK_ROWS || mark->attnum == 0)
			return PGS_CHANGES_ANY;
		result = PGS_CHANGES_ROWS;
		*changed = list_append_unique_oid(*changed, mark->relid);
	}
	return result;
}

/* One command of one transaction: its marks were left together, of the same columns for each row. */
typedef struct
{
	uint64		xid;
	int64		cid;
	bool		noted;
} Batch;

static int
compare_batches(const void *a, const void *b)
{
	const Batch *x = a;
	const Batch *y = b;

	if (x->xid != y->xid)
		return x->xid < y->xid ? -1 : 1;
	return (x->cid > y->cid) - (x->cid < y->cid);
}

/*
 * Whether every command that changed a source noted the values of a column.  Which columns are noted can change, with the
 * stream tables that want to know.
 */
bool
pgs_capture_is_noted(const PgsStream *stream, Oid relid, int attno, const List *marks)
{
	Batch	   *batches = palloc(sizeof(Batch) * Max(list_length(marks), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, marks)
	{
		Mark	   *mark = lfirst(lc);

		if (mark->relid == relid && !is_consumed(stream, mark))
			batches[n++] = (Batch) {U64FromFullTransactionId(mark->xid), mark->cid, mark->attnum == attno};
	}
	qsort(batches, n, sizeof(Batch), compare_batches);
	for (int i = 0; i < n;)
	{
		bool		noted = false;
		int			first = i;

		for (; i < n && compare_batches(&batches[first], &batches[i]) == 0; i++)
			noted |= batches[i].noted;
		if (!noted)
			return false;
	}
	return true;
}

static int
compare_packed(const ListCell *a, const ListCell *b)
{
	bytea	   *x = lfirst(a);
	bytea	   *y = lfirst(b);

	if (VARSIZE(x) != VARSIZE(y))
		return VARSIZE(x) < VARSIZE(y) ? -1 : 1;
	return memcmp(x, y, VARSIZE(x));
}

/*
 * The distinct values (by image) of a column in the changed rows of a source, old and new, as an array of the column's
 * type; NULL if there are none, or none but nulls, which are told apart.
 */
ArrayType *
pgs_capture_values(const PgsStream *stream, Oid relid, int attno, const List *marks, bool *has_null)
{
	Oid			type = get_atttype(relid, attno);
	List	   *packed = NIL;
	Datum	   *values;
	int			n = 0;
	int16		typlen;
	bool		typbyval;
	char		typalign;
	ListCell   *lc;

	*has_null = false;
	foreach(lc, marks)
	{
		Mark	   *mark = lfirst(lc);

		if (mark->relid != relid || mark->attnum != attno || is_consumed(stream, mark))
			continue;
		if (mark->value == NULL)
			*has_null = true;
		else
			packed = lappend(packed, mark->value);
	}
	if (packed == NIL)
		return NULL;
	list_sort(packed, compare_packed);
	get_typlenbyvalalign(type, &typlen, &typbyval, &typalign);
	values = palloc(sizeof(Datum) * list_length(packed));
	foreach(lc, packed)
		if (foreach_current_index(lc) == 0 || compare_packed(list_nth_cell(packed, foreach_current_index(lc) - 1), lc) != 0)
			values[n++] = pgs_capture_unpack(lfirst(lc), typlen, typbyval);
	return construct_array(values, n, type, typlen, typbyval, typalign);
}

/* Note the frontier of a refresh; 0 if its sources were not captured, so that the next one computes again. */
void
pgs_capture_set_frontier(PgsStream *stream, Datum snapshot, int64 cid)
{
	stream->frontier = snapshot;
	stream->frontier_cid = cid;
	stream->frontier_home = snapshot ? pgs_capture_home() : NULL;
}
