/* SPDX-License-Identifier: MIT */
#include "monitor/monitor.h"

#include <errno.h>

int monitor_create(
	struct machine *machine, struct chardev *chr, enum monitor_mode mode, struct error *err)
{
	return error_set(err, ENOTSUP, "the monitor comes with the next commit");
}

void monitor_destroy_all(void)
{
}

void monitor_set_names(const char *name, const char *uuid)
{
}
