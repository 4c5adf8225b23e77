/*
 * sublink.h - subqueries in expressions, while a level's become items of its FROM
 */
#ifndef PGS_SUBLINK_H
#define PGS_SUBLINK_H

#include "delta/delta_internal.h"

typedef struct
{
	PgsCut	   *cut;
	Query	   *query;			/* the level */
	Query	   *domain;			/* its FROM, and its WHERE as far as that holds no subquery */
	List	   *inner;			/* of RangeTblRef: items joined to it */
	List	   *quals;			/* and the conditions */
	List	   *outer;			/* of JoinExpr, without their left side: items joined by LEFT JOIN, one after the other */
	List	   *done;			/* of SubLink: each is computed once, however often it is written */
	List	   *values;			/* of Node: what stands for them */
} PgsSublinks;

/* sublink.c */
extern Node *pgs_sublink_refuse(PgsSublinks *s, const char *why);
extern void pgs_sublink_join_inner(PgsSublinks *s, Query *sub, const List *matches);
extern JoinExpr *pgs_sublink_join_left(PgsSublinks *s, Query *sub, const List *matches);
extern Var *pgs_sublink_column(PgsSublinks *s, JoinExpr *join, int resno);

/* quantified.c */
/* The subquery's rows for which a condition holds: "what" of the test, or of its first column. */
typedef enum
{
	ROWS_ALL, ROWS_TRUE, ROWS_FALSE, ROWS_UNKNOWN, ROWS_NULL
} PgsRows;
extern Query *pgs_sublink_rows(SubLink *sublink, PgsRows which);
extern Query *pgs_existence(PgsSublinks *s, Query *sub, List **matches);
extern Node *pgs_sublink_test(Node *test, List *columns);
extern Node *pgs_exists_value(PgsSublinks *s, Query *sub);
extern Node *pgs_quantified_value(PgsSublinks *s, SubLink *sublink);

/* scalar.c */
extern Node *pgs_scalar_value(PgsSublinks *s, SubLink *sublink);
extern Node *pgs_row_value(PgsSublinks *s, SubLink *sublink);

#endif							/* PGS_SUBLINK_H */
