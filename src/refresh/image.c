/*
 * image.c - a row as one bytea, equal exactly where two rows have equal images
 *
 * Rows are compared as multisets, also where a type has no equality (json, point), and by image, not by value (1.0
 * is not 1.00).  A row image is a MinimalTuple in canonical form: values detoasted and uncompressed, headers packed by
 * the type's default storage, so it doesn't depend on how the row lies on disk.  As a bytea it can be hashed,
 * sorted, spilled and handed to parallel workers by the executor, and turned back into the row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/toast_compression.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "fmgr.h"
#include "refresh/refresh_internal.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(pgs_row_image);

/* kept in fn_extra between the calls of one query */
typedef struct
{
	Oid			type;
	int32		typmod;
	TupleDesc	desc;			/* of the input */
	TupleDesc	image;			/* canonical */
	Datum	   *values;
	bool	   *nulls;
} ImageCache;

/*
 * The form in which images of rows of "desc" are built: its live columns, with their types' default storage.
 */
TupleDesc
pgs_image_desc(TupleDesc desc)
{
	TupleDesc	result;
	int			n = 0;

	for (int i = 0; i < desc->natts; i++)
		n += !TupleDescAttr(desc, i)->attisdropped;
	result = CreateTemplateTupleDesc(n);
	n = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (attr->attisdropped)
			continue;
		TupleDescCopyEntry(result, n + 1, desc, i + 1);
		TupleDescAttr(result, n)->attstorage = get_typstorage(attr->atttypid);
		TupleDescAttr(result, n)->attcompression = InvalidCompressionMethod;
		pgs_attribute_changed(result, n);
		n++;
	}
	return result;
}

static bytea *
form_image(TupleDesc desc, Datum *values, bool *nulls)
{
	MinimalTuple tuple;
	bytea	   *result;

	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attr = TupleDescAttr(desc, i);

		if (nulls[i] || attr->attlen != -1)
			continue;
		/* forming the tuple shortens every header that may be short; one that may not must arrive long */
		if (attr->attstorage == TYPSTORAGE_PLAIN)
			values[i] = PointerGetDatum(PG_DETOAST_DATUM(values[i]));
		else
			values[i] = PointerGetDatum(PG_DETOAST_DATUM_PACKED(values[i]));
	}
	tuple = pgs_form_minimal_tuple(desc, values, nulls);
	result = palloc(VARHDRSZ + tuple->t_len);
	SET_VARSIZE(result, VARHDRSZ + tuple->t_len);
	memcpy(VARDATA(result), tuple, tuple->t_len);
	return result;
}

/* Take an image apart; the values point into a copy in the current memory context. */
static void
deform_image(bytea *image, TupleDesc desc, Datum *values, bool *nulls)
{
	Size		len = VARSIZE_ANY_EXHDR(image);
	MinimalTuple tuple = palloc(len);	/* aligned, which the inside of a bytea is not */
	HeapTupleData heap;

	memcpy(tuple, VARDATA_ANY(image), len);
	heap.t_len = len + MINIMAL_TUPLE_OFFSET;
	ItemPointerSetInvalid(&heap.t_self);
	heap.t_tableOid = InvalidOid;
	heap.t_data = (HeapTupleHeader) ((char *) tuple - MINIMAL_TUPLE_OFFSET);
	heap_deform_tuple(&heap, desc, values, nulls);
}

/*
 * Put the row of an image into a slot of the relation whose pgs_image_desc is given.  The row lives as long as the
 * current memory context.
 */
void
pgs_image_store(bytea *image, TupleDesc image_desc, TupleTableSlot *slot)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Datum	   *values = palloc(sizeof(Datum) * image_desc->natts);
	bool	   *nulls = palloc(sizeof(bool) * image_desc->natts);
	int			n = 0;

	deform_image(image, image_desc, values, nulls);
	ExecClearTuple(slot);
	for (int i = 0; i < desc->natts; i++)
	{
		bool		dropped = TupleDescAttr(desc, i)->attisdropped;

		slot->tts_isnull[i] = dropped || nulls[n];
		slot->tts_values[i] = dropped ? (Datum) 0 : values[n];
		n += !dropped;
	}
	ExecStoreVirtualTuple(slot);
}

static ImageCache *
cache_for(FmgrInfo *flinfo, Oid type, int32 typmod)
{
	ImageCache *cache = flinfo->fn_extra;
	MemoryContext old;
	TupleDesc	desc;

	if (cache && cache->type == type && cache->typmod == typmod)
		return cache;
	old = MemoryContextSwitchTo(flinfo->fn_mcxt);
	cache = palloc0(sizeof(ImageCache));
	cache->type = type;
	cache->typmod = typmod;
	desc = lookup_rowtype_tupdesc(type, typmod);
	cache->desc = CreateTupleDescCopy(desc);
	ReleaseTupleDesc(desc);
	cache->image = pgs_image_desc(cache->desc);
	cache->values = palloc(sizeof(Datum) * cache->desc->natts);
	cache->nulls = palloc(sizeof(bool) * cache->desc->natts);
	flinfo->fn_extra = cache;
	MemoryContextSwitchTo(old);
	return cache;
}

/*
 * row_image(record) returns bytea
 *
 * There is no SQL function for the way back: a forged image would be read as if it were a row.
 */
Datum
pgs_row_image(PG_FUNCTION_ARGS)
{
	HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(0);
	ImageCache *cache = cache_for(fcinfo->flinfo, HeapTupleHeaderGetTypeId(row), HeapTupleHeaderGetTypMod(row));
	HeapTupleData tuple;
	int			n = 0;

	tuple.t_len = HeapTupleHeaderGetDatumLength(row);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = row;
	heap_deform_tuple(&tuple, cache->desc, cache->values, cache->nulls);
	if (cache->image->natts < cache->desc->natts)
		for (int i = 0; i < cache->desc->natts; i++)
			if (!TupleDescAttr(cache->desc, i)->attisdropped)
			{
				cache->values[n] = cache->values[i];
				cache->nulls[n++] = cache->nulls[i];
			}
	PG_RETURN_BYTEA_P(form_image(cache->image, cache->values, cache->nulls));
}
