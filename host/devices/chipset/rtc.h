/* SPDX-License-Identifier: MIT */
/* The real-time clock's other side: what the board puts into its battery-backed memory. */
#ifndef DEVICES_CHIPSET_RTC_H
#define DEVICES_CHIPSET_RTC_H

#include <stdint.h>

#include "machine/device.h"

/* rtc: an mc146818rtc.  index: 0x0e to 0x7f, but not the century (0x32). */
void rtc_set_cmos(struct device *rtc, unsigned index, uint8_t value);

#endif
