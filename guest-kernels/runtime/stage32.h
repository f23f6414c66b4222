/* SPDX-License-Identifier: MIT */
/*
 * TESTs whose body is code of the kernel's 32-bit stage (stage32/stage32.h): kernels/NAME/32/ is
 * compiled for 32 bits into one image, copied below 1 MiB and called outside of long mode.
 *
 *	STAGED(call_gate_copies, "a call through a gate copies the parameters")
 *
 * stands for the TEST; STAGE(call_gate_copies) { ... } in kernels/NAME/32/ is what it does.
 */
#ifndef ASSAY_RUNTIME_STAGE32_H
#define ASSAY_RUNTIME_STAGE32_H

#include "runtime/test.h"

/* `words`: NEEDS beyond what leaving long mode needs. */
#define STAGED_NEEDS(test_name, what, words)                   \
	TEST(test_name, "", what, NEEDS("insn:iret32 " words)) \
	{                                                      \
		stage32_run(#test_name);                       \
	}
#define STAGED(test_name, what) STAGED_NEEDS(test_name, what, "")

/* Runs the function of that name; its verdict becomes the TEST's. */
void stage32_run(const char *name);

#endif
