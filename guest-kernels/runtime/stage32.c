/* SPDX-License-Identifier: MIT */
/*
 * The way to the 32-bit stage and what it says on its return. Addresses of the stage are 32-bit
 * numbers; all of it is identity mapped.
 */
#include "runtime/stage32.h"
#include "runtime/boot.h"
#include "runtime/memory.h"

#define BASE	  0x50000ul
#define END	  0x70000ul
#define SIGNATURE 0x32335453
#define FAILURES  16

struct stage32_head {
	uint32_t signature, enter, tests, tests_end, result;
};

struct stage32_record {
	uint32_t name, run;
};

struct stage32_result {
	uint32_t failures, stray, skip;
	struct {
		uint32_t what, file, line, expected, got;
	} failure[FAILURES];
	uint32_t gs, fs, es, ds, edi, esi, ebp, unused, ebx, edx, ecx, eax, vector, error, eip, cs,
		eflags, esp;
};

extern const uint8_t stage32_image[], stage32_image_end[];

static void *at(uint32_t address)
{
	return (void *)(uint64_t)address;
}

static void need_memory(void)
{
	for (unsigned i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *r = &boot_info.ranges[i];

		if (r->type == MEMORY_RAM && r->base <= BASE && r->base + r->size >= END)
			return;
	}
	SKIP("no RAM at 0x%lx to 0x%lx", BASE, END);
}

static uint32_t find(const struct stage32_head *head, const char *name)
{
	const struct stage32_record *record = at(head->tests), *end = at(head->tests_end);

	for (; record < end; record++)
		if (strcmp(at(record->name), name) == 0)
			return record->run;
	ERROR("the stage has no %s", name);
}

void stage32_run(const char *name)
{
	const struct stage32_head *head = (void *)BASE;
	const struct stage32_result *result;
	uint32_t function;

	need_memory();
	memcpy((void *)BASE, stage32_image, stage32_image_end - stage32_image);
	if (head->signature != SIGNATURE)
		ERROR("the stage is damaged");
	function = find(head, name);
	((void (*)(uint32_t))at(head->enter))(function);
	result = at(head->result);
	for (unsigned i = 0; i < result->failures && i < FAILURES; i++)
		test_expect(false, at(result->failure[i].what), "==", result->failure[i].expected,
			result->failure[i].got, at(result->failure[i].file),
			result->failure[i].line);
	if (result->failures > FAILURES)
		note("%u more", result->failures - FAILURES);
	if (result->stray)
		FAIL("trap %u error 0x%x at %x:0x%x flags 0x%x in the stage", result->vector,
			result->error, result->cs & 0xffff, result->eip, result->eflags);
	if (result->skip)
		SKIP("%s", (const char *)at(result->skip));
}
