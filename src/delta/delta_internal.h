/*
 * delta_internal.h - what the files of this folder share
 */
#ifndef PGS_DELTA_INTERNAL_H
#define PGS_DELTA_INTERNAL_H

#include "delta/delta.h"

/* block.c: what is known while a query is cut */
typedef struct PgsCut
{
	int64		stream_id;
	List	   *blocks;
	const char *obstacle;
} PgsCut;
extern Query *pgs_cut_query(PgsCut *cut, Query *query);
extern Query *pgs_cut_refuse(PgsCut *cut, const char *obstacle);
extern PgsBlock *pgs_cut_new_block(PgsCut *cut);
extern void pgs_cut_add_column(PgsBlock *block, const char *name, Oid type, int32 typmod, Oid collation);
extern bool pgs_cut_add_key(PgsCut *cut, PgsBlock *block, Expr *expr, Oid eqop);
extern void pgs_cut_finish_block(PgsCut *cut, PgsBlock *block);
extern Query *pgs_cut_state_query(PgsBlock *block, List *targets, Node *having);

/* aggregate.c, distinct.c, union.c, cte.c */
extern Query *pgs_cut_aggregate(PgsCut *cut, Query *query);
extern Aggref *pgs_make_aggref(Oid fnoid, List *args, Expr *filter);
extern Query *pgs_cut_distinct(PgsCut *cut, Query *query);
extern Query *pgs_cut_union(PgsCut *cut, Query *query);
extern bool pgs_cut_inline_ctes(Query *query);

/* outer.c */
extern void pgs_forget_join_aliases(Query *query);
extern void pgs_hoist_joins(Query *query, bool around_outer);
extern bool pgs_cut_split_outer(Query *query);
extern bool pgs_is_outer_level(Query *query);
extern List *pgs_delta_outer(Query *query, List *deltas);

/* join.c */
extern bool pgs_item_changed(RangeTblEntry *rte, List *deltas);
extern Query *pgs_item_delta(RangeTblEntry *rte, Query *query, List *deltas);
extern Query *pgs_item_old(RangeTblEntry *rte, Query *query, List *deltas);
extern Expr *pgs_replace_item(Query *query, int rtindex, Query *weighted);
extern Expr *pgs_product(Expr *a, Expr *b);

/* leaf.c */
extern PgsDelta *pgs_leaf_find(List *deltas, Oid relid);
extern Query *pgs_leaf_delta(const RangeTblEntry *rte, const PgsDelta *delta, bool negate);
extern Query *pgs_leaf_new(const RangeTblEntry *rte, Query *parent, const PgsDelta *delta);

/* embed.c */
extern RangeTblEntry *pgs_subquery_item(Query *subquery, const char *alias);
extern Query *pgs_select_from(RangeTblEntry *item);
extern TargetEntry *pgs_target(Expr *expr, int resno, const char *name);
extern List *pgs_vars_of(const List *targets);
extern Expr *pgs_negated(Expr *weight);

#endif							/* PGS_DELTA_INTERNAL_H */
