/* SPDX-License-Identifier: MIT */
/*
 * Kernel boot: what a loader and firmware owe a kernel.
 */
#include "runtime/boot.h"
#include "runtime/test.h"

TEST(entry_is_protected_mode, "", "PVH enters with PE set and paging off", NEEDS("pvh"))
{
	EXPECT_EQ(entry_state.cr0 & 0x80000001, 1);
}

TEST(trap_is_caught, "", "UD2 raises #UD")
{
	EXPECT_TRAP(TRAP_UD, __asm__ volatile("ud2"));
}
