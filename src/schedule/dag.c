/*
 * dag.c - which stream table reads which, from PostgreSQL's own dependencies
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "query/query.h"
#include "schedule/schedule.h"
#include "utils/lsyscache.h"

/* Relations read by a stored query, looking through the views that could not be expanded. */
static void
collect_read(Oid viewid, List **result)
{
	ListCell   *lc;

	check_stack_depth();
	foreach(lc, pgs_query_sources(viewid))
	{
		Oid			relid = lfirst_oid(lc);
		char		relkind = get_rel_relkind(relid);

		if (list_member_oid(*result, relid))
			continue;
		*result = lappend_oid(*result, relid);
		if (relkind == RELKIND_VIEW || relkind == RELKIND_MATVIEW)
			collect_read(relid, result);
	}
}

List *
pgs_dag_read_relations(Oid viewid)
{
	List	   *result = NIL;

	collect_read(viewid, &result);
	return result;
}

static int
position(const PgsDag *dag, Oid relid)
{
	for (int i = 0; i < dag->n; i++)
		if (dag->streams[i]->relid == relid)
			return i;
	return -1;
}

static void
find_upstream(PgsDag *dag, int i)
{
	ListCell   *lc;

	if (!OidIsValid(dag->streams[i]->viewid))
		return;
	foreach(lc, pgs_dag_read_relations(dag->streams[i]->viewid))
	{
		int			at = position(dag, lfirst_oid(lc));

		if (at >= 0)
			dag->upstream[i] = bms_add_member(dag->upstream[i], at);
	}
}

/* Upstreams first; among those that are free to go, the oldest. */
static void
sort_order(PgsDag *dag)
{
	Bitmapset  *placed = NULL;

	for (int n = 0; n < dag->n;)
	{
		int			before = n;

		for (int i = 0; i < dag->n; i++)
			if (!bms_is_member(i, placed) && bms_is_subset(dag->upstream[i], placed))
			{
				dag->order[n++] = i;
				placed = bms_add_member(placed, i);
			}
		if (n == before)
			elog(ERROR, "stream tables read from each other in a cycle");
	}
}

/* Number each table by the lowest one that it hangs together with. */
static void
find_components(PgsDag *dag)
{
	bool		changed = true;

	for (int i = 0; i < dag->n; i++)
		dag->component[i] = i;
	while (changed)
	{
		changed = false;
		for (int i = 0; i < dag->n; i++)
		{
			int			j = -1;

			while ((j = bms_next_member(dag->upstream[i], j)) >= 0)
				if (dag->component[i] != dag->component[j])
				{
					dag->component[i] = dag->component[j] = Min(dag->component[i], dag->component[j]);
					changed = true;
				}
		}
	}
}

/* The whole DAG of the database, as of now. */
PgsDag *
pgs_dag_build(void)
{
	List	   *streams = pgs_stream_list();
	PgsDag	   *dag = palloc0(sizeof(PgsDag));
	ListCell   *lc;

	dag->streams = palloc(sizeof(PgsStream *) * Max(list_length(streams), 1));
	foreach(lc, streams)
		dag->streams[dag->n++] = lfirst(lc);
	dag->upstream = palloc0(sizeof(Bitmapset *) * Max(dag->n, 1));
	dag->component = palloc(sizeof(int) * Max(dag->n, 1));
	dag->order = palloc(sizeof(int) * Max(dag->n, 1));
	for (int i = 0; i < dag->n; i++)
		find_upstream(dag, i);
	sort_order(dag);
	find_components(dag);
	return dag;
}

/* All relids in DAG order. */
List *
pgs_dag_relids(const PgsDag *dag)
{
	List	   *result = NIL;

	for (int i = 0; i < dag->n; i++)
		result = lappend_oid(result, dag->streams[dag->order[i]]->relid);
	return result;
}

static bool
reaches(Oid viewid, Oid relid)
{
	ListCell   *lc;

	check_stack_depth();
	foreach(lc, pgs_dag_read_relations(viewid))
	{
		PgsStream  *upstream;

		if (lfirst_oid(lc) == relid)
			return true;
		upstream = pgs_stream_get(lfirst_oid(lc), true);
		if (upstream && OidIsValid(upstream->viewid) && reaches(upstream->viewid, relid))
			return true;
	}
	return false;
}

/* Refuse a new query of a stream table that reads from the table itself, at any distance. */
void
pgs_dag_refuse_cycle(Oid relid, Oid viewid)
{
	if (reaches(viewid, relid))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("stream table \"%s\" cannot read from itself", get_rel_name(relid)),
				 errdetail("Its query reads from it, directly or through other stream tables."),
				 errhint("Break the cycle: let one of them read from the base tables.")));
}
