/* SPDX-License-Identifier: MIT */
/* Disassembly for reports (report.h), by Zydis, which is loaded when it is first needed. */
#include <Zydis/Zydis.h>

#include "cpu/report.h"
#include "cpu/soft/soft.h"

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
	struct error err;

	if (size)
		text[0] = '\0';
	if (soft_zydis_load(&err) < 0 || !ZYAN_SUCCESS(ZydisDecoderInit(&decoder, mode, stack)) ||
		!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, length, &insn, operands)) ||
		!ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)) ||
		!ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &insn, operands,
			insn.operand_count_visible, text, size, rip, NULL)))
		return 0;
	return insn.length;
}
