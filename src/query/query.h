/*
 * query.h - from the text of a query to a definition that can be stored
 *
 * text -> parse -> expand views -> check -> key -> normalised text and Query.  Nothing here writes, except
 * pgs_query_create_view.
 */
#ifndef PGS_QUERY_H
#define PGS_QUERY_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

/* one finding about a query: what check_query shows, and what creation refuses */
typedef struct PgsReason
{
	const char *block;			/* which part of the query */
	const char *rule;			/* how it is kept up to date: "A", "B", "full"; or "refused" */
	const char *reason;
	const char *hint;			/* NULL: none */
	int			sqlerrcode;		/* 0: the query is accepted all the same */
} PgsReason;

typedef struct PgsDefinition
{
	char	   *user_query;		/* as given, without surrounding blanks and semicolon */
	Query	   *query;			/* analysed, upstream views expanded */
	char	   *sql;			/* deparsed with every name qualified */
	List	   *key;			/* of int: output columns that identify a row, or NIL */
	List	   *reasons;		/* of PgsReason */
	bool		data_only;		/* the result depends on the rows of the sources alone, and on the clock */
	bool		clock;			/* on the clock, too: now() and its kin */
	const char *unsettled;		/* names of other stable functions; NULL: none */
} PgsDefinition;

/* rows of the result with column resno among the values of the source's column attno */
typedef struct PgsRestriction
{
	int			resno;
	int			attno;
} PgsRestriction;

/* parse.c */
extern char *pgs_query_trim(const char *text);
extern Query *pgs_query_parse(const char *text);

/* expand.c */
extern void pgs_query_expand_views(Query *query, Oid owner);

/* check.c */
extern void pgs_query_check(PgsDefinition *def);
extern void pgs_query_refuse(const List *reasons);

/* stable.c */
extern bool pgs_query_is_settled(Oid funcid);
extern bool pgs_query_is_watched_cast(const Node *node);
extern void pgs_query_watch_casts(Query *query);
extern bool pgs_query_is_clock(const Node *node);

/* key.c */
extern List *pgs_query_key(Query *query);

/* restrict.c */
extern List *pgs_query_relations(Query *query);
extern List *pgs_query_restrictions(Query *query, Oid relid);
extern char *pgs_query_describe_changes(Query *query, Oid relid);

/* columns.c */
extern Bitmapset *pgs_query_columns_used(Query *query, Oid relid);
extern void pgs_query_prune(Query *query);
extern bool pgs_query_is_union_all(const Query *query);

/* define.c */
extern PgsDefinition *pgs_query_define(const char *text, Oid owner);
extern char *pgs_query_deparse(Query *query);
extern char *pgs_query_view_name(int64 id);
extern Oid	pgs_query_create_view(int64 id, const char *sql, Oid owner);
extern char *pgs_query_view_sql(Oid viewid);
extern Query *pgs_query_of_view(Oid viewid);
extern List *pgs_query_sources(Oid viewid);
extern bool pgs_query_uses_code(Oid viewid, const List *sources);

#endif							/* PGS_QUERY_H */
