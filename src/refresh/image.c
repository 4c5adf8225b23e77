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
#include "common/hashfn.h"
#include "refresh/refresh_internal.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(pgs_row_image);
PG_FUNCTION_INFO_V1(pgs_values_image);
PG_FUNCTION_INFO_V1(pgs_row_hash);

/* types of the arguments of row_hash, kept in fn_extra */
typedef struct
{
	int16		lens[FUNC_MAX_ARGS];
	bool		byvals[FUNC_MAX_ARGS];
} HashCache;

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

/* The image of the row in a slot of the relation whose pgs_image_desc is given, in the current memory context. */
bytea *
pgs_image_of(TupleTableSlot *slot, TupleDesc image_desc)
{
	TupleDesc	desc = slot->tts_tupleDescriptor;
	Datum		values[MaxTupleAttributeNumber];
	bool		nulls[MaxTupleAttributeNumber];
	int			n = 0;

	slot_getallattrs(slot);
	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
		{
			values[n] = slot->tts_values[i];
			nulls[n++] = slot->tts_isnull[i];
		}
	return form_image(image_desc, values, nulls);
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

static void
refuse_array(FmgrInfo *flinfo)
{
	if (get_fn_expr_variadic(flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("values must be given one by one, not as an array")));
}

static Oid
argument_type(FmgrInfo *flinfo, int i)
{
	Oid			type = get_fn_expr_argtype(flinfo, i);

	/* a literal has no type yet, and is a C string */
	if (!OidIsValid(type) || type == UNKNOWNOID)
		ereport(ERROR,
				(errcode(ERRCODE_INDETERMINATE_DATATYPE),
				 errmsg("could not determine the type of argument %d", i + 1)));
	return type;
}

/* values_image(VARIADIC "any") returns bytea: row_image(ROW(...)) without the row in between */
Datum
pgs_values_image(PG_FUNCTION_ARGS)
{
	ImageCache *cache = fcinfo->flinfo->fn_extra;
	int			n = PG_NARGS();

	refuse_array(fcinfo->flinfo);
	if (!cache)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);

		cache = palloc0(sizeof(ImageCache));
		cache->desc = CreateTemplateTupleDesc(n);
		for (int i = 0; i < n; i++)
			TupleDescInitEntry(cache->desc, i + 1, NULL, argument_type(fcinfo->flinfo, i), -1, 0);
		cache->image = pgs_image_desc(cache->desc);
		cache->values = palloc(sizeof(Datum) * n);
		cache->nulls = palloc(sizeof(bool) * n);
		fcinfo->flinfo->fn_extra = cache;
		MemoryContextSwitchTo(old);
	}
	for (int i = 0; i < n; i++)
	{
		cache->values[i] = fcinfo->args[i].value;
		cache->nulls[i] = fcinfo->args[i].isnull;
	}
	PG_RETURN_BYTEA_P(form_image(cache->image, cache->values, cache->nulls));
}

/* row_hash(VARIADIC "any") returns int8: the hash of images by which the index of a stream table finds rows */
Datum
pgs_row_hash(PG_FUNCTION_ARGS)
{
	HashCache  *cache = fcinfo->flinfo->fn_extra;
	int			n = PG_NARGS();
	uint64		result = 0;

	refuse_array(fcinfo->flinfo);
	if (!cache)
	{
		cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(HashCache));
		for (int i = 0; i < n; i++)
			get_typlenbyval(argument_type(fcinfo->flinfo, i), &cache->lens[i], &cache->byvals[i]);
		fcinfo->flinfo->fn_extra = cache;
	}
	for (int i = 0; i < n; i++)
		result = hash_combine64(result, fcinfo->args[i].isnull ? 0 :
								datum_image_hash(fcinfo->args[i].value, cache->byvals[i], cache->lens[i]));
	PG_RETURN_INT64((int64) result);
}
