/*
 * identity.c - become the owner of a stream table for the length of a refresh
 *
 * As REFRESH MATERIALIZED VIEW does (commands/matview.c): the owner's rights, a security-restricted operation, a
 * search_path that nobody can plant objects in.  Besides, the settings that decide how values turn into text are
 * those of the creation, or a timestamp cast to text would depend on who refreshes.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "miscadmin.h"
#include "refresh/refresh_internal.h"
#include "utils/builtins.h"

static void
set_local(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Switch to "owner" and to the settings stored with a stream table.  Undone by pgs_identity_restore, or by the abort
 * of the (sub)transaction.
 */
void
pgs_identity_assume(PgsIdentity *saved, Oid owner, ArrayType *settings)
{
	Datum	   *elems;
	int			n;

	GetUserIdAndSecContext(&saved->userid, &saved->sec_context);
	SetUserIdAndSecContext(owner, saved->sec_context | SECURITY_RESTRICTED_OPERATION);
	saved->guc_level = NewGUCNestLevel();
	pgs_restrict_search_path();
	/* two scans of one table in different directions would make LIMIT without ORDER BY flap */
	set_local("synchronize_seqscans", "off");
	deconstruct_array(settings, TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i + 1 < n; i += 2)
		set_local(TextDatumGetCString(elems[i]), TextDatumGetCString(elems[i + 1]));
}

void
pgs_identity_restore(const PgsIdentity *saved)
{
	AtEOXact_GUC(false, saved->guc_level);
	SetUserIdAndSecContext(saved->userid, saved->sec_context);
}
