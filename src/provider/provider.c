/*
 * provider.c - names, and the engine behind each
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "compat.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "provider/provider.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

const PgsEngine *const pgs_engines[] = {
	&pgs_engine_builtin, &pgs_engine_pg_stream, &pgs_engine_pg_trickle, NULL
};

/* Whether an engine can be asked anything in this database. */
bool
pgs_engine_installed(const PgsEngine *engine)
{
	return engine->schema == NULL || OidIsValid(get_extension_oid(engine->name, true));
}

/*
 * The engine for a new stream table: "wanted" if given, else dbt_pgstream.engine; "auto" is the builtin one.
 */
const PgsEngine *
pgs_engine_for_new(const char *wanted)
{
	const char *name = wanted ? wanted : pgs_engine;

	if (strcmp(name, "auto") == 0)
		return &pgs_engine_builtin;
	for (int i = 0; pgs_engines[i]; i++)
	{
		if (strcmp(name, pgs_engines[i]->name) != 0)
			continue;
		if (!pgs_engine_installed(pgs_engines[i]))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("%s extension is not installed", name),
					 errhint("Run: CREATE EXTENSION %s;", name)));
		return pgs_engines[i];
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown engine \"%s\"", name),
			 errhint("Use auto, builtin, pg_stream or pg_trickle.")));
}

/* The engine whose catalog lists a relation; NULL, or an error, if none does. */
const PgsEngine *
pgs_engine_of(Oid relid, bool missing_ok)
{
	for (int i = 0; pgs_engines[i]; i++)
		if (pgs_engine_installed(pgs_engines[i]) && pgs_engines[i]->owns(pgs_engines[i], relid))
			return pgs_engines[i];
	if (!missing_ok)
		(void) pgs_stream_get(relid, false);	/* raises */
	return NULL;
}

/* Split a name as SQL would read it, but never cut it to length. */
static RangeVar *
split_name(const char *name)
{
	Datum		parts = DirectFunctionCall2(parse_ident, CStringGetTextDatum(name), BoolGetDatum(true));
	Datum	   *elems;
	int			n;
	List	   *names = NIL;

	deconstruct_array(DatumGetArrayTypeP(parts), TEXTOID, -1, false, TYPALIGN_INT, &elems, NULL, &n);
	for (int i = 0; i < n; i++)
	{
		char	   *part = TextDatumGetCString(elems[i]);

		if (strlen(part) >= NAMEDATALEN)
			ereport(ERROR,
					(errcode(ERRCODE_NAME_TOO_LONG),
					 errmsg("name \"%s\" is too long", part),
					 errdetail("A name has at most %d bytes.", NAMEDATALEN - 1)));
		names = lappend(names, makeString(part));
	}
	return makeRangeVarFromNameList(names);
}

/*
 * Resolve the name of a stream table: qualified, quoted, or found in search_path, like any table's.
 *
 * With "create", the schema is the one a new table would get, and relid is InvalidOid or what stands there already;
 * else the relation must exist.
 */
PgsName *
pgs_name_parse(const char *text, bool create)
{
	RangeVar   *rv = split_name(text);
	PgsName    *result = palloc0(sizeof(PgsName));
	Oid			nsp;

	if (create)
	{
		nsp = RangeVarGetCreationNamespace(rv);
		if (isAnyTempNamespace(nsp))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("a stream table cannot be temporary"),
					 errhint("Name a permanent schema.")));
		result->relid = get_relname_relid(rv->relname, nsp);
	}
	else
	{
		result->relid = RangeVarGetRelid(rv, NoLock, false);
		nsp = get_rel_namespace(result->relid);
	}
	result->schema = get_namespace_name(nsp);
	result->name = rv->relname;
	return result;
}

/* Append one row (property, value). */
void
pgs_put_property(Tuplestorestate *store, TupleDesc desc, const char *property, const char *value)
{
	Datum		values[2] = {CStringGetTextDatum(property), value ? CStringGetTextDatum(value) : (Datum) 0};
	bool		nulls[2] = {false, value == NULL};

	tuplestore_putvalues(store, desc, values, nulls);
}

/*
 * Run a query as the caller, under a pinned search_path, and append its rows, which must have the tuplestore's shape.
 */
void
pgs_put_query(Tuplestorestate *store, TupleDesc desc, const char *sql, int nargs, const Oid *types, const Datum *values)
{
	Datum	   *v = palloc(sizeof(Datum) * desc->natts);
	bool	   *n = palloc(sizeof(bool) * desc->natts);
	int			level = NewGUCNestLevel();
	int			rc;

	/* names are qualified; operators must be, too */
	pgs_restrict_search_path();
	SPI_connect();
	rc = SPI_execute_with_args(sql, nargs, unconstify(Oid *, types), unconstify(Datum *, values), NULL, false, 0);
	if (rc != SPI_OK_SELECT || SPI_tuptable->tupdesc->natts != desc->natts)
		elog(ERROR, "unexpected result of \"%s\"", sql);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		heap_deform_tuple(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, v, n);
		tuplestore_putvalues(store, desc, v, n);
	}
	SPI_finish();
	AtEOXact_GUC(false, level);
}
