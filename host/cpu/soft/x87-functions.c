/* SPDX-License-Identifier: MIT */
/* x87's transcendental functions (SDM 1, 8.3.8): none of them is there, they raise #UD. */
#include "cpu/soft/x87.h"

soft_handler *x87_transcendental(uint8_t opcode, uint8_t modrm)
{
	return NULL;
}
