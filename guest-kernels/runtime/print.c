/* SPDX-License-Identifier: MIT */
/*
 * The console and print(). COM1 is a 16550A (or less: then one byte at a time). One look at LSR
 * serves sixteen bytes, because on a virtual machine each access to a port is an exit.
 */
#include "runtime/print.h"
#include "runtime/io.h"
#include "runtime/memory.h"

#define COM1	 0x3f8
#define FIFO	 16
#define LSR_THRE 0x20

static size_t console_burst = 1;

void console_init(void)
{
	outb(COM1 + 1, 0);    /* IER: no interrupts */
	outb(COM1 + 3, 0x80); /* LCR: DLAB */
	outb(COM1 + 0, 1);    /* 115200 baud */
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3); /* 8N1 */
	outb(COM1 + 2, 7); /* FCR: FIFOs on and empty */
	outb(COM1 + 4, 3); /* MCR: DTR, RTS */
	console_burst = (inb(COM1 + 2) & 0xc0) == 0xc0 ? FIFO : 1;
}

/* Bounded: a console that never takes a byte must not hang what would report it. */
void console_flush(void)
{
	for (unsigned i = 0; i < 1000000 && !(inb(COM1 + 5) & LSR_THRE); i++)
		cpu_relax();
}

void console_write(const char *data, size_t size)
{
	while (size) {
		size_t n = size < console_burst ? size : console_burst;

		console_flush();
		outsb(COM1, data, n);
		data += n;
		size -= n;
	}
}

struct sink {
	char *at, *end;
	int length;
};

static void put(struct sink *sink, char c)
{
	if (sink->at < sink->end)
		*sink->at++ = c;
	sink->length++;
}

static void put_padded(struct sink *sink, const char *s, int length, int width, bool left, char pad)
{
	int fill = width > length ? width - length : 0;

	for (; !left && fill > 0; fill--)
		put(sink, pad);
	while (length--)
		put(sink, *s++);
	for (; fill > 0; fill--)
		put(sink, ' ');
}

static void put_number(struct sink *sink, uint64_t value, unsigned base, bool negative, int width,
	bool left, char pad)
{
	char digits[24];
	char *at = digits + sizeof(digits);

	do {
		*--at = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	if (negative && pad == '0') {
		put(sink, '-');
		width--;
	} else if (negative) {
		*--at = '-';
	}
	put_padded(sink, at, digits + sizeof(digits) - at, width, left, pad);
}

static void put_string(struct sink *sink, const char *s, int width, int precision, bool left)
{
	int length = 0;

	if (!s)
		s = "(null)";
	while (s[length] && (precision < 0 || length < precision))
		length++;
	put_padded(sink, s, length, width, left, ' ');
}

int format_va(char *to, size_t size, const char *f, va_list args)
{
	struct sink sink = {to, size ? to + size - 1 : to, 0};

	for (; *f; f++) {
		int width = 0, precision = -1, longs = 0;
		bool left = false;
		char pad = ' ';

		if (*f != '%') {
			put(&sink, *f);
			continue;
		}
		for (f++; *f == '-' || *f == '0'; f++) {
			left |= *f == '-';
			pad = *f == '0' ? '0' : pad;
		}
		for (; *f >= '0' && *f <= '9'; f++)
			width = width * 10 + *f - '0';
		if (*f == '.') {
			f++;
			if (*f == '*') {
				precision = va_arg(args, int);
				f++;
			} else {
				for (precision = 0; *f >= '0' && *f <= '9'; f++)
					precision = precision * 10 + *f - '0';
			}
		}
		for (; *f == 'l' || *f == 'z'; f++)
			longs++;
		if (*f == 's') {
			put_string(&sink, va_arg(args, const char *), width, precision, left);
		} else if (*f == 'c') {
			put(&sink, va_arg(args, int));
		} else if (*f == 'd' || *f == 'i') {
			int64_t value = longs ? va_arg(args, int64_t) : va_arg(args, int);

			put_number(&sink, value < 0 ? -(uint64_t)value : (uint64_t)value, 10,
				value < 0, width, left, pad);
		} else if (*f == 'u' || *f == 'x' || *f == 'X') {
			uint64_t value = longs ? va_arg(args, uint64_t) : va_arg(args, unsigned);

			put_number(&sink, value, *f == 'u' ? 10 : 16, false, width, left, pad);
		} else if (*f == 'p') {
			put(&sink, '0');
			put(&sink, 'x');
			put_number(
				&sink, (uint64_t)va_arg(args, void *), 16, false, width, left, pad);
		} else if (*f) {
			put(&sink, *f);
		} else {
			break;
		}
	}
	if (size)
		*sink.at = 0;
	return sink.length;
}

int format(char *to, size_t size, const char *f, ...)
{
	va_list args;
	int length;

	va_start(args, f);
	length = format_va(to, size, f, args);
	va_end(args);
	return length;
}

void print_va(const char *f, va_list args)
{
	char line[512];
	int length = format_va(line, sizeof(line), f, args);

	console_write(line, length < (int)sizeof(line) ? (size_t)length : sizeof(line) - 1);
}

void print(const char *f, ...)
{
	va_list args;

	va_start(args, f);
	print_va(f, args);
	va_end(args);
}
