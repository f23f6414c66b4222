/* SPDX-License-Identifier: MIT */
/* x87 (SDM 1, chapter 8): only what MMX needs of it; its own instructions raise #UD. */
#include "cpu/soft/native.h"

void x87_check_pending(struct soft_cpu *c)
{
	if (c->fpu.sw & 0x80)
		soft_fault(c, V_MF, NO_ERROR_CODE);
}

soft_handler *x87_handler(uint16_t mnemonic, const struct soft_insn *i)
{
	return NULL;
}
