/*
 * guard.c - the trigger that refuses direct writes to a stream table
 *
 * It is a statement trigger.  The engine writes through the executor's simple DML, which fires row triggers only, so
 * it needs no back door that others could use.
 */
#include "postgres.h"

#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(pgs_guard);

Datum
pgs_guard(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("guard() can only be called as a trigger")));
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("cannot change stream table \"%s\"", RelationGetRelationName(data->tg_relation)),
			 errdetail("Its rows follow from its query."),
			 errhint("Change the tables that it reads from. To turn a dbt model into another kind, "
					 "run it with --full-refresh.")));
	return PointerGetDatum(NULL);	/* not reached */
}
