/* SPDX-License-Identifier: MIT */
/* The command line: what each option leaves in the configuration, and how wrong ones are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "options/options.h"

static struct options o;
static struct error err;

/* Reads a command line of words separated by spaces. */
static int read_line(const char *line)
{
	static char copy[4096];
	char *argv[64], *rest = copy, *word;
	int argc = 0;

	snprintf(copy, sizeof(copy), "assay %s", line);
	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	err.text[0] = '\0';
	return options_parse(argc, argv, &o, &err);
}

static void test_memory(void **state)
{
	static const struct {
		const char *line;
		uint64_t bytes;
	} good[] = {
		{"", 0},
		{"-m 64", 64ull << 20},
		{"-m 64M", 64ull << 20},
		{"-m 1G", 1ull << 30},
		{"-m 1.5G", 3ull << 29},
		{"-m size=256", 256ull << 20},
		{"-m 256,slots=0", 256ull << 20},
		{"-m 256,maxmem=256M", 256ull << 20},
		{"-m 10B", 8192},
		{"-m 0", 0},
		{"-m 64 -m 128", 128ull << 20},
	};
	static const char *const bad[] = {"-m 12Q", "-m -5", "-m size=", "-m 99999999999999999999",
		"-m 64,foo=1", "-m 64,maxmem=32M", "-m 64,slots=2,maxmem=1G", "-m 17E",
		"-m 18446744073709551615B"};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		if (read_line(good[i].line))
			fail_msg("%s: %s", good[i].line, err.text);
		assert_int_equal(o.board.memory, good[i].bytes);
		options_free(&o);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (!read_line(bad[i]))
			fail_msg("accepted '%s'", bad[i]);
		assert_int_equal(strncmp(err.text, bad[i], strlen(bad[i])), 0);
		options_free(&o);
	}
}

