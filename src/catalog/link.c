/*
 * link.c - the dependency of a stream table on the extension
 *
 * With it, DROP EXTENSION is refused while there are stream tables, and CASCADE takes them along.  A restored dump
 * lacks it, as pg_dump knows no such dependency of a table: so every refresh looks, and puts it back.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pgs_catalog.h"
#include "commands/extension.h"
#include "module.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"

static bool
is_linked(Oid relid, Oid extension)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData key[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found = false;

	ScanKeyInit(&key[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(RelationRelationId));
	ScanKeyInit(&key[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relid));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, key);
	while (!found && (tuple = systable_getnext(scan)) != NULL)
	{
		Form_pg_depend dep = (Form_pg_depend) GETSTRUCT(tuple);

		found = dep->refclassid == ExtensionRelationId && dep->refobjid == extension;
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

/* Make a stream table depend on the extension, if it doesn't yet.  The caller holds its refresh lock, or made it. */
void
pgs_stream_link(Oid relid)
{
	Oid			extension = get_extension_oid(PGS_EXTENSION, false);
	ObjectAddress table;
	ObjectAddress target;

	if (is_linked(relid, extension))
		return;
	ObjectAddressSet(table, RelationRelationId, relid);
	ObjectAddressSet(target, ExtensionRelationId, extension);
	recordDependencyOn(&table, &target, DEPENDENCY_NORMAL);
}

/*
 * Make a table of ours (a change buffer, a state) a member of the extension: it goes with it, and pg_dump leaves it out.
 */
void
pgs_stream_adopt(Oid relid)
{
	ObjectAddress table;
	ObjectAddress extension;

	ObjectAddressSet(table, RelationRelationId, relid);
	ObjectAddressSet(extension, ExtensionRelationId, get_extension_oid(PGS_EXTENSION, false));
	recordDependencyOn(&table, &extension, DEPENDENCY_EXTENSION);
}
