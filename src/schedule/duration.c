/*
 * duration.c - "500ms", "30s", "1h30m", "1d"
 */
#include "postgres.h"

#include "common/int.h"
#include "datatype/timestamp.h"
#include "schedule/schedule.h"

static const struct
{
	const char *name;
	int64		usecs;
}			units[] = {
	{"ms", 1000}, {"s", USECS_PER_SEC}, {"m", USECS_PER_MINUTE}, {"h", USECS_PER_HOUR},
	{"d", USECS_PER_DAY}, {"w", 7 * USECS_PER_DAY}
};

/* longer ones are typing errors, and far from any overflow of a timestamp */
#define MAX_DURATION (1000 * USECS_PER_DAY * 365)

/* The unit at "*p", which is moved behind it; 0 if there is none. */
static int64
scan_unit(const char **p)
{
	int			len = 0;

	while (isalpha((unsigned char) (*p)[len]))
		len++;
	for (int i = 0; i < lengthof(units); i++)
		if (len == strlen(units[i].name) && pg_strncasecmp(*p, units[i].name, len) == 0)
		{
			*p += len;
			return units[i].usecs;
		}
	return 0;
}

/*
 * Parse a duration: whole numbers, each with a unit (ms, s, m, h, d, w), in any order, blanks allowed.
 * Returns false if it isn't one, or not a positive one.
 */
bool
pgs_duration_parse(const char *text, int64 *usecs)
{
	const char *p = text;
	int64		total = 0;

	for (;;)
	{
		int64		value = 0;
		int64		unit;

		while (isspace((unsigned char) *p))
			p++;
		if (*p == '\0')
			break;
		if (!isdigit((unsigned char) *p))
			return false;
		for (; isdigit((unsigned char) *p); p++)
			if (pg_mul_s64_overflow(value, 10, &value) || pg_add_s64_overflow(value, *p - '0', &value))
				return false;
		unit = scan_unit(&p);
		if (unit == 0 || pg_mul_s64_overflow(value, unit, &value) ||
			pg_add_s64_overflow(total, value, &total) || total > MAX_DURATION)
			return false;
	}
	*usecs = total;
	return total > 0;
}
