/*
 * datum.h - what every stage asks of values
 */
#ifndef PGS_DATUM_H
#define PGS_DATUM_H

#include "utils/datum.h"

/* Whether two values, of which either may be NULL, look the same: 1.0 and 1.00 don't. */
static inline bool
pgs_same_value(Datum x, bool xnull, Datum y, bool ynull, bool byval, int len)
{
	if (xnull || ynull)
		return xnull == ynull;
	/* (the first is there for speed: each row that is written comes by) */
	return (byval && x == y) || datum_image_eq(x, y, byval, len);
}

#endif							/* PGS_DATUM_H */