static void test_processors(void **state)
{
	static const struct {
		const char *line;
		unsigned cpus; /* 0: refused */
	} rows[] = {
		{"", 1},
		{"-smp 1", 1},
		{"-smp 4", 4},
		{"-smp cpus=2,sockets=1", 2},
		{"-smp sockets=2,cores=2,threads=2", 8},
		{"-smp 4,sockets=2,cores=2,threads=1", 4},
		{"-smp 4,maxcpus=4", 4},
		{"-smp 0", 0},
		{"-smp two", 0},
		{"-smp -1", 0},
		{"-smp 1,foo=2", 0},
		{"-smp 3,sockets=2,cores=2,threads=1", 0},
		{"-smp 1,maxcpus=2", 0},
		{"-smp 4,maxcpus=2", 0},
		{"-smp 99999999999", 0},
		{"-smp cores=0", 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int rc = read_line(rows[i].line);

		if (!rc != !!rows[i].cpus)
			fail_msg("%s: %d %s", rows[i].line, rc, err.text);
		if (!rc)
			assert_int_equal(o.board.smp.cpus, rows[i].cpus);
		options_free(&o);
	}
}

static struct keyvals *first(struct list *list)
{
	assert_false(list_empty(list));
	return container_of(list->next, struct keyvals, link);
}

static void test_drives(void **state)
{
	assert_int_equal(read_line("-drive if=none,id=a,file=x,,y.img,format=raw"), 0);
	assert_string_equal(keyvals_get(first(&o.board.drives), "file"), "x,y.img");
	assert_string_equal(keyvals_get(first(&o.board.drives), "if"), "none");
	options_free(&o);
	/* The file of -hda is a name, not a list. */
	assert_int_equal(read_line("-hdc x,y=z"), 0);
	assert_string_equal(keyvals_get(first(&o.board.drives), "file"), "x,y=z");
	assert_string_equal(keyvals_get(first(&o.board.drives), "index"), "2");
	assert_string_equal(first(&o.board.drives)->origin, "-hdc x,y=z");
	options_free(&o);
	assert_int_equal(read_line("disk.img -cdrom cd.iso -S"), 0);
	assert_string_equal(keyvals_get(first(&o.board.drives), "index"), "0");
	assert_string_equal(first(&o.board.drives)->origin, "disk.img");
	assert_true(o.board.start_paused);
	options_free(&o);
}

static void test_json(void **state)
{
	assert_int_equal(
		read_line(
			"-blockdev {\"driver\":\"raw\",\"node-name\":\"n\",\"file\":{\"driver\":"
			"\"file\",\"filename\":\"x\"},\"cache\":{\"direct\":true},\"l\":[1,2.5]}"),
		0);
	assert_string_equal(keyvals_get(first(&o.blockdevs), "file.filename"), "x");
	assert_string_equal(keyvals_get(first(&o.blockdevs), "cache.direct"), "on");
	assert_string_equal(keyvals_get(first(&o.blockdevs), "l.0"), "1");
	assert_string_equal(keyvals_get(first(&o.blockdevs), "l.1"), "2.5");
	options_free(&o);
	assert_int_not_equal(read_line("-blockdev {\"driver\":"), 0);
	options_free(&o);
	assert_int_not_equal(
		read_line("-device {\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":"
			  "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
			  "\"a\":1}}}}}}}}}}}}}}}}}}"),
		0);
	options_free(&o);
}

static void test_refusals_name_option_and_fault(void **state)
{
	static const struct {
		const char *line, *text;
	} rows[] = {
		{"-frobnicate", "-frobnicate: invalid option"},
		{"--frobnicate", "--frobnicate: invalid option"},
		{"-", "-: invalid option"},
		{"--", "--: invalid option"},
		{"-kernel", "-kernel: requires an argument"},
		{"-append x", "-append only allowed with -kernel option"},
		{"-initrd x", "-initrd only allowed with -kernel option"},
		{"-netdev user,id=n", "-netdev user,id=n: networking is not there yet"},
		{"-machine pc,foo=bar",
			"-machine pc,foo=bar: Property 'pc-i440fx-7.2-machine.foo' not found"},
		{"-machine pc,acpi=foo",
			"-machine pc,acpi=foo: Parameter 'acpi' expects 'on' or 'off'"},
		{"-machine microvm,acpi=on", "-machine acpi=on: microvm has no ACPI tables"},
		{"-machine pc,usb=on", "-machine pc,usb=on: 'usb=on' is not supported"},
		{"-machine pc,usb", "-machine pc,usb: Expected '=' after parameter 'usb'"},
		{"-object iothread", "-object iothread: Parameter 'id' is missing"},
		{"-uuid x", "-uuid x: failed to parse UUID string: wrong format"},
		{"-boot order=z", "-boot order=z: Invalid boot device 'z'"},
		{"-boot cc", "-boot cc: Boot device 'c' was given twice"},
		{"-boot foo=1", "-boot foo=1: Invalid parameter 'foo'"},
		{"-rtc foo=1", "-rtc foo=1: Invalid parameter 'foo'"},
		{"-rtc clock=foo", "-rtc clock=foo: invalid option value 'foo'"},
		{"-vga std", "-vga std: not supported, only none is"},
		{"-action reboot=foo",
			"-action reboot=foo: Parameter 'reboot' does not accept value 'foo'"},
		{"-accel kvm,foo=1", "-accel kvm,foo=1: Property 'kvm-accel.foo' not found"},
		{"-device a,id=9", "-device a,id=9: Parameter 'id' expects an identifier"},
		{"-device a,id=x -device b,id=x", "-device b,id=x: Duplicate device ID 'x'"},
		{"-mon chardev=a,mode=foo",
			"-mon chardev=a,mode=foo: unknown monitor mode \"foo\""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (read_line(rows[i].line) >= 0)
			fail_msg("accepted '%s'", rows[i].line);
		assert_string_equal(err.text, rows[i].text);
		options_free(&o);
	}
}

static void test_accepted_without_effect(void **state)
{
	assert_int_equal(
		read_line("-no-user-config -nodefaults -display none -vga none -vnc none -net "
			  "none -nic none -parallel none -k de -mem-prealloc -no-hpet "
			  "-overcommit mem-lock=off -msg timestamp=on -sandbox off -boot c "
			  "-rtc base=utc,clock=host,driftfix=slew -boot menu=on,strict=on "
			  "-name x,debug-threads=on -d in_asm,int -machine pc,vmport=off,usb=off "
			  "-machine kernel_irqchip=on -audiodev none,id=a -no-fd-bootchk"),
		0);
	assert_string_equal(o.board.machine, "pc-i440fx-7.2");
	assert_string_equal(o.board.name, "x");
	assert_true(o.board.no_defaults);
	assert_false(o.board.no_acpi);
	options_free(&o);
}

static void test_accelerators(void **state)
{
	assert_int_equal(read_line("-accel xen -accel kvm,thread=multi"), 0);
	assert_string_equal(o.board.accels, "xen:kvm");
	options_free(&o);
	assert_int_equal(read_line("-M pc,acpi=off"), 0);
	assert_true(o.board.no_acpi);
	options_free(&o);
	assert_int_equal(read_line("-M pc,accel=kvm:tcg"), 0);
	assert_string_equal(o.board.accels, "kvm:tcg");
	options_free(&o);
	assert_int_equal(read_line("-enable-kvm -M microvm"), 0);
	assert_string_equal(o.board.accels, "kvm");
	options_free(&o);
	assert_int_not_equal(read_line("-M pc,accel=kvm -accel kvm"), 0);
	options_free(&o);
}

static void test_nographic(void **state)
{
	assert_int_equal(read_line("-nographic"), 0);
	assert_int_equal(o.board.serial_count, 1);
	assert_string_equal(o.board.serial[0], "mon:stdio");
	options_free(&o);
	assert_int_equal(read_line("-nographic -monitor none"), 0);
	assert_string_equal(o.board.serial[0], "stdio");
	options_free(&o);
	assert_int_equal(read_line("-nographic -serial null"), 0);
	assert_int_equal(o.board.serial_count, 1);
	assert_false(list_empty(&o.monitors));
	options_free(&o);
	assert_int_equal(read_line("-nographic -nodefaults"), 0);
	assert_int_equal(o.board.serial_count, 0);
	assert_true(list_empty(&o.monitors));
	options_free(&o);
	assert_int_not_equal(
		read_line("-serial null -serial null -serial null -serial null -serial null"), 0);
	options_free(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_processors),
		cmocka_unit_test(test_drives),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_refusals_name_option_and_fault),
		cmocka_unit_test(test_accepted_without_effect),
		cmocka_unit_test(test_accelerators),
		cmocka_unit_test(test_nographic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
