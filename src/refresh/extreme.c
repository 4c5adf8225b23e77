/*
 * extreme.c - min and max from the rows added to a group
 */
#include "postgres.h"

#include "refresh/refresh_internal.h"
#include "utils/datum.h"
#include "utils/typcache.h"

/*
 * Whether x is better than y for the aggregate, or as good.
 */
static bool
as_good(const PgsAggregate *agg, Datum x, Datum y)
{
	TypeCacheEntry *entry = lookup_type_cache(agg->aggref->aggtype, TYPECACHE_CMP_PROC_FINFO);
	int32		cmp = DatumGetInt32(FunctionCall2Coll(&entry->cmp_proc_finfo, agg->aggref->inputcollid, x, y));

	return agg->rule == PGS_AGG_MIN ? cmp <= 0 : cmp >= 0;
}

/*
 * Change a min or max: change[0] is the best value added to the group, change[1] the best one removed, each NULL for none.
 * False if the value that counts may have been removed: then the group has to be computed again.
 */
bool
pgs_extreme_add(const PgsAggregate *agg, Datum *value, bool *isnull, const Datum *change, const bool *change_null)
{
	if (!change_null[0] && (*isnull || as_good(agg, change[0], *value)))
	{
		*value = change[0];
		*isnull = false;
	}
	return change_null[1] || (!*isnull && !as_good(agg, change[1], *value));
}
