/*
 * attempt.c - one way to compute a result, where there is another
 *
 * A refresh can fail where its query would not: stored rows may not be what its frontier says, a delta holds rows that are gone again (and whose
 * division by zero was why), a subquery that became a join is computed for rows that a CASE would have spared.  So such ways
 * are tried in a subtransaction, of which nothing is left if there is an error, and then a plainer one is taken.  If that fails, too, it
 * is the query's own error that the user sees.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "refresh/refresh_internal.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

static bool inconsistent = false;

/*
 * A state or a stream table is not what its frontier says, by whoever's fault: the delta is given up, and the whole computed.
 */
void
pgs_refresh_inconsistent(const char *what)
{
	inconsistent = true;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("stored rows of a stream table are not what its last refresh left"),
			 errdetail("%s.", what)));
}

/* Whether an error is about values, and not about locks, memory, the disk, or an order to stop, which would meet any other way, too. */
static bool
is_about_values(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_CARDINALITY_VIOLATION:
		case ERRCODE_DATA_EXCEPTION:
		case ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION:
		case ERRCODE_SQL_ROUTINE_EXCEPTION:
		case ERRCODE_EXTERNAL_ROUTINE_EXCEPTION:
		case ERRCODE_EXTERNAL_ROUTINE_INVOCATION_EXCEPTION:
		case ERRCODE_PLPGSQL_ERROR:
			return true;
		default:
			return false;
	}
}

/* Take a step in a subtransaction.  Returns NULL when it is done, or the error, of which nothing is left. */
ErrorData *
pgs_in_subtransaction(void (*step) (void *), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		step(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return error;
}

/* The same; returns only an error for which another way is worth trying, and raises any other. */
ErrorData *
pgs_attempt(void (*step) (void *), void *arg)
{
	ErrorData  *error;

	inconsistent = false;
	error = pgs_in_subtransaction(step, arg);
	if (error && !inconsistent && !is_about_values(error))
		ReThrowError(error);
	return error;
}
