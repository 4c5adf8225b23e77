/*
 * pack.c - many rows of a change buffer in one value
 *
 * All rows that a statement writes to a buffer are of one transaction and command, so a header, a line pointer, a WAL record's share and a
 * visibility of its own for each, five times as long as a narrow row is, say nothing.  A row that is small lies in a pack
 * with others:
 *
 *		pack:	uint16 n, then a bit for each of the first n columns of the segment: whether the rows have it; others are NULL
 *		row:	uint8 flags, a bit for each column that rows have if one is NULL (1: is NULL), then the values that are not
 *
 * What is passed by value lies unaligned; the rest as in a heap tuple (access/common/heaptuple.c, fill_val), aligned from the beginning
 * of the pack, so that a reader who has it at an aligned place need not copy.  The columns are said in each pack because a
 * segment gets and loses some while it holds packs; of a dropped one, pg_attribute still says how long a value is.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupmacs.h"
#include "capture/capture_internal.h"

#define ROW_OLD 0x01
#define ROW_HAS_NULLS 0x02

/* before the rows: how many columns, and which */
#define HEADER_BYTES(natts) ((int) sizeof(uint16) + BITMAPLEN(natts))

static PgsPackColumn
column_of(TupleDesc desc, int at)
{
	Form_pg_attribute attr = TupleDescAttr(desc, at);

	return (PgsPackColumn)
	{
		.at = at,
		.len = attr->attlen,
		.byval = attr->attbyval,
		.align = attr->attalign,
		.may_shorten = attr->attlen == -1 && attr->attstorage != TYPSTORAGE_PLAIN
	};
}

/* ---- writing ---- */

/*
 * Begin to pack rows of a segment.  "attnos": for each column of the segment, that of the rows given; 0: they have none.
 * "limit": the most bytes of a pack.
 */
void
pgs_pack_begin(PgsPack *pack, TupleDesc desc, const AttrNumber *attnos, int limit)
{
	uint16		natts = desc->natts;

	memset(pack, 0, sizeof(PgsPack));
	pack->columns = palloc(sizeof(PgsPackColumn) * natts);
	/* what aligns a value may reach over the limit before it is found that the value would; the length lies before the aligned data */
	pack->data = (char *) palloc(MAXALIGN(VARHDRSZ) + limit + MAXIMUM_ALIGNOF) + MAXALIGN(VARHDRSZ);
	pack->limit = limit;
	pack->empty = HEADER_BYTES(natts);
	memset(pack->data, 0, pack->empty);
	memcpy(pack->data, &natts, sizeof(natts));
	for (int i = 0; i < natts; i++)
	{
		if (attnos[i] <= 0)
			continue;
		pack->data[sizeof(natts) + i / 8] |= 1 << i % 8;
		pack->columns[pack->ncolumns] = column_of(desc, i);
		pack->columns[pack->ncolumns++].from = attnos[i] - 1;
		pack->last = Max(pack->last, attnos[i]);
	}
	pgs_pack_reset(pack);
}

void
pgs_pack_reset(PgsPack *pack)
{
	pack->used = pack->empty;
	pack->nrows = 0;
}

static inline char *
put_by_value(char *p, Datum value, int len)
{
	switch (len)
	{
		case sizeof(char):
			*p = DatumGetChar(value);
			break;
		case sizeof(int16):
			{
				int16		v = DatumGetInt16(value);

				memcpy(p, &v, sizeof(v));
				break;
			}
		case sizeof(int32):
			{
				int32		v = DatumGetInt32(value);

				memcpy(p, &v, sizeof(v));
				break;
			}
		default:
			Assert(len == sizeof(Datum));
			memcpy(p, &value, sizeof(Datum));
	}
	return p + len;
}

/* Where the next value of an alignment begins; readers tell padding from a short varlena by its zeros. */
static inline char *
put_padding(const PgsPack *pack, char *p, char align)
{
	char	   *aligned = pack->data + att_align_nominal(p - pack->data, align);

	while (p < aligned)
		*p++ = 0;
	return aligned;
}

/* Put a value that is passed by reference; NULL if it doesn't fit. */
static char *
put_by_reference(const PgsPack *pack, const PgsPackColumn *column, char *p, Datum value)
{
	const char *from = DatumGetPointer(value);
	const char *end = pack->data + pack->limit;
	Size		size;

	if (column->len > 0)
	{
		size = column->len;
		p = put_padding(pack, p, column->align);
	}
	else if (column->len != -1 || VARATT_IS_EXTERNAL(from))
		return NULL;			/* what is kept elsewhere is kept elsewhere again: by a row of its own */
	else if (VARATT_IS_SHORT(from))
		size = VARSIZE_SHORT(from);
	else if (column->may_shorten && VARATT_CAN_MAKE_SHORT(from))
	{
		size = VARATT_CONVERTED_SHORT_SIZE(from);
		if (size > end - p)
			return NULL;
		SET_VARSIZE_SHORT(p, size);
		memcpy(p + VARHDRSZ_SHORT, VARDATA(from), size - VARHDRSZ_SHORT);
		return p + size;
	}
	else
	{
		size = VARSIZE(from);
		p = put_padding(pack, p, column->align);
	}
	if (p > end || size > end - p)
		return NULL;
	memcpy(p, from, size);
	return p + size;
}

