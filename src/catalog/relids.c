/*
 * relids.c - OIDs of the catalogs, looked up by name once and kept until the relation cache says otherwise
 *
 * An OID of an extension's table is not fixed, and DROP EXTENSION; CREATE EXTENSION changes it under a living
 * session.  Any invalidation that names one of ours, or everything, empties the whole small array.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pgs_catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "compat.h"
#include "module.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

static const char *const names[PGS_CATALOG_COUNT] = {
	[PGS_CATALOG_STREAM] = "stream",
	[PGS_CATALOG_STREAM_PKEY] = "stream_pkey",
	[PGS_CATALOG_STREAM_RELID] = "stream_relid_key",
	[PGS_CATALOG_STREAM_ID_SEQ] = "stream_pgs_id_seq",
	[PGS_CATALOG_HISTORY] = "history",
	[PGS_CATALOG_HISTORY_TIME] = "history_stream_time",
	[PGS_CATALOG_HISTORY_ID_SEQ] = "history_refresh_id_seq",
	[PGS_CATALOG_CHANGE] = "change",
	[PGS_CATALOG_SOURCE] = "source",
	[PGS_CATALOG_SOURCE_PKEY] = "source_pkey",
};

static Oid	relids[PGS_CATALOG_COUNT];

static void
forget_relids(Datum arg, Oid relid)
{
	for (int i = 0; i < PGS_CATALOG_COUNT; i++)
		if (relid == InvalidOid || relids[i] == relid)
		{
			memset(relids, 0, sizeof(relids));
			return;
		}
}

static Oid
lookup(PgsCatalog which)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_relids, (Datum) 0);
		registered = true;
	}
	if (!OidIsValid(relids[which]))
	{
		Oid			nsp = get_namespace_oid(PGS_INTERNAL_SCHEMA, true);

		if (OidIsValid(nsp))
			relids[which] = get_relname_relid(names[which], nsp);
	}
	return relids[which];
}

/* OID of a catalog; an error if the extension is not installed in this database */
Oid
pgs_catalog_relid(PgsCatalog which)
{
	Oid			relid = lookup(which);

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("dbt_pgstream extension is not installed"),
				 errhint("Run: CREATE EXTENSION dbt_pgstream;")));
	return relid;
}

/*
 * Lock all of the catalogs as their writers do, their schema and the extension, before anything else is locked.  DROP EXTENSION wants them and the
 * stream tables, in an order of its own; a worker, which doesn't wait, can't meet it halfway.  False if DROP EXTENSION
 * holds one of them and we don't wait.
 */
bool
pgs_catalog_lock(bool wait)
{
	Oid			extension = get_extension_oid(PGS_EXTENSION, !wait);
	Oid			nsp = get_namespace_oid(PGS_INTERNAL_SCHEMA, !wait);

	/* what DROP EXTENSION locks first of all; and both, as whoever makes a table for us locks them later */
	if (wait)
	{
		LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
		LockDatabaseObject(NamespaceRelationId, nsp, 0, AccessShareLock);
	}
	else if (!OidIsValid(extension) || !OidIsValid(nsp) ||
			 !pgs_lock_object_at_once(ExtensionRelationId, extension, 0, AccessShareLock) ||
			 !pgs_lock_object_at_once(NamespaceRelationId, nsp, 0, AccessShareLock))
		return false;
	for (int i = 0; i < PGS_CATALOG_COUNT; i++)
	{
		if (wait)
			LockRelationOid(pgs_catalog_relid(i), RowExclusiveLock);
		else if (!ConditionalLockRelationOid(pgs_catalog_relid(i), RowExclusiveLock))
			return false;
	}
	return true;
}

/* whether the extension is installed in this database, completely enough to be asked */
bool
pgs_catalog_exists(void)
{
	for (int i = 0; i < PGS_CATALOG_COUNT; i++)
		if (!OidIsValid(lookup(i)))
			return false;
	return true;
}

/* OID of a function in the internal schema. */
Oid
pgs_catalog_function(const char *name, int nargs, const Oid *types)
{
	return LookupFuncName(list_make2(makeString(PGS_INTERNAL_SCHEMA), makeString(pstrdup(name))), nargs, types, false);
}
