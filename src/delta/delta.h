/*
 * delta.h - the algebra: from the query of a stream table to the queries that compute its change
 *
 * Query tree to Query tree: nothing here runs, locks or writes anything.
 */
#ifndef PGS_DELTA_H
#define PGS_DELTA_H

#include "capture/capture.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"

/* how the value of an aggregate follows the changes of its group */
typedef enum PgsAggRule
{
	PGS_AGG_COUNT,				/* sum of weights */
	PGS_AGG_SUM_INT,			/* of int2, int4 */
	PGS_AGG_SUM_BIG,			/* of int8, as numeric */
	PGS_AGG_SUM_NUMERIC,
	PGS_AGG_AVG_INT,
	PGS_AGG_AVG_BIG,
	PGS_AGG_AVG_NUMERIC,
	PGS_AGG_MIN,				/* rows added only; else recompute */
	PGS_AGG_MAX,
	PGS_AGG_RECOMPUTE			/* rule B: the group is computed again */
} PgsAggRule;

/* one aggregate call of a block; numbers are of columns of the state, 0 for those that the rule doesn't need */
typedef struct PgsAggregate
{
	Aggref	   *aggref;
	PgsAggRule	rule;
	AttrNumber	value;			/* what the call returns */
	AttrNumber	count;			/* of non-null arguments, int8 */
	AttrNumber	sum;			/* of finite ones: int8 or numeric */
	AttrNumber	profile;		/* int8[]: see refresh/numeric.c */
} PgsAggregate;

typedef enum PgsBlockKind
{
	PGS_BLOCK_AGGREGATE,		/* one row of the state for each group */
	PGS_BLOCK_DISTINCT,			/* the same, and only being there counts */
	PGS_BLOCK_PARTITION			/* any number of rows for each key, computed again together */
} PgsBlockKind;

/* an operator that is not linear, with its state */
enum
{
	Anum_state_hash = 1			/* of the keys, which follow; then the number of rows and aggregates, or the other columns */
};
typedef struct PgsBlock
{
	PgsBlockKind kind;
	const char *title;			/* what it computes, for users */
	int			number;			/* from 1, inner ones first */
	Oid			state;			/* InvalidOid where there is none yet */
	bool		is_joined;		/* its state stands beside other items of FROM */
	int			nkeys;			/* 0: one group, always there */
	List	   *eqops;			/* of Oid, for each key */
	bool		open;			/* equal keys may look different, and SQL leaves open which one stands for a group */
	int64		limit;			/* of a LIMIT: how many rows the state has if there are as many; 0: not known */
	List	   *order;			/* of a LIMIT: of SortGroupClause, by their places in the list */
	List	   *order_columns;	/* of int, for each of them: column of the state */
	AttrNumber	rows;			/* column of the state: how many rows the group has; 0 for partitions */
	List	   *aggregates;		/* of PgsAggregate */
	List	   *columns;		/* of ColumnDef: the state */
	Query	   *input;			/* linear: keys, arguments, filters */
	Query	   *groups;			/* the whole state; without the hash, but for partitions */
} PgsBlock;

/* how a query is kept up to date */
typedef struct PgsIncrement
{
	List	   *blocks;			/* of PgsBlock */
	Query	   *output;			/* linear: the rows of the result, from sources and states */
	bool		clock;			/* the result changes with the time of the query, too */
	const char *obstacle;		/* why it can't be done, else NULL */
} PgsIncrement;

/* block.c */
extern PgsIncrement *pgs_delta_analyze(Query *query, int64 stream_id);
extern char *pgs_delta_state_name(int64 stream_id, int number);
extern bool pgs_delta_equal_means_same(Oid type, int32 typmod, Oid collation);
extern bool pgs_delta_computes_again(const PgsBlock *block);
extern bool pgs_delta_is_open(const PgsIncrement *inc);
extern bool pgs_delta_uses_rule(const PgsBlock *block, PgsAggRule rule);

/* describe.c */
extern List *pgs_delta_describe(const PgsIncrement *inc);
extern char *pgs_delta_deparse(Query *query);

/* join.c, union.c */
extern Query *pgs_delta_query(Query *query, List *deltas);
extern Query *pgs_delta_union_all(List *arms);

/* aggregate.c */
extern char *pgs_delta_groups_sql(const PgsBlock *block);
extern Query *pgs_delta_recompute(const PgsBlock *block, TupleDesc keys, const char *enrname, double rows, bool nulls);

/* partition.c */
extern Query *pgs_delta_touched(const PgsBlock *block, Query *delta);
extern Query *pgs_delta_partitions(const PgsBlock *block, List *keys);

/* clock.c */
extern bool pgs_delta_reads_clock(Query *query);
extern PgsDelta *pgs_delta_of_clock(TimestampTz since);
extern Query *pgs_delta_at_time(Query *query, TimestampTz time);
extern bool pgs_delta_data_only(const PgsDefinition *def);
extern const char *pgs_delta_unsettled(const PgsDefinition *def);
extern const char *const pgs_delta_clock_obstacle;

/* embed.c */
extern Query *pgs_delta_parse(const char *sql, Query *d, Query *r);
extern RangeTblEntry *pgs_delta_tuplestore(const char *name, TupleDesc desc, double rows);

#endif							/* PGS_DELTA_H */
