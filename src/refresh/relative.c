/*
 * relative.c - texts that are dates and times only by the clock: 'now', 'today', 'tomorrow', 'yesterday'
 *
 * Where a query casts text to a date or time, the text passes through fixed_text() (query/stable.c), which lets it through and notices such
 * words.  A refresh that has met one computes the whole, and leaves no frontier, so that the next one does, too: what the text means
 * then is another time.  So data that holds none costs a look at each text, and data that does is no less exact.
 *
 * A text is taken for one if it holds such a word anywhere, as the parser of dates finds them among other fields
 * (DecodeDateTime, utils/adt/datetime.c).
 */
#include "postgres.h"

#include "fmgr.h"
#include "refresh/refresh_internal.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(pgs_fixed_text);

static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

static bool met = false;

static bool
is_relative(const char *text, int length)
{
	for (int at = 0; at < length; at++)
	{
		/* dates have few letters: most of this loop is this line */
		char		c = text[at] | 0x20;

		if (c != 'n' && c != 't' && c != 'y')
			continue;
		for (int i = 0; i < lengthof(words); i++)
		{
			int			n = strlen(words[i]);

			if (n <= length - at && pg_strncasecmp(text + at, words[i], n) == 0)
				return true;
		}
	}
	return false;
}

/* fixed_text(text) returns the text */
Datum
pgs_fixed_text(PG_FUNCTION_ARGS)
{
	text	   *value = PG_GETARG_TEXT_PP(0);

	met = met || is_relative(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value));
	PG_RETURN_TEXT_P(value);
}

/* Forget what was met, or set it back; returns what was so before. */
bool
pgs_relative_reset(bool value)
{
	bool		before = met;

	met = value;
	return before;
}

/* Whether a text was met, since the last reset, that means another time at the next refresh. */
bool
pgs_relative_met(void)
{
	return met;
}
