/* SPDX-License-Identifier: MIT */
/*
 * The control port's client: COM2, polled. The host side is a process, so waiting is long where a
 * host has once answered and short for the first word.
 */
#include "runtime/ctl.h"
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/print.h"
#include "runtime/time.h"

#define COM2	  0x2f8
#define LSR_DR	  0x01
#define LSR_THRE  0x20
#define HELLO_US  3000000
#define ANSWER_US 10000000

static unsigned sequence;
static char line[512];
static const char *reason = "";

static void uart_set_up(void)
{
	outb(COM2 + 1, 0);
	outb(COM2 + 3, 0x80);
	outb(COM2 + 0, 1);
	outb(COM2 + 1, 0);
	outb(COM2 + 3, 3);
	outb(COM2 + 2, 7);
	outb(COM2 + 4, 3);
}

/* A line without its end; false when none comes in time. */
static bool receive(uint64_t us)
{
	struct wait wait = wait_begin(us);
	unsigned n = 0;

	do {
		char c;

		if (!(inb(COM2 + 5) & LSR_DR)) {
			cpu_relax();
			continue;
		}
		c = inb(COM2);
		if (c == '\n') {
			line[n] = 0;
			return true;
		}
		if (n < sizeof(line) - 1 && c != '\r')
			line[n++] = c;
	} while (wait_goes_on(&wait));
	return false;
}

static void send(const char *verb, const char *args)
{
	char text[256];
	int length = format(
		text, sizeof(text), "REQ %u %s%s%s\n", ++sequence, verb, *args ? " " : "", args);

	for (int i = 0; i < length && i < (int)sizeof(text) - 1; i++) {
		if (!WAIT_UNTIL(inb(COM2 + 5) & LSR_THRE, SOON_US))
			break;
		outb(COM2, text[i]);
	}
}

static const char *answer(uint64_t us)
{
	reason = "no answer";
	while (receive(us)) {
		bool ok = strncmp(line, "OK ", 3) == 0;
		const char *rest;

		if (!ok && strncmp(line, "NO ", 3) != 0)
			continue;
		if (parse_number(line + 3, &rest) !=
			sequence) /* late answer to an earlier request */
			continue;
		rest += *rest == ' ';
		reason = ok ? "" : rest;
		return ok ? rest : NULL;
	}
	return NULL;
}

static const char *exchange(uint64_t us, const char *verb, const char *args)
{
	send(verb, args);
	return answer(us);
}

bool ctl_present(void)
{
	static int known;

	if (known == 0) {
		known = -1;
		if (cmdline_number("ctl", 1) == 0)
			return false;
		outb(COM2 + 7, 0xa5); /* the scratch register: is there a UART at all? */
		if (inb(COM2 + 7) != 0xa5)
			return false;
		uart_set_up();
		if (exchange(HELLO_US, "hello", "assay"))
			known = 1;
	}
	return known > 0;
}

const char *ctl_request(const char *verb, const char *f, ...)
{
	char args[200];
	va_list list;

	if (!ctl_present()) {
		reason = "no control port";
		return NULL;
	}
	va_start(list, f);
	format_va(args, sizeof(args), f, list);
	va_end(list);
	return exchange(ANSWER_US, verb, args);
}

const char *ctl_reason(void)
{
	return reason;
}

void ctl_save_send(void)
{
	send("save", "");
}

bool ctl_save_wait(void)
{
	return answer(ANSWER_US) != NULL;
}

bool ctl_save(void)
{
	if (!ctl_present()) {
		reason = "no control port";
		return false;
	}
	ctl_save_send();
	return ctl_save_wait();
}
