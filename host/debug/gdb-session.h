/* SPDX-License-Identifier: MIT */
/* What the files of the gdb stub share.  Private to host/debug. */
#ifndef DEBUG_GDB_SESSION_H
#define DEBUG_GDB_SESSION_H

#include "cpu/engine.h"
#include "debug/gdb-registers.h"
#include "debug/gdb.h"

#define PACKET_MAX 4096
#define INPUT_MAX  4096

enum phase { BETWEEN, IN_DATA, IN_SUM };

struct gdb {
	struct machine *machine;
	struct chardev *chr;
	struct chardev_user user;
	struct machine_observer observer;
	char *(*command)(struct machine *machine, const char *line);

	bool connected;
	bool resumed; /* gdb waits for the machine to stop */
	bool no_ack, knows_swbreak, knows_hwbreak;
	unsigned cpu;	  /* of register and memory packets */
	unsigned resumes; /* the thread of s and c; 0: any */
	struct cpu_debug debug;
	char types[CPU_DEBUG_POINTS]; /* of debug.points: gdb's digit */

	uint8_t input[INPUT_MAX];
	size_t input_length;
	enum phase phase;
	char packet[PACKET_MAX + 1];
	size_t length;
	bool too_long;
	char sum[3];
	unsigned sum_length;

	char reply[PACKET_MAX + 1];
	char *output; /* what the peer did not take yet, from `sent` on */
	size_t output_length, output_size, sent;
	char *last; /* the last packet, for a peer that did not get it */
	size_t last_length;
};

/* --- gdb-packet.c --- */
void gdb_flush(struct gdb *g);
/* A peer that does not read loses what is more than a bound. */
void gdb_send_bytes(struct gdb *g, const char *data, size_t length);
void gdb_send(struct gdb *g, const char *text); /* as a packet */
void gdb_error(struct gdb *g, int number);
void gdb_to_hex(char *to, const uint8_t *bytes, size_t count); /* and a zero byte */
/* As many bytes as there are pairs of digits, `max` at most. */
size_t gdb_from_hex(uint8_t *to, const char *text, size_t max);
int gdb_digit(char c); /* -1: it is none */
/* These move *text behind what they take. */
bool gdb_take_number(const char **text, uint64_t *value); /* hexadecimal */
bool gdb_take_char(const char **text, char c);
bool gdb_take_thread(const char **text, uint64_t *thread);		   /* 0: any, or all */
bool gdb_take_span(const char **text, uint64_t *address, uint64_t *count); /* "A,N" */

/* --- gdb-access.c: registers and memory of g->cpu; packets --- */
int gdb_context(struct gdb *g, struct cpu_context *context); /* 0 or -errno */
void gdb_read_registers(struct gdb *g, const char *args);
void gdb_write_registers(struct gdb *g, const char *args);
void gdb_read_register(struct gdb *g, const char *args);
void gdb_write_register(struct gdb *g, const char *args);
void gdb_read_memory(struct gdb *g, const char *args);
void gdb_write_memory(struct gdb *g, const char *args);
void gdb_write_binary(struct gdb *g, const char *args);

/* --- gdb-run.c: what runs, and why it has stopped --- */
unsigned gdb_cpus(const struct gdb *g);
void gdb_halt(struct gdb *g);	   /* the machine, if it runs */
int gdb_ask_engine(struct gdb *g); /* to keep to g->debug; 0 or -errno */
bool gdb_may_start(const struct machine *machine);
/* The machine's observer: opaque is the struct gdb. */
void gdb_heard(void *opaque, const char *name, enum shutdown_cause cause);
/* Packets. */
void gdb_say_stop(struct gdb *g, const char *args);
void gdb_go_on(struct gdb *g, const char *args);
void gdb_step(struct gdb *g, const char *args);
void gdb_v_cont(struct gdb *g, const char *args);
void gdb_v_cont_actions(struct gdb *g, const char *args);
void gdb_step_back(struct gdb *g, const char *args);
void gdb_continue_back(struct gdb *g, const char *args);
void gdb_detach(struct gdb *g, const char *args);
void gdb_end_machine(struct gdb *g, const char *args);

/* --- gdb-breakpoints.c --- */
void gdb_forget_points(struct gdb *g); /* all of them, and which vCPUs step or stand */
/* Packets. */
void gdb_insert_point(struct gdb *g, const char *args);
void gdb_remove_point(struct gdb *g, const char *args);

/* --- gdb-query.c: packets --- */
void gdb_supported(struct gdb *g, const char *args);
void gdb_no_ack(struct gdb *g, const char *args);
void gdb_is_attached(struct gdb *g, const char *args);
void gdb_send_description(struct gdb *g, const char *args);
void gdb_choose_thread(struct gdb *g, const char *args);
void gdb_thread_alive(struct gdb *g, const char *args);
void gdb_list_threads(struct gdb *g, const char *args);
void gdb_end_threads(struct gdb *g, const char *args);
void gdb_current_thread(struct gdb *g, const char *args);
void gdb_describe_thread(struct gdb *g, const char *args);
void gdb_run_command(struct gdb *g, const char *args);

#endif
