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
extern PgsBlock *pgs_cut_new_block(PgsBlockKind kind, const char *title);
extern void pgs_cut_add_column(PgsBlock *block, const char *name, Oid type, int32 typmod, Oid collation);
extern bool pgs_cut_add_key(PgsCut *cut, PgsBlock *block, Expr *expr, Oid eqop);
extern PgsBlock *pgs_cut_finish_block(PgsCut *cut, PgsBlock *block);
extern Var *pgs_state_var(const PgsBlock *block, int varno, AttrNumber attno);
extern Query *pgs_cut_state_query(PgsBlock *block, List *targets, Node *having);

/* aggregate.c, distinct.c, partition.c, union.c, cte.c */
extern Query *pgs_cut_aggregate(PgsCut *cut, Query *query);
extern SortGroupClause *pgs_group_clause(Expr *expr, Index ref);
extern Aggref *pgs_make_aggref(Oid fnoid, List *args, Expr *filter);
extern Query *pgs_cut_distinct(PgsCut *cut, Query *query);
extern Query *pgs_cut_partition(PgsCut *cut, Query *query);
extern Query *pgs_cut_union(PgsCut *cut, Query *query);
extern bool pgs_cut_inline_ctes(Query *query);

/* peel.c, grouping.c */
extern Query *pgs_peel_limit(Query *query);
extern Query *pgs_peel_distinct(Query *query);
extern Query *pgs_peel_aggregates(Query *query);
extern bool pgs_has_work_after_aggregates(Query *query);
extern Query *pgs_grouping_sets_as_union(Query *query);

/* correlate.c: a condition between a subquery made independent and the level around it */
typedef struct PgsMatch
{
	OpExpr	   *op;				/* with the inner expression as it was, and the outer one as the subquery sees it */
	int			inner;			/* which argument is the inner one: 0, 1 */
	int			resno;			/* the column of the subquery that holds it */
	bool		null_safe;		/* NULL is equal to NULL */
} PgsMatch;
extern bool pgs_is_equality_of(Oid opno, Oid eqop);
extern bool pgs_limit_value(Node *limit, int64 *value);
extern bool pgs_is_correlated(Query *sub);
extern List *pgs_outer_columns(Query *sub);
extern Query *pgs_decorrelate_arm(Query *arm, List *vars, Query *domain, List **matches);
extern Bitmapset *pgs_nullable_items(Query *query);
extern bool pgs_is_never_null(Query *query, Node *expr);
extern Query *pgs_domain(Query *query, List *nodes, List *quals);
extern Query *pgs_decorrelate(Query *sub, Query *domain, bool empty_known, List **matches);
extern List *pgs_match_conditions(const List *matches, int rtindex);

/* correlate_set.c */
extern List *pgs_decorrelate_arms(Query *query, Query *domain, List **matches);

/* wholerow.c */
extern void pgs_spell_whole_rows(Query *query);

/* lateral.c */
extern void pgs_set_subquery(Query *query, int rtindex, Query *sub);
extern bool pgs_cut_laterals(PgsCut *cut, Query *query);

/* sublink.c, scalar.c */
extern bool pgs_cut_sublinks(PgsCut *cut, Query *query);
extern Query *pgs_split_aggregates(Query *sub, List **aggrefs);
extern Node *pgs_aggregates_outside(Node *expr, List *aggrefs, List *values);
extern List *pgs_values_or_empty(List *aggrefs, List *vars, bool *ok);
extern bool pgs_has_sublink_after_aggregates(Query *query);

/* outer.c */
extern bool pgs_pack_node(Query *query, Node **place);
extern void pgs_gather_items(Node *node, Bitmapset **items, Bitmapset **joins);
extern void pgs_remove_item(Query *query, int rtindex);
extern void pgs_keep_items(Query *query, const Bitmapset *items);
extern JoinExpr *pgs_make_left_join(Query *query);

/* on.c */
extern bool pgs_cut_join_conditions(Query *query);
extern void pgs_forget_join_aliases(Query *query);
extern void pgs_flatten_from(Query *query);
extern void pgs_hoist_joins(Query *query, bool around_outer);
extern bool pgs_cut_split_outer(Query *query);
extern bool pgs_is_outer_level(Query *query);
extern List *pgs_delta_outer(Query *query, List *deltas);
extern Node *pgs_without_nulling(Node *node);
extern Expr *pgs_old_left(Query *result, Query *query, int left, bool gone, List *deltas);

/* padding.c */
extern Query *pgs_delta_padding(Query *query, int left, int right, bool gone, List *deltas);

/* full.c, intersect.c */
extern bool pgs_is_full_level(Query *query);
extern Query *pgs_full_as_union(Query *query);
extern Query *pgs_intersect_as_counts(SetOperation op, bool all, Query *left, Query *right);

/* shared.c */
extern void pgs_begin_sharing(void);
extern List *pgs_share_deltas(Query *query, List *deltas, List **ctes);
extern Query *pgs_shared_delta(Query *subquery, List *deltas);
extern Query *pgs_with_shared(Query *delta, List *ctes);

/* join.c */
extern Query *pgs_level_delta(Query *query, List *deltas);
extern bool pgs_item_changed(RangeTblEntry *rte, List *deltas);
extern Query *pgs_item_delta(RangeTblEntry *rte, Query *query, List *deltas);
extern Query *pgs_item_old(RangeTblEntry *rte, Query *query, List *deltas);
extern Expr *pgs_replace_item(Query *query, int rtindex, Query *weighted);
extern Expr *pgs_product(Expr *a, Expr *b);

/* clock.c */
extern bool pgs_cut_misuses_clock(Query *query);
extern bool pgs_level_clock_changed(Query *query, List *deltas);
extern List *pgs_level_clock_delta(Query *query, List *deltas);
extern Query *pgs_level_at_last_time(Query *query, List *deltas);

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
extern Expr *pgs_int8_const(int64 value);
extern void pgs_bare_level(Query *query);
extern bool pgs_is_plain(Query *query);
extern Expr *pgs_operation(Oid opno, Expr *a, Expr *b);
extern Expr *pgs_not_distinct(Oid eqop, Expr *a, Expr *b);
extern Expr *pgs_null_test(Expr *arg, NullTestType type);
extern Node *pgs_all_of(List *conditions);
extern void pgs_make_distinct(Query *query);
extern void pgs_add_weight(Query *query, Expr *weight);

#endif							/* PGS_DELTA_INTERNAL_H */
