/*
 * stable.c - stable functions that are as good as immutable here
 *
 * A stable function may give another result in the next statement, and most of them never do: they depend on settings (the time zone,
 * how dates are written), and a stream table keeps those of its creation (refresh/identity.c).  Left out are those that look at the
 * clock, or at tables.
 *
 * A text that is cast to a date or time is read by the clock only where it says 'now', 'today', 'tomorrow' or 'yesterday', which data hardly
 * ever does.  So such casts count as settled, too, and their text is passed through a function that notices these words
 * (refresh/relative.c).
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "catalog/pgs_catalog.h"
#include "module.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "query/query.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"

static const Oid settled[] = {
	/* dates and times, by TimeZone */
	F_DATE_CMP_TIMESTAMPTZ, F_DATE_EQ_TIMESTAMPTZ, F_DATE_GE_TIMESTAMPTZ, F_DATE_GT_TIMESTAMPTZ, F_DATE_LE_TIMESTAMPTZ,
	F_DATE_LT_TIMESTAMPTZ, F_DATE_NE_TIMESTAMPTZ, F_DATE_PART_TEXT_TIMESTAMPTZ, F_DATE_TIMESTAMPTZ,
	F_DATE_TRUNC_TEXT_TIMESTAMPTZ, F_DATE_TRUNC_TEXT_TIMESTAMPTZ_TEXT, F_EXTRACT_TEXT_TIMESTAMPTZ,
	F_GENERATE_SERIES_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL, F_INTERVAL_PL_TIMESTAMPTZ,
	F_IN_RANGE_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL_BOOL_BOOL, F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8,
	F_MAKE_TIMESTAMPTZ_INT4_INT4_INT4_INT4_INT4_FLOAT8_TEXT, F_OVERLAPS_TIMESTAMPTZ_INTERVAL_TIMESTAMPTZ_INTERVAL,
	F_OVERLAPS_TIMESTAMPTZ_INTERVAL_TIMESTAMPTZ_TIMESTAMPTZ, F_OVERLAPS_TIMESTAMPTZ_TIMESTAMPTZ_TIMESTAMPTZ_INTERVAL,
	F_TIMESTAMPTZ_CMP_DATE, F_TIMESTAMPTZ_CMP_TIMESTAMP, F_TIMESTAMPTZ_DATE, F_TIMESTAMPTZ_DATE_TIME, F_TIMESTAMPTZ_EQ_DATE,
	F_TIMESTAMPTZ_EQ_TIMESTAMP, F_TIMESTAMPTZ_GE_DATE, F_TIMESTAMPTZ_GE_TIMESTAMP, F_TIMESTAMPTZ_GT_DATE,
	F_TIMESTAMPTZ_GT_TIMESTAMP, F_TIMESTAMPTZ_LE_DATE, F_TIMESTAMPTZ_LE_TIMESTAMP, F_TIMESTAMPTZ_LT_DATE,
	F_TIMESTAMPTZ_LT_TIMESTAMP, F_TIMESTAMPTZ_MI_INTERVAL, F_TIMESTAMPTZ_NE_DATE, F_TIMESTAMPTZ_NE_TIMESTAMP,
	F_TIMESTAMPTZ_PL_INTERVAL, F_TIMESTAMPTZ_TIMESTAMP, F_TIMESTAMP_CMP_TIMESTAMPTZ, F_TIMESTAMP_EQ_TIMESTAMPTZ,
	F_TIMESTAMP_GE_TIMESTAMPTZ, F_TIMESTAMP_GT_TIMESTAMPTZ, F_TIMESTAMP_LE_TIMESTAMPTZ, F_TIMESTAMP_LT_TIMESTAMPTZ,
	F_TIMESTAMP_NE_TIMESTAMPTZ, F_TIMESTAMP_TIMESTAMPTZ, F_TIMETZ_TIMESTAMPTZ, F_TIME_TIMESTAMPTZ,
	/* values as text, and the other way round where no clock is asked: by DateStyle, IntervalStyle, lc_*; names of enums
	 * by DDL, which leaves a mark
	 */
	F_ANYARRAY_OUT, F_ANYTEXTCAT, F_ARRAY_OUT, F_ARRAY_TO_STRING_ANYARRAY_TEXT, F_ARRAY_TO_STRING_ANYARRAY_TEXT_TEXT,
	F_CASH_OUT, F_CONCAT, F_CONCAT_WS, F_CONVERT_FROM, F_CONVERT_TO, F_DATE_OUT, F_ENUM_IN, F_ENUM_OUT, F_FORMAT_TEXT,
	F_FORMAT_TEXT_ANY, F_INTERVAL_IN, F_INTERVAL_OUT, F_MONEY_INT4, F_MONEY_INT8, F_MONEY_NUMERIC, F_MULTIRANGE_OUT,
	F_NUMERIC_MONEY, F_QUOTE_LITERAL_ANYELEMENT, F_QUOTE_NULLABLE_ANYELEMENT, F_RANGE_OUT, F_RECORD_OUT, F_TEXTANYCAT,
	F_TIMESTAMPTZ_OUT, F_TIMESTAMP_OUT, F_TO_CHAR_FLOAT4_TEXT, F_TO_CHAR_FLOAT8_TEXT, F_TO_CHAR_INT4_TEXT,
	F_TO_CHAR_INT8_TEXT, F_TO_CHAR_INTERVAL_TEXT, F_TO_CHAR_NUMERIC_TEXT, F_TO_CHAR_TIMESTAMPTZ_TEXT,
	F_TO_CHAR_TIMESTAMP_TEXT, F_TO_DATE, F_TO_NUMBER, F_TO_TIMESTAMP_TEXT_TEXT,
	/* values as JSON */
	F_JSON_AGG, F_JSONB_AGG, F_JSON_OBJECT_AGG, F_JSONB_OBJECT_AGG, F_ARRAY_TO_JSON_ANYARRAY, F_ARRAY_TO_JSON_ANYARRAY_BOOL, F_JSONB_AGG_FINALFN, F_JSONB_AGG_TRANSFN, F_JSONB_BUILD_ARRAY_,
	F_JSONB_BUILD_ARRAY_ANY, F_JSONB_BUILD_OBJECT_, F_JSONB_BUILD_OBJECT_ANY, F_JSONB_OBJECT_AGG_FINALFN,
	F_JSONB_OBJECT_AGG_TRANSFN, F_JSON_AGG_TRANSFN, F_JSON_BUILD_ARRAY_, F_JSON_BUILD_ARRAY_ANY, F_JSON_BUILD_OBJECT_,
	F_JSON_BUILD_OBJECT_ANY, F_JSON_OBJECT_AGG_TRANSFN, F_ROW_TO_JSON_RECORD, F_ROW_TO_JSON_RECORD_BOOL, F_TO_JSON,
	F_TO_JSONB
};

