/*
 * scope.c - where a change can have touched a result, for queries that have no delta of their own
 *
 * query/restrict.c says which output column holds the value of a source's column in every row that derives from it; the delta
 * of the source says which values those are.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "query/query.h"
#include "refresh/refresh_internal.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"

/* more distinct values than this are no restriction worth the name */
#define MAX_SCOPE_VALUES 5000

typedef struct
{
	int16		len;
	bool		byval;
	int			n;
	Datum	   *values;
} Values;

static bool
has_value(const Values *v, Datum value, uint32 hash, const uint32 *hashes)
{
	for (int i = v->n - 1; i >= 0; i--)
		if (hashes[i] == hash && datum_image_eq(v->values[i], value, v->byval, v->len))
			return true;
	return false;
}

/* Distinct values of column "place" of a delta; false if they are too many. */
static bool
gather_values(PgsDelta *delta, int place, Values *v, bool *has_null)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(delta->desc, &TTSOpsMinimalTuple);
	uint32	   *hashes = palloc(sizeof(uint32) * MAX_SCOPE_VALUES);
	bool		fits = true;

	v->values = palloc(sizeof(Datum) * MAX_SCOPE_VALUES);
	tuplestore_rescan(delta->store);
	while (fits && tuplestore_gettupleslot(delta->store, true, false, slot))
	{
		bool		isnull;
		Datum		value = slot_getattr(slot, place, &isnull);
		uint32		hash;

		if (isnull)
		{
			*has_null = true;
			continue;
		}
		if (v->len == -1)
			value = PointerGetDatum(PG_DETOAST_DATUM(value));
		hash = datum_image_hash(value, v->byval, v->len);
		if (has_value(v, value, hash, hashes))
			continue;
		fits = v->n < MAX_SCOPE_VALUES;
		if (!fits)
			break;
		hashes[v->n] = hash;
		v->values[v->n++] = datumCopy(value, v->byval, v->len);
	}
	ExecDropSingleTupleTableSlot(slot);
	pfree(hashes);
	return fits;
}

/* The scope of one place where the query reads a source: by the alternative with the fewest values; NULL if none will do. */
static PgsDiffScope *
best_scope(PgsDelta *delta, const List *alternatives)
{
	PgsDiffScope *best = NULL;
	int			fewest = 0;
	ListCell   *lc;

	foreach(lc, alternatives)
	{
		PgsRestriction *r = lfirst(lc);
		int			place = pgs_delta_place(delta, r->attno);
		Oid			type = get_atttype(delta->relid, r->attno);
		Values		v = {0};
		PgsDiffScope *scope;
		char		align;

		if (place == 0)
			continue;
		scope = palloc0(sizeof(PgsDiffScope));
		get_typlenbyvalalign(type, &v.len, &v.byval, &align);
		if (!gather_values(delta, place, &v, &scope->has_null) || (best && v.n >= fewest))
			continue;
		scope->resno = r->resno;
		if (v.n > 0)
			scope->values = construct_array(v.values, v.n, type, v.len, v.byval, align);
		best = scope;
		fewest = v.n;
	}
	return best;
}

/*
 * What the deltas of some sources can have touched: a list of PgsDiffScope; false if that can't be told, or is too much.
 */
bool
pgs_scope_find(const PgsStream *stream, Query *query, List *deltas, List **scopes)
{
	ListCell   *lc;

	*scopes = NIL;
	foreach(lc, deltas)
	{
		PgsDelta   *delta = lfirst(lc);
		List	   *places = pgs_query_restrictions(query, delta->relid);
		ListCell   *place;

		if (places == NIL)
			return false;
		foreach(place, places)
		{
			PgsDiffScope *scope = best_scope(delta, lfirst(place));

			if (!scope)
				return false;
			if (scope->values || scope->has_null)
				*scopes = lappend(*scopes, scope);
		}
	}
	return true;
}
