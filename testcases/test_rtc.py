# SPDX-License-Identifier: MIT
"""The MC146818 clock: time in all modes, alarm, periodic rates, flags, CMOS memory."""

KERNEL = "rtc"
MACHINES = {"pc": "pc"}
