/*
 * diff.c - the full difference: what a stream table lacks, and what it has too much
 *
 * One query, one snapshot.  With weight +1 for each row of the query and -1 for each stored row, the sum of weights
 * over equal images is 0 for a row that is right, positive for one that is missing, negative for one that is too
 * much:
 *
 *     SELECT image, sum(weight), max(ctid) FROM (query, +1  UNION ALL  stored, -1) GROUP BY image HAVING sum(weight) <> 0
 *
 * The planner hashes or sorts it, in parallel where it pays, and spills by work_mem.  Where the output has a key, the
 * two versions of a row (-1 and +1 with the same key) become one update in place.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "executor/tstoreReceiver.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "module.h"
#include "refresh/refresh_internal.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

static char *
relation_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

/* ", row_image(ROW(alias.a, alias.b)) AS key", or nothing where there is no key */
static char *
key_column(const PgsStream *stream, Relation rel, const char *alias)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, stream->key)
		appendStringInfo(&buf, "%s%s.%s", foreach_current_index(lc) ? ", " : "", alias,
						 quote_identifier(NameStr(TupleDescAttr(RelationGetDescr(rel),
																lfirst_int(lc) - 1)->attname)));
	if (stream->key == NIL)
		return "";
	return psprintf(", " PGS_INTERNAL_SCHEMA ".row_image(ROW(%s)) AS key", buf.data);
}

/*
 * " WHERE alias.o = ANY ($1)", so that both sides are looked at only where the output column has one of the values of the
 * changed rows; nothing for the whole.  The operator is the type's default equality, named in full.
 */
static char *
restricting_clause(Relation rel, const char *alias, const PgsDiffScope *scope)
{
	Form_pg_attribute attr;
	HeapTuple	op;
	char	   *operator;
	char	   *column;
	char	   *is_null;

	if (scope == NULL)
		return "";
	attr = TupleDescAttr(RelationGetDescr(rel), scope->resno - 1);
	column = psprintf("%s.%s", alias, quote_identifier(NameStr(attr->attname)));
	is_null = psprintf("%s IS NULL", column);
	if (scope->values == NULL)
		return psprintf(" WHERE %s", is_null);
	op = SearchSysCache1(OPEROID, ObjectIdGetDatum(lookup_type_cache(attr->atttypid, TYPECACHE_EQ_OPR)->eq_opr));
	if (!HeapTupleIsValid(op))
		elog(ERROR, "type %u has no equality", attr->atttypid);
	operator = psprintf("%s.%s", quote_identifier(get_namespace_name(((Form_pg_operator) GETSTRUCT(op))->oprnamespace)),
						NameStr(((Form_pg_operator) GETSTRUCT(op))->oprname));
	ReleaseSysCache(op);
	return psprintf(" WHERE (%s OPERATOR(%s) ANY ($1)%s%s)", column, operator, scope->has_null ? " OR " : "", scope->has_null ? is_null : "");
}

static char *
sum_sql(const PgsStream *stream, Relation rel, const char *query, const PgsDiffScope *scope)
{
	const char *key = stream->key ? ", key" : "";

	return psprintf("SELECT image, sum(weight) AS weight, max(tid) AS tid%s FROM ("
					"SELECT " PGS_INTERNAL_SCHEMA ".row_image(q.*) AS image, 1 AS weight, NULL::tid AS tid%s FROM %s q%s"
					" UNION ALL "
					"SELECT " PGS_INTERNAL_SCHEMA ".row_image(s.*), -1, s.ctid%s FROM ONLY %s s%s) u "
					"GROUP BY image%s HAVING sum(weight) <> 0",
					key, key_column(stream, rel, "q"), query,
					restricting_clause(rel, "q", scope),
					key_column(stream, rel, "s"), relation_name(stream->relid), restricting_clause(rel, "s", scope), key);
}

/*
 * The query that sums weights: columns image, weight, tid, and key where there is one.  With a scope, its values are $1.
 */
char *
pgs_diff_sum_sql(const PgsStream *stream, Relation rel, const PgsDiffScope *scope)
{
	return sum_sql(stream, rel, relation_name(stream->viewid), scope);
}

