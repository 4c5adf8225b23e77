/*
 * parse.c - the text of one SELECT, to an analysed Query
 */
#include "postgres.h"

#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "query/query.h"
#include "tcop/cmdtag.h"
#include "tcop/utility.h"

/* The text without surrounding blanks and a final semicolon: what is shown to users as their query. */
char *
pgs_query_trim(const char *text)
{
	const char *start = text;
	const char *end = text + strlen(text);

	while (isspace((unsigned char) *start))
		start++;
	while (end > start && (isspace((unsigned char) end[-1]) || end[-1] == ';'))
		end--;
	return pnstrdup(start, end - start);
}

/*
 * Error context: a position found by the parser is one in the query, not in the statement that carries the query as
 * a string, so report it the way SPI does.
 */
static void
transpose_position(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
}

static SelectStmt *
single_select(const char *text, RawStmt **raw)
{
	List	   *statements = raw_parser(text, RAW_PARSE_DEFAULT);
	Node	   *node;

	if (statements == NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query of a stream table is empty"),
				 errhint("Give one SELECT statement.")));
	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query of a stream table must be one statement, not %d", list_length(statements)),
				 errhint("Give one SELECT statement.")));
	*raw = linitial_node(RawStmt, statements);
	node = (*raw)->stmt;
	if (!IsA(node, SelectStmt))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query of a stream table must be a SELECT, not %s", CreateCommandName(node)),
				 errhint("Give one SELECT statement.")));
	return (SelectStmt *) node;
}

/* SELECT INTO may hide in the leftmost arm of a set operation */
static bool
has_into(SelectStmt *select)
{
	while (select->op != SETOP_NONE)
		select = select->larg;
	return select->intoClause != NULL;
}

/*
 * Parse and analyse one SELECT under the current search_path.  Errors carry the position within "text".
 */
Query *
pgs_query_parse(const char *text)
{
	ErrorContextCallback callback = {
		.previous = error_context_stack,
		.callback = transpose_position,
		.arg = unconstify(char *, text)
	};
	RawStmt    *raw;
	Query	   *query;

	error_context_stack = &callback;
	if (has_into(single_select(text, &raw)))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query of a stream table must not have an INTO clause"),
				 errhint("The stream table itself holds the result: leave INTO out.")));
	query = parse_analyze_fixedparams(raw, text, NULL, 0, NULL);
	error_context_stack = callback.previous;
	return query;
}
