/*
 * element.c - the value of a scalar subquery, from an array of its rows
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/array.h"
#include "utils/lsyscache.h"

PG_FUNCTION_INFO_V1(pgs_only_element);

/*
 * only_element(anyarray) returns anyelement
 *
 * Raises what the executor does where a subquery used as an expression has several rows (executor/nodeSubplan.c).
 */
Datum
pgs_only_element(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	int16		len;
	bool		byval;
	char		align;
	Datum	   *values;
	bool	   *nulls;

	if (n > 1)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("more than one row returned by a subquery used as an expression")));
	if (n == 0)
		PG_RETURN_NULL();
	get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align, &values, &nulls, &n);
	if (nulls[0])
		PG_RETURN_NULL();
	PG_RETURN_DATUM(values[0]);
}