/* What stands for the view, as it was at the time of the last refresh where it depends on the clock. */
static char *
view_then(const PgsStream *stream)
{
	Query	   *query = pgs_query_of_view(stream->viewid);

	if (!pgs_capture_has_frontier(stream) || !pgs_delta_reads_clock(query))
		return relation_name(stream->viewid);
	return psprintf("(%s)", pgs_query_deparse(pgs_delta_at_time(query, stream->frontier_time)));
}

/* The same as of the last refresh. */
char *
pgs_diff_sum_sql_then(const PgsStream *stream, Relation rel)
{
	return sum_sql(stream, rel, view_then(stream), NULL);
}

/* Weights of rows that are equal by value, as of the last refresh; types without equality count by their text. */
char *
pgs_diff_values_sql(const PgsStream *stream, Relation rel)
{
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute attr = TupleDescAttr(RelationGetDescr(rel), i);
		TypeCacheEntry *entry;

		if (attr->attisdropped)
			continue;
		entry = lookup_type_cache(attr->atttypid, TYPECACHE_EQ_OPR | TYPECACHE_LT_OPR | TYPECACHE_HASH_PROC);
		appendStringInfo(&columns, "%s%s%s", columns.len ? ", " : "", quote_identifier(NameStr(attr->attname)),
						 OidIsValid(entry->eq_opr) && (OidIsValid(entry->lt_opr) || OidIsValid(entry->hash_proc)) ? "" :
						 "::pg_catalog.text");
	}
	return psprintf("SELECT sum(\"pgstream weight\") AS weight FROM (SELECT q.*, 1 AS \"pgstream weight\" FROM %s q UNION ALL "
					"SELECT s.*, -1 FROM ONLY %s s) u "
					"GROUP BY %s HAVING sum(\"pgstream weight\") <> 0", view_then(stream), relation_name(stream->relid), columns.data);
}

/* without a key: every row of the sum is an insert or a delete */
static char *
plain_sql(const char *sum)
{
	return psprintf("SELECT CASE WHEN weight < -1 THEN %d WHEN weight < 0 THEN %d ELSE %d END AS change, "
					"image, weight, tid FROM (%s) d ORDER BY 1",
					PGS_CHANGE_DELETE_SOME, PGS_CHANGE_DELETE, PGS_CHANGE_INSERT, sum);
}

/* with a key: the n-th too many and the n-th missing row of a key make one update */
static char *
keyed_sql(const char *sum)
{
	return psprintf("WITH d AS MATERIALIZED (%s), "
					"o AS (SELECT *, row_number() OVER (PARTITION BY key) AS n FROM d WHERE weight = -1), "
					"i AS (SELECT *, row_number() OVER (PARTITION BY key) AS n FROM d WHERE weight = 1) "
					"SELECT CASE WHEN i.image IS NULL THEN %d WHEN o.image IS NULL THEN %d ELSE %d END AS change, "
					"COALESCE(i.image, o.image), 1::pg_catalog.int8 AS weight, o.tid "
					"FROM o FULL JOIN i ON o.key = i.key AND o.n = i.n "
					"UNION ALL "
					"SELECT CASE WHEN weight < 0 THEN %d ELSE %d END, image, weight, tid FROM d "
					"WHERE weight NOT IN (-1, 1) ORDER BY 1",
					sum, PGS_CHANGE_DELETE, PGS_CHANGE_INSERT, PGS_CHANGE_UPDATE,
					PGS_CHANGE_DELETE_SOME, PGS_CHANGE_INSERT);
}

static char *
changes_sql(const PgsStream *stream, const char *sum)
{
	return stream->key ? keyed_sql(sum) : plain_sql(sum);
}

/* Run one read-only query under the active snapshot, its rows going to "dest". */
void
pgs_diff_execute(const char *sql, int nargs, Oid *types, Datum *values, DestReceiver *dest)
{
	SPIExecuteOptions options = {0};
	ParamListInfo params = nargs ? makeParamList(nargs) : NULL;
	SPIPlanPtr	plan;
	int			rc;

	for (int i = 0; i < nargs; i++)
	{
		params->params[i].value = values[i];
		params->params[i].isnull = false;
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = types[i];
	}
	SPI_connect();
	/* a plan for one use may be parallel, and is made for the sizes of now */
	plan = SPI_prepare_cursor(sql, nargs, types, CURSOR_OPT_PARALLEL_OK | CURSOR_OPT_CUSTOM_PLAN);
	if (!plan)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	options.params = params;
	options.read_only = true;
	options.dest = dest;
	rc = SPI_execute_plan_extended(plan, &options);
	/* SPI_OK_SELECT is for rows that go to SPI itself */
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
	SPI_finish();
}

