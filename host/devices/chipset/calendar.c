/* SPDX-License-Identifier: MIT */
/*
 * Dates and days.  The year is counted from March, so that the leap day is its last day; a day
 * then follows from a month by one linear formula, and from a year by the rule of 400 years.
 */
#include "devices/chipset/calendar.h"

#define DAY	     86400
#define ERA_DAYS     146097 /* in 400 years */
#define EPOCH_OFFSET 719468 /* days from 0000-03-01 to 1970-01-01 */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

int64_t calendar_to_seconds(const struct calendar *cal)
{
	int64_t months = cal->year * 12 + (cal->month - 1) - 2; /* since March of year 0 */
	int64_t year = floor_div(months, 12);
	int64_t month = months - year * 12; /* 0: March */
	int64_t days = year * 365 + floor_div(year, 4) - floor_div(year, 100) +
		       floor_div(year, 400) + (153 * month + 2) / 5 + cal->day - 1 - EPOCH_OFFSET;

	return days * DAY + cal->hour * 3600ll + cal->minute * 60ll + cal->second;
}

void calendar_from_seconds(int64_t seconds, struct calendar *cal)
{
	int64_t days = floor_div(seconds, DAY);
	int64_t rest = seconds - days * DAY;
	int64_t era, in_era, year, in_year, month;

	cal->weekday = (int)((days % 7 + 11) % 7); /* 1970-01-01 was a Thursday */
	cal->hour = (int)(rest / 3600);
	cal->minute = (int)(rest / 60 % 60);
	cal->second = (int)(rest % 60);

	days += EPOCH_OFFSET;
	era = floor_div(days, ERA_DAYS);
	in_era = days - era * ERA_DAYS;
	year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
	in_year = in_era - (365 * year + year / 4 - year / 100);
	month = (5 * in_year + 2) / 153; /* 0: March */
	cal->day = (int)(in_year - (153 * month + 2) / 5 + 1);
	cal->month = (int)(month < 10 ? month + 3 : month - 9);
	cal->year = era * 400 + year + (cal->month <= 2);
}
