/* SPDX-License-Identifier: MIT */
/* One monitor: its character device, what waits to be sent, and the state of its protocol. */
#ifndef MONITOR_SESSION_H
#define MONITOR_SESSION_H

#include "base/list.h"
#include "monitor/json-stream.h"
#include "monitor/monitor.h"

#define HMP_LINE_MAX 1024

struct monitor {
	struct machine *machine;
	struct chardev *chr;
	struct chardev_user user;
	enum monitor_mode mode;
	struct list link;

	char *out; /* what the peer did not take yet */
	size_t out_length, out_size;

	/* QMP */
	struct json_stream stream;
	bool negotiated;

	/* HMP */
	char line[HMP_LINE_MAX];
	size_t line_length;
	uint8_t last; /* CR LF is one end of line */
};

/* Queues and sends what the peer takes.  Beyond a bound the text is dropped as a whole. */
void monitor_send(struct monitor *mon, const char *text, size_t length);

void qmp_session_begin(struct monitor *mon);
void qmp_session_end(struct monitor *mon);
void qmp_session_receive(struct monitor *mon, const uint8_t *data, size_t length);
void qmp_session_event(struct monitor *mon, json_t *event); /* borrows it */

void hmp_session_begin(struct monitor *mon);
void hmp_session_receive(struct monitor *mon, const uint8_t *data, size_t length);

#endif
