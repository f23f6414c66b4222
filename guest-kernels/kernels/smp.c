/* SPDX-License-Identifier: MIT */
/* Kernel smp. */
#include "runtime/smp.h"
#include "runtime/test.h"
#include "runtime/time.h"

static uint64_t read_id(void *arg)
{
	return smp_apic_read(LAPIC_ID) >> 24;
}

TEST(each_starts, "", "each processor starts and has its own APIC id", NEEDS("smp>=2"))
{
	smp_start_all();
	for (unsigned i = 1; i < smp_count(); i++)
		EXPECT_EQ(smp_call(i, read_id, NULL), smp_cpu(i)->apic_id);
	note("%u processors by the %s", smp_count(), processors()->source);
}