/* The row of a slot into a pack; false, and nothing is changed, if it doesn't fit. */
bool
pgs_pack_put(PgsPack *pack, TupleTableSlot *slot, bool is_old)
{
	char	   *p = pack->data + pack->used;
	const char *end = pack->data + pack->limit;
	uint8		flags = is_old ? ROW_OLD : 0;
	bits8	   *null_bits;

	slot_getsomeattrs(slot, pack->last);
	for (int i = 0; i < pack->ncolumns; i++)
		if (slot->tts_isnull[pack->columns[i].from])
			flags |= ROW_HAS_NULLS;
	if (end - p < 1 + BITMAPLEN(pack->ncolumns))
		return false;
	*p++ = flags;
	null_bits = (bits8 *) p;
	if (flags & ROW_HAS_NULLS)
	{
		memset(p, 0, BITMAPLEN(pack->ncolumns));
		p += BITMAPLEN(pack->ncolumns);
	}
	for (int i = 0; i < pack->ncolumns; i++)
	{
		const PgsPackColumn *column = &pack->columns[i];

		if (slot->tts_isnull[column->from])
			null_bits[i / 8] |= 1 << i % 8;
		else if (!column->byval)
			p = put_by_reference(pack, column, p, slot->tts_values[column->from]);
		else
			p = column->len <= end - p ? put_by_value(p, slot->tts_values[column->from], column->len) : NULL;
		if (p == NULL)
			return false;
	}
	pack->used = p - pack->data;
	pack->nrows++;
	return true;
}

/* Two versions of a row, both or none. */
bool
pgs_pack_put_both(PgsPack *pack, TupleTableSlot *old, TupleTableSlot *new)
{
	int			used = pack->used;

	if (!pgs_pack_put(pack, old, true))
		return false;
	if (pgs_pack_put(pack, new, false))
		return true;
	pack->used = used;
	pack->nrows--;
	return false;
}

/* The pack as a value, good until the next row is put. */
bytea *
pgs_pack_value(PgsPack *pack)
{
	bytea	   *result = (bytea *) (pack->data - VARHDRSZ);

	SET_VARSIZE(result, pack->used + VARHDRSZ);
	return result;
}

void
pgs_pack_end(PgsPack *pack)
{
	pfree(pack->data - MAXALIGN(VARHDRSZ));
	pfree(pack->columns);
}

/* ---- reading ---- */

void
pgs_unpack_init(PgsUnpack *u, TupleDesc desc)
{
	memset(u, 0, sizeof(PgsUnpack));
	u->desc = desc;
	u->columns = palloc(sizeof(PgsPackColumn) * desc->natts);
}

/* Begin to read a pack.  Rows of the one before stay good until the next. */
void
pgs_unpack_begin(PgsUnpack *u, const bytea *pack)
{
	Size		size = VARSIZE_ANY_EXHDR(pack);
	uint16		natts;
	const char *bits;

	u->turn = 1 - u->turn;
	if (size > u->room[u->turn])
	{
		if (u->memory[u->turn])
			pfree(u->memory[u->turn]);
		u->memory[u->turn] = palloc(size);
		u->room[u->turn] = size;
	}
	u->data = u->memory[u->turn];
	memcpy(u->data, VARDATA_ANY(pack), size);
	u->end = u->data + size;
	memcpy(&natts, u->data, sizeof(natts));
	/* columns come and go, but numbers are never given up */
	if (natts > u->desc->natts)
		elog(ERROR, "a pack of %u columns lies in a segment of %d", natts, u->desc->natts);
	bits = u->data + sizeof(natts);
	u->ncolumns = 0;
	for (int i = 0; i < natts; i++)
		if (bits[i / 8] & (1 << i % 8))
			u->columns[u->ncolumns++] = column_of(u->desc, i);
	u->next = u->data + HEADER_BYTES(natts);
}

static inline char *
get_by_value(char *p, Datum *value, int len)
{
	switch (len)
	{
		case sizeof(char):
			*value = CharGetDatum(*p);
			break;
		case sizeof(int16):
			{
				int16		v;

				memcpy(&v, p, sizeof(v));
				*value = Int16GetDatum(v);
				break;
			}
		case sizeof(int32):
			{
				int32		v;

				memcpy(&v, p, sizeof(v));
				*value = Int32GetDatum(v);
				break;
			}
		default:
			Assert(len == sizeof(Datum));
			memcpy(value, p, sizeof(Datum));
	}
	return p + len;
}

static char *
get_by_reference(PgsUnpack *u, const PgsPackColumn *column, char *p, Datum *value)
{
	Size		at = p - u->data;

	if (column->len > 0)
		at = att_align_nominal(at, column->align);
	else
		at = att_align_pointer(at, column->align, -1, p);
	p = u->data + at;
	*value = PointerGetDatum(p);
	return p + (column->len > 0 ? column->len : VARSIZE_ANY(p));
}

/* The next row of the pack, by columns of the segment; false: there is none. */
bool
pgs_unpack_next(PgsUnpack *u, Datum *values, bool *nulls, bool *is_old)
{
	char	   *p = u->next;
	const bits8 *null_bits = NULL;
	uint8		flags;

	if (p == u->end)
		return false;
	flags = *p++;
	*is_old = flags & ROW_OLD;
	if (flags & ROW_HAS_NULLS)
	{
		null_bits = (bits8 *) p;
		p += BITMAPLEN(u->ncolumns);
	}
	memset(nulls, true, u->desc->natts);
	for (int i = 0; i < u->ncolumns; i++)
	{
		const PgsPackColumn *column = &u->columns[i];

		if (null_bits && (null_bits[i / 8] & (1 << i % 8)))
			continue;
		nulls[column->at] = false;
		p = column->byval ? get_by_value(p, &values[column->at], column->len) :
			get_by_reference(u, column, p, &values[column->at]);
	}
	u->next = p;
	return true;
}

void
pgs_unpack_end(PgsUnpack *u)
{
	for (int i = 0; i < lengthof(u->memory); i++)
		if (u->memory[i])
			pfree(u->memory[i]);
	pfree(u->columns);
}
