/* SPDX-License-Identifier: MIT */
/* The Gregorian calendar in UTC, without the host's time zone tables. */
#ifndef DEVICES_CHIPSET_CALENDAR_H
#define DEVICES_CHIPSET_CALENDAR_H

#include <stdint.h>

struct calendar {
	int64_t year;
	int month, day;		  /* from 1 */
	int hour, minute, second; /* 24 hours */
	int weekday;		  /* 0: Sunday */
};

/* Seconds since 1970-01-01.  Fields out of range carry over (month 13 is next January); the
 * weekday is not looked at. */
int64_t calendar_to_seconds(const struct calendar *cal);
void calendar_from_seconds(int64_t seconds, struct calendar *cal);

#endif
