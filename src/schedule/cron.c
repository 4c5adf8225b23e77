/*
 * cron.c - five fields (minute hour day month weekday), six (second first), or an alias
 *
 * As crontab(5) has it: lists, ranges, steps, names, 0 and 7 for Sunday; where both day fields are restricted a day
 * matches if either does.  Times are local to a time zone: a local time that daylight saving skips runs when the clock
 * has jumped, one that it repeats runs once.
 */
#include "postgres.h"

#include "schedule/schedule.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

typedef struct
{
	const char *name;
	int			min;
	int			max;
	const char *const *names;	/* three letters each, from "min"; NULL: numbers only */
} Field;

static const char *const month_names[] = {
	"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL
};
static const char *const weekday_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

static const Field fields[] = {
	{"second", 0, 59, NULL}, {"minute", 0, 59, NULL}, {"hour", 0, 23, NULL},
	{"day", 1, 31, NULL}, {"month", 1, 12, month_names}, {"weekday", 0, 7, weekday_names}
};

static const struct
{
	const char *name;
	const char *text;
}			aliases[] = {
	{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}
};

/* how far ahead a matching day is looked for: 29 February can be 8 years off */
#define MAX_YEARS 9

static bool
scan_value(const char **p, const Field *field, int *value)
{
	if (isdigit((unsigned char) **p))
	{
		for (*value = 0; isdigit((unsigned char) **p); (*p)++)
			if ((*value = *value * 10 + (**p - '0')) > field->max)
				return false;
		return *value >= field->min;
	}
	for (int i = 0; field->names && field->names[i]; i++)
		if (pg_strncasecmp(*p, field->names[i], 3) == 0)
		{
			*p += 3;
			*value = field->min + i;
			return true;
		}
	return false;
}

/* One item of a list: "*", "a", "a-b", each with "/step". */
static bool
scan_item(const char **p, const Field *field, uint64 *bits)
{
	int			from = field->min;
	int			to = field->max;
	int			step = 1;
	bool		single = false;

	if (**p == '*')
		(*p)++;
	else
	{
		if (!scan_value(p, field, &from))
			return false;
		to = from;
		single = true;
		if (**p == '-')
		{
			(*p)++;
			if (!scan_value(p, field, &to) || to < from)
				return false;
			single = false;
		}
	}
	if (**p == '/')
	{
		step = 0;
		for ((*p)++; isdigit((unsigned char) **p) && step < 1000; (*p)++)
			step = step * 10 + (**p - '0');
		if (step == 0)
			return false;
		if (single)
			to = field->max;
	}
	for (int v = from; v <= to; v += step)
		*bits |= UINT64CONST(1) << v;
	return true;
}

static bool
scan_field(const char *text, const Field *field, uint64 *bits)
{
	*bits = 0;
	for (;;)
	{
		if (!scan_item(&text, field, bits))
			return false;
		if (*text != ',')
			return *text == '\0';
		text++;
	}
}

static const char *
resolve_alias(const char *text)
{
	for (int i = 0; i < lengthof(aliases); i++)
		if (pg_strcasecmp(text, aliases[i].name) == 0)
			return aliases[i].text;
	return text;
}

/*
 * Parse a cron expression.  Returns NULL, or what is wrong with it.
 */
const char *
pgs_cron_parse(const char *text, PgsCron *cron)
{
	char	   *copy = pstrdup(resolve_alias(text));
	char	   *words[lengthof(fields) + 1];
	uint64		bits[lengthof(fields)] = {1};	/* second 0, if only five are given */
	int			n = 0;
	int			first;
	char	   *save = NULL;

	for (char *word = strtok_r(copy, " \t\r\n", &save); word; word = strtok_r(NULL, " \t\r\n", &save))
	{
		if (n == lengthof(words))
			break;
		words[n++] = word;
	}
	if (n != lengthof(fields) && n != lengthof(fields) - 1)
		return "a cron expression has 5 fields (minute hour day month weekday), or 6 with the second first";
	first = lengthof(fields) - n;
	for (int i = first; i < lengthof(fields); i++)
		if (!scan_field(words[i - first], &fields[i], &bits[i]))
			return psprintf("\"%s\" is not a valid %s", words[i - first], fields[i].name);
	*cron = (PgsCron) {
		.second = bits[0], .minute = bits[1], .hour = bits[2], .day = bits[3], .month = bits[4],
		.weekday = (bits[5] | bits[5] >> 7) & 0x7f,
		.any_day = words[3 - first][0] == '*', .any_weekday = words[5 - first][0] == '*'
	};
	if (TIMESTAMP_NOT_FINITE(pgs_cron_next(cron, 0, pg_tzset("GMT"))))
		return "no day of the calendar matches";
	return NULL;
}

static bool
day_matches(const PgsCron *cron, int julian, const struct pg_tm *tm)
{
	bool		day = cron->day >> tm->tm_mday & 1;
	bool		weekday = cron->weekday >> j2day(julian) & 1;

	if (!(cron->month >> tm->tm_mon & 1))
		return false;
	if (cron->any_day || cron->any_weekday)
		return day && weekday;
	return day || weekday;
}

/* The next set bit at or after "from", or -1. */
static int
next_bit(uint64 bits, int from)
{
	for (int i = from; i < 64; i++)
		if (bits >> i & 1)
			return i;
	return -1;
}

/* The first matching time of a day at or after the time in tm; false if there is none. */
static bool
next_time_of_day(const PgsCron *cron, struct pg_tm *tm)
{
	int			hour = next_bit(cron->hour, tm->tm_hour);

	if (hour != tm->tm_hour)
		tm->tm_min = tm->tm_sec = 0;
	if (hour >= 0)
	{
		int			minute = next_bit(cron->minute, tm->tm_min);
		int			second;

		if (minute != tm->tm_min)
			tm->tm_sec = 0;
		second = minute >= 0 ? next_bit(cron->second, tm->tm_sec) : -1;
		if (minute >= 0 && second < 0)
		{
			minute = next_bit(cron->minute, minute + 1);
			second = next_bit(cron->second, 0);
		}
		if (minute < 0)
		{
			hour = next_bit(cron->hour, hour + 1);
			minute = next_bit(cron->minute, 0);
			second = next_bit(cron->second, 0);
		}
		tm->tm_min = minute;
		tm->tm_sec = second;
	}
	tm->tm_hour = hour;
	return hour >= 0;
}

/*
 * The first time after "after" that matches, in the local time of "tz"; DT_NOEND if there is none.
 */
TimestampTz
pgs_cron_next(const PgsCron *cron, TimestampTz after, pg_tz *tz)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;
	int			julian;
	int			last;

	if (timestamp2tm(after, &offset, &tm, &fsec, NULL, tz) != 0)
		return DT_NOEND;
	julian = date2j(tm.tm_year, tm.tm_mon, tm.tm_mday);
	last = julian + MAX_YEARS * 366;
	tm.tm_sec++;				/* 60 matches nothing, so it carries over by itself */
	while (julian < last)
	{
		TimestampTz result;

		j2date(julian, &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
		if (day_matches(cron, julian, &tm) && next_time_of_day(cron, &tm))
		{
			offset = DetermineTimeZoneOffset(&tm, tz);
			if (tm2timestamp(&tm, 0, &offset, &result) != 0)
				return DT_NOEND;
			if (result > after)
				return result;
			tm.tm_sec++;		/* the second pass of a repeated hour */
			continue;
		}
		julian++;
		tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
	}
	return DT_NOEND;
}