/* newer servers' kin, by name, as older ones have no number for them */
static const char *const settled_names[] = {
	"json_agg_strict", "json_agg_strict_transfn", "jsonb_agg_strict", "jsonb_agg_strict_transfn",
	"json_object_agg_strict", "json_object_agg_strict_transfn", "jsonb_object_agg_strict", "jsonb_object_agg_strict_transfn",
	"json_object_agg_unique", "json_object_agg_unique_transfn", "jsonb_object_agg_unique", "jsonb_object_agg_unique_transfn",
	"json_object_agg_unique_strict", "json_object_agg_unique_strict_transfn",
	"jsonb_object_agg_unique_strict", "jsonb_object_agg_unique_strict_transfn"
};

/* Whether a function's result is settled by its arguments and the settings that stream tables keep. */
bool
pgs_query_is_settled(Oid funcid)
{
	for (int i = 0; i < lengthof(settled); i++)
		if (settled[i] == funcid)
			return true;
	if (funcid >= FirstGenbkiObjectId)
		return false;
	for (int i = 0; i < lengthof(settled_names); i++)
		if (strcmp(settled_names[i], get_func_name(funcid)) == 0)
			return true;
	return false;
}

/* ---- texts cast to dates and times ---- */

static bool
is_dated(Oid type)
{
	/* (a timetz without a date takes the zone's offset of today) */
	return type == DATEOID || type == TIMEOID || type == TIMESTAMPOID || type == TIMESTAMPTZOID;
}

static Oid
fixed_text(void)
{
	Oid			text = TEXTOID;

	return pgs_catalog_function("fixed_text", 1, &text);
}

/* Whether a node is a cast of a text that is watched. */
bool
pgs_query_is_watched_cast(const Node *node)
{
	const CoerceViaIO *cast = (const CoerceViaIO *) node;

	return IsA(node, CoerceViaIO) && is_dated(cast->resulttype) && IsA(cast->arg, FuncExpr) &&
		((const FuncExpr *) cast->arg)->funcid == fixed_text();
}

static bool
watch_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, watch_walker, context, 0);
	if (IsA(node, CoerceViaIO) && !pgs_query_is_watched_cast(node))
	{
		CoerceViaIO *cast = (CoerceViaIO *) node;
		Oid			type = exprType((Node *) cast->arg);
		Oid			collation = exprCollation((Node *) cast->arg);

		if (is_dated(cast->resulttype) && (type == TEXTOID || type == VARCHAROID))
		{
			Expr	   *text = cast->arg;

			if (type == VARCHAROID)
				text = (Expr *) makeRelabelType(text, TEXTOID, -1, collation, COERCE_IMPLICIT_CAST);
			cast->arg = (Expr *) makeFuncExpr(fixed_text(), TEXTOID, list_make1(text), collation, collation, COERCE_EXPLICIT_CALL);
		}
	}
	return expression_tree_walker(node, watch_walker, context);
}

/* Watch the texts that a query casts to dates and times, in place. */
void
pgs_query_watch_casts(Query *query)
{
	(void) query_tree_walker(query, watch_walker, NULL, 0);
}

/* ---- the clock ---- */

/* Whether a node is the time at which the transaction began, as one of the types that SQL has for it. */
bool
pgs_query_is_clock(const Node *node)
{
	if (IsA(node, FuncExpr))
		return ((const FuncExpr *) node)->funcid == F_NOW || ((const FuncExpr *) node)->funcid == F_TRANSACTION_TIMESTAMP;
	if (!IsA(node, SQLValueFunction))
		return false;
	switch (((const SQLValueFunction *) node)->op)
	{
		case SVFOP_CURRENT_DATE:
		case SVFOP_CURRENT_TIMESTAMP:
		case SVFOP_CURRENT_TIMESTAMP_N:
		case SVFOP_LOCALTIMESTAMP:
		case SVFOP_LOCALTIMESTAMP_N:
			return true;
		default:
			return false;
	}
}
