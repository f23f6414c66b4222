/* SPDX-License-Identifier: MIT */
/*
 * Disassembly for reports (report.h), by Zydis.  The library is loaded when it is first needed:
 * a VM that ends well never pays for it.
 */
#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

#include "cpu/report.h"

#define EFER_LMA (1u << 10)

static struct {
	ZyanStatus (*decoder_init)(ZydisDecoder *, ZydisMachineMode, ZydisStackWidth);
	ZyanStatus (*decode)(const ZydisDecoder *, const void *, ZyanUSize,
		ZydisDecodedInstruction *, ZydisDecodedOperand *);
	ZyanStatus (*formatter_init)(ZydisFormatter *, ZydisFormatterStyle);
	ZyanStatus (*format)(const ZydisFormatter *, const ZydisDecodedInstruction *,
		const ZydisDecodedOperand *, ZyanU8, char *, ZyanUSize, ZyanU64, void *);
	bool there;
} zydis;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
	char name[40];
	void *library;

	/* The structures below are those of the version that this is compiled with. */
	snprintf(name, sizeof(name), "libZydis.so.%u.%u",
		(unsigned)ZYDIS_VERSION_MAJOR(ZYDIS_VERSION),
		(unsigned)ZYDIS_VERSION_MINOR(ZYDIS_VERSION));
	library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return;
	*(void **)&zydis.decoder_init = dlsym(library, "ZydisDecoderInit");
	*(void **)&zydis.decode = dlsym(library, "ZydisDecoderDecodeFull");
	*(void **)&zydis.formatter_init = dlsym(library, "ZydisFormatterInit");
	*(void **)&zydis.format = dlsym(library, "ZydisFormatterFormatInstruction");
	zydis.there = zydis.decoder_init && zydis.decode && zydis.formatter_init && zydis.format;
}

unsigned cpu_disassemble(const struct cpu_state *state, uint64_t rip, const uint8_t *bytes,
	size_t length, char *text, size_t size)
{
	bool is_long = state->efer & EFER_LMA && state->cs.l;
	ZydisMachineMode mode = is_long		? ZYDIS_MACHINE_MODE_LONG_64
				: !state->cs.db ? ZYDIS_MACHINE_MODE_LEGACY_16
						: ZYDIS_MACHINE_MODE_LEGACY_32;
	ZydisStackWidth stack = is_long	       ? ZYDIS_STACK_WIDTH_64
				: state->ss.db ? ZYDIS_STACK_WIDTH_32
					       : ZYDIS_STACK_WIDTH_16;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisFormatter formatter;
	ZydisDecoder decoder;

	if (size)
		text[0] = '\0';
	pthread_once(&once, load);
	if (!zydis.there || !ZYAN_SUCCESS(zydis.decoder_init(&decoder, mode, stack)) ||
		!ZYAN_SUCCESS(zydis.decode(&decoder, bytes, length, &insn, operands)) ||
		!ZYAN_SUCCESS(zydis.formatter_init(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
		!ZYAN_SUCCESS(zydis.format(&formatter, &insn, operands, insn.operand_count_visible,
			text, size, rip, NULL)))
		return 0;
	return insn.length;
}
