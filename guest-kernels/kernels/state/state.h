/* SPDX-License-Identifier: MIT */
/*
 * Kernel state: TESTs that bring one part of the machine into the middle of something, have the
 * machine saved and continued in another process (perhaps under another engine), and look
 * whether it goes on.  The other machines' TESTs do the same at their checkpoints with life=N.
 */
#ifndef KERNELS_STATE_STATE_H
#define KERNELS_STATE_STATE_H

#include "runtime/ctl.h"
#include "runtime/io.h"
#include "runtime/irq.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define CTL NEEDS("ctl")

/* Saved here, and behind it in the next process. */
static inline void cut(void)
{
	if (!ctl_save())
		SKIP("the VMM does not save: %s", ctl_reason());
}

#endif