static Tuplestorestate *
collect(const char *sql, int nargs, Oid *types, Datum *values)
{
	Tuplestorestate *store = tuplestore_begin_heap(false, false, work_mem);
	DestReceiver *dest = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(dest, store, CurrentMemoryContext, false, NULL, NULL);
	pgs_diff_execute(sql, nargs, types, values, dest);
	dest->rDestroy(dest);
	return store;
}

/* The shape of one change of stored rows. */
TupleDesc
pgs_diff_desc(void)
{
	TupleDesc	desc = CreateTemplateTupleDesc(Natts_diff);

	TupleDescInitEntry(desc, Anum_diff_change, "change", INT4OID, -1, 0);
	TupleDescInitEntry(desc, Anum_diff_image, "image", BYTEAOID, -1, 0);
	TupleDescInitEntry(desc, Anum_diff_weight, "weight", INT8OID, -1, 0);
	TupleDescInitEntry(desc, Anum_diff_tid, "tid", TIDOID, -1, 0);
	return desc;
}

/*
 * The query for the full difference of a stream table and the rows of "output", which stands for its view: what the
 * states say, where they have just been computed.
 */
Query *
pgs_diff_query(const PgsStream *stream, Relation rel, Query *output)
{
	Query	   *renamed = copyObject(output);
	int			n = 0;

	/* the key is looked for by the stream table's names */
	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
		if (!TupleDescAttr(RelationGetDescr(rel), i)->attisdropped)
			list_nth_node(TargetEntry, renamed->targetList, n++)->resname =
				pstrdup(NameStr(TupleDescAttr(RelationGetDescr(rel), i)->attname));
	return pgs_delta_parse(changes_sql(stream, sum_sql(stream, rel, "d", NULL)), renamed, NULL);
}

/*
 * Compute the difference, of the whole or within a scope: rows (change, image, weight, tid) in the order in which they can be applied.
 */
Tuplestorestate *
pgs_diff_run(const PgsStream *stream, Relation rel, const PgsDiffScope *scope, TupleDesc *desc)
{
	char	   *sum = pgs_diff_sum_sql(stream, rel, scope);
	char	   *sql = changes_sql(stream, sum);
	Oid			type = InvalidOid;
	Datum		values = (Datum) 0;

	*desc = pgs_diff_desc();
	if (scope && scope->values)
	{
		type = get_array_type(ARR_ELEMTYPE(scope->values));
		values = PointerGetDatum(scope->values);
	}
	return collect(sql, OidIsValid(type) ? 1 : 0, &type, &values);
}

/*
 * Find where to delete "counts[i]" of the stored rows whose image is "images[i]"; appends copies of their tids.
 */
void
pgs_diff_find_duplicates(Relation rel, int n, Datum *images, Datum *counts, List **tids)
{
	Oid			types[] = {BYTEAARRAYOID, INT8ARRAYOID};
	Datum		values[] = {
		PointerGetDatum(construct_array(images, n, BYTEAOID, -1, false, TYPALIGN_INT)),
		PointerGetDatum(construct_array(counts, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE))
	};
	char	   *sql = psprintf("SELECT tid FROM (SELECT s.ctid AS tid, p.n, "
							   "row_number() OVER (PARTITION BY p.image) AS r FROM ONLY %s s "
							   "JOIN unnest($1, $2) p (image, n) "
							   "ON " PGS_INTERNAL_SCHEMA ".row_image(s.*) = p.image) d WHERE r <= n",
							   relation_name(RelationGetRelid(rel)));
	Tuplestorestate *store = collect(sql, 2, types, values);
	TupleDesc	desc = CreateTemplateTupleDesc(1);
	TupleTableSlot *slot;

	TupleDescInitEntry(desc, 1, "tid", TIDOID, -1, 0);
	slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	while (tuplestore_gettupleslot(store, true, false, slot))
	{
		ItemPointer tid = palloc(sizeof(ItemPointerData));
		bool		isnull;

		*tid = *(ItemPointer) DatumGetPointer(slot_getattr(slot, 1, &isnull));
		*tids = lappend(*tids, tid);
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(store);
}
