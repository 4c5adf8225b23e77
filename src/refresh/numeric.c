/*
 * numeric.c - sums of numerics from which values can be taken out again
 *
 * The finite values are a sum like any other.  What it doesn't tell is in a profile, an int8[] of counts:
 *
 *     [NaN, Infinity, -Infinity, scale 0, scale 1, ...]
 *
 * The result is NaN or infinite if one of those is there, and else has the scale of the value with the most decimals, as
 * numeric's own aggregates give it (utils/adt/numeric.c: accum_sum_final, numeric_avg, numeric_sum).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "refresh/refresh_internal.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(pgs_is_finite);
PG_FUNCTION_INFO_V1(pgs_profile_step);

enum
{
	PROFILE_NAN, PROFILE_INF, PROFILE_MINUS_INF, PROFILE_SCALE
};

static ArrayType *
new_profile(int n)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + n * sizeof(int64);
	ArrayType  *result = palloc0(size);

	SET_VARSIZE(result, size);
	result->ndim = 1;
	result->elemtype = INT8OID;
	ARR_DIMS(result)[0] = n;
	ARR_LBOUND(result)[0] = 1;
	return result;
}

static int
profile_length(const ArrayType *profile)
{
	return profile && ARR_NDIM(profile) == 1 ? ARR_DIMS(profile)[0] : 0;
}

static int64 *
profile_counts(ArrayType *profile)
{
	return (int64 *) ARR_DATA_PTR(profile);
}

/* A copy with room for at least n counts. */
static ArrayType *
extended(ArrayType *profile, int n)
{
	ArrayType  *result = new_profile(Max(n, profile_length(profile)));

	if (profile_length(profile) > 0)
		memcpy(profile_counts(result), profile_counts(profile), profile_length(profile) * sizeof(int64));
	return result;
}

static int
place_of(Numeric value)
{
	if (numeric_is_nan(value))
		return PROFILE_NAN;
	if (numeric_is_inf(value))
		return DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(value), DirectFunctionCall1(int8_numeric, Int64GetDatum(0)))) ?
			PROFILE_INF : PROFILE_MINUS_INF;
	return PROFILE_SCALE + DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(value)));
}

/* is_finite(numeric) returns boolean */
Datum
pgs_is_finite(PG_FUNCTION_ARGS)
{
	Numeric		value = PG_GETARG_NUMERIC(0);

	PG_RETURN_BOOL(!numeric_is_nan(value) && !numeric_is_inf(value));
}

/* profile_step(int8[], numeric, int8) returns int8[]: the transition of the aggregate profile(value, weight) */
Datum
pgs_profile_step(PG_FUNCTION_ARGS)
{
	MemoryContext aggregate;
	MemoryContext old;
	ArrayType  *profile;
	int			place;

	if (!AggCheckCallContext(fcinfo, &aggregate) || PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("profile_step can only be called as part of the aggregate profile")));
	profile = PG_GETARG_ARRAYTYPE_P(0);
	if (PG_ARGISNULL(1) || PG_ARGISNULL(2))
		PG_RETURN_ARRAYTYPE_P(profile);
	place = place_of(PG_GETARG_NUMERIC(1));
	if (place >= profile_length(profile))
	{
		/* some room, as scales tend to come one after the other */
		old = MemoryContextSwitchTo(aggregate);
		profile = extended(profile, place + 4);
		MemoryContextSwitchTo(old);
	}
	/* in place: within an aggregate the state is ours */
	profile_counts(profile)[place] += PG_GETARG_INT64(2);
	PG_RETURN_ARRAYTYPE_P(profile);
}

/* The sum of two profiles; NULL counts as empty. */
ArrayType *
pgs_profile_add(ArrayType *a, ArrayType *b)
{
	ArrayType  *result = extended(a, Max(profile_length(b), PROFILE_SCALE));

	for (int i = 0; i < profile_length(b); i++)
		profile_counts(result)[i] += profile_counts(b)[i];
	return result;
}

/* Scale of the finite value with the most decimals. */
static int
profile_scale(ArrayType *profile)
{
	for (int i = profile_length(profile) - 1; i >= PROFILE_SCALE; i--)
		if (profile_counts(profile)[i] > 0)
			return i - PROFILE_SCALE;
	return 0;
}

/* The sum of finite values with the scale that it should have. */
Datum
pgs_numeric_rounded(Datum sum, ArrayType *profile)
{
	return DirectFunctionCall2(numeric_round, sum, Int32GetDatum(profile_scale(profile)));
}

static Datum
special(const char *text)
{
	return DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/*
 * What sum() gives for values of a profile whose finite ones have this sum (rounded); *finite says whether it is just that.
 */
Datum
pgs_numeric_sum(Datum sum, ArrayType *profile, bool *finite)
{
	int64	   *counts = profile_counts(profile);

	*finite = false;
	if (counts[PROFILE_NAN] > 0 || (counts[PROFILE_INF] > 0 && counts[PROFILE_MINUS_INF] > 0))
		return special("NaN");
	if (counts[PROFILE_INF] > 0)
		return special("Infinity");
	if (counts[PROFILE_MINUS_INF] > 0)
		return special("-Infinity");
	*finite = true;
	return sum;
}
