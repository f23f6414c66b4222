/* SPDX-License-Identifier: MIT */
/*
 * x87, MMX and SSE: none of them is there, and CPUID says so.  Their place is here because the
 * host's own instructions are to execute them.
 */
#include "cpu/soft/soft.h"

soft_handler *soft_native_handler(uint16_t mnemonic, const struct soft_insn *i)
{
	return NULL;
}
