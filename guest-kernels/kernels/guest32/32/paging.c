/* SPDX-License-Identifier: MIT */
/*
 * Kernel guest32: 32-bit and PAE paging (SDM volume 3, 4.3 and 4.4). The first 4 MiB are mapped as
 * they are; WINDOW is what TESTs change.
 */
#include "stage32/stage32.h"

#define PD     (TABLES)
#define PT     (TABLES + 0x1000)
#define PDPT   (TABLES + 0x2000)
#define PAE_PD (TABLES + 0x3000)
#define PAE_PT (TABLES + 0x4000)
#define DATA   (TABLES + 0x5000) /* the page that the window shows */
#define WINDOW 0x00c00000u	 /* PDE 3; PAE: PDE 6 */

#define P   1u
#define W   2u
#define U   4u
#define A   0x20u
#define D   0x40u
#define PS  0x80u
#define NXB (1ull << 63)

#define PSE (1u << 4)
#define PAE (1u << 5)
#define WP  (1u << 16)
#define PG  (1u << 31)

static volatile uint32_t *pd(void)
{
	uint32_t *at;

	__asm__("mov %1, %0" : "=r"(at) : "i"(PD));
	return at;
}

#define ENTRY32(table) ((volatile uint32_t *)(table))
#define ENTRY64(table) ((volatile uint64_t *)(table))
#define AT(address)    (*(volatile uint32_t *)(address))

/* 32-bit paging: 4 MiB as they are, with user rights, and an empty table for the window. */
static void paging_32(uint32_t cr4)
{
	memset((void *)PD, 0, 0x2000);
	memset((void *)DATA, 0, 0x1000);
	pd()[0] = P | W | U | PS;
	pd()[WINDOW >> 22] = PT | P | W | U;
	AT(DATA) = 0x600dda7a;
	write_cr4(cr4);
	write_cr3(PD);
	write_cr0((read_cr0() | PG) & ~WP);
}

static void paging_off(void)
{
	write_cr0(read_cr0() & ~(PG | WP));
	write_cr4(0);
}

#define EXPECT_PF(code, address, statement)   \
	do {                                  \
		EXPECT_TRAP(14, statement);   \
		EXPECT_EQ(trap.error, code);  \
		EXPECT_EQ(trap_cr2, address); \
	} while (0)

static void user_read(void)
{
	__asm__ volatile("mov 0xc00010, %%eax; ud2" ::: "eax");
}

static void user_write(void)
{
	__asm__ volatile("movl $5, 0xc00010; ud2" ::: "memory");
}

#define EXPECT_USER_PF(code, fn)                    \
	do {                                        \
		EXPECT_TRUE(USER(fn));              \
		EXPECT_EQ(trap.vector, 14);         \
		EXPECT_EQ(trap.error, code);        \
		EXPECT_EQ(trap_cr2, WINDOW + 0x10); \
	} while (0)

static bool user_may(void (*fn)(void))
{
	return USER(fn) && trap.vector == 6;
}

STAGE(pages_of_4k)
{
	paging_32(PSE);
	EXPECT_PF(0, WINDOW, AT(WINDOW));
	EXPECT_PF(2, WINDOW + 4, AT(WINDOW + 4) = 1);
	ENTRY32(PT)[0] = DATA | P | W;
	EXPECT_EQ(AT(WINDOW), 0x600dda7a); /* what was not present is not cached */
	EXPECT_EQ(ENTRY32(PT)[0] & 0xfff, P | W | A);
	EXPECT_EQ(pd()[WINDOW >> 22] & (A | D), A);
	AT(WINDOW + 4) = 7;
	EXPECT_EQ(ENTRY32(PT)[0] & 0xfff, P | W | A | D);
	EXPECT_EQ(AT(DATA + 4), 7);
	EXPECT_PF(0, WINDOW + 0x1000, AT(WINDOW + 0x1000));
	paging_off();
}

STAGE(rights_32)
{
	paging_32(PSE);
	ENTRY32(PT)[0] = DATA | P | W;
	EXPECT_USER_PF(5, user_read);
	ENTRY32(PT)[0] = DATA | P | U;
	invlpg((void *)WINDOW);
	EXPECT_TRUE(user_may(user_read));
	EXPECT_USER_PF(7, user_write);
	AT(WINDOW) = 1; /* the supervisor may, without WP */
	write_cr0(read_cr0() | WP);
	EXPECT_PF(3, WINDOW, AT(WINDOW) = 2);
	write_cr0(read_cr0() & ~WP);
	ENTRY32(PT)[0] = DATA | P | W | U;
	invlpg((void *)WINDOW);
	EXPECT_TRUE(user_may(user_write));
	/* The directory's rights count, too. */
	pd()[WINDOW >> 22] = PT | P | U;
	write_cr3(PD);
	EXPECT_USER_PF(7, user_write);
	pd()[WINDOW >> 22] = PT | P | W;
	write_cr3(PD);
	EXPECT_USER_PF(5, user_read);
	paging_off();
}

STAGE(pages_of_4m)
{
	if (!(cpuid_edx(1) >> 3 & 1))
		stage_skip("the processor has no PSE");
	paging_32(PSE);
	pd()[WINDOW >> 22] = P | U | PS; /* the first 4 MiB again, read-only */
	write_cr3(PD);
	EXPECT_EQ(AT(WINDOW + DATA), 0x600dda7a);
	EXPECT_EQ(pd()[WINDOW >> 22] & (A | D), A);
	EXPECT_TRUE(user_may(user_read));
	EXPECT_USER_PF(7, user_write);
	pd()[WINDOW >> 22] = P | W | PS;
	invlpg((void *)WINDOW);
	AT(WINDOW + DATA + 4) = 9;
	EXPECT_EQ(AT(DATA + 4), 9);
	EXPECT_EQ(pd()[WINDOW >> 22] & (A | D), A | D);
	EXPECT_USER_PF(5, user_read);
	/* Bit 21 is reserved in a 4-MiB entry. */
	pd()[WINDOW >> 22] = P | W | PS | 1u << 21;
	invlpg((void *)WINDOW);
	EXPECT_PF(9, WINDOW, AT(WINDOW));
	paging_off();
}

STAGE(no_pse_no_4m)
{
	/* Without CR4.PSE bit 7 of a directory entry says nothing: all tables of 4 KiB here. */
	memset((void *)PD, 0, 0x2000);
	for (unsigned i = 0; i < 1024; i++)
		ENTRY32(PT)[i] = i << 12 | P | W;
	pd()[0] = PT | P | W;
	pd()[WINDOW >> 22] = PT | P | W | PS;
	AT(DATA) = 0x600dda7a;
	write_cr4(0);
	write_cr3(PD);
	write_cr0(read_cr0() | PG);
	EXPECT_EQ(AT(WINDOW + DATA), 0x600dda7a);
	paging_off();
}

/* PAE: 2-MiB pages as they are for 4 MiB, a table for the window. */
static void paging_pae(void)
{
	if (!(cpuid_edx(1) >> 6 & 1))
		stage_skip("the processor has no PAE");
	memset((void *)PDPT, 0, 0x3000);
	memset((void *)DATA, 0, 0x1000);
	ENTRY64(PDPT)[0] = PAE_PD | P;
	ENTRY64(PAE_PD)[0] = P | W | U | PS;
	ENTRY64(PAE_PD)[1] = 0x200000 | P | W | U | PS;
	ENTRY64(PAE_PD)[WINDOW >> 21] = PAE_PT | P | W | U;
	ENTRY64(PAE_PT)[0] = DATA | P | W | U;
	AT(DATA) = 0x600dda7a;
	write_cr4(PAE);
	write_cr3(PDPT);
	write_cr0((read_cr0() | PG) & ~WP);
}

STAGE(pae_translates)
{
	paging_pae();
	EXPECT_EQ(AT(WINDOW), 0x600dda7a);
	AT(WINDOW + 4) = 3;
	EXPECT_EQ((uint32_t)ENTRY64(PAE_PT)[0] & (A | D), A | D);
	EXPECT_EQ((uint32_t)ENTRY64(PAE_PD)[WINDOW >> 21] & (A | D), A);
	EXPECT_EQ((uint32_t)ENTRY64(PDPT)[0], PAE_PD | P); /* nothing is marked there */
	EXPECT_TRUE(user_may(user_write));
	ENTRY64(PAE_PT)[0] = DATA | P;
	invlpg((void *)WINDOW);
	EXPECT_USER_PF(5, user_read);
	EXPECT_PF(0, 0x40000000, AT(0x40000000)); /* a pointer that is not present */
	paging_off();
}

STAGE(pae_pointers_are_loaded)
{
	paging_pae();
	/* All four are read by MOV CR3: changes in memory are not seen before. */
	ENTRY64(PDPT)[1] = PAE_PD | P;
	EXPECT_PF(0, 0x40000000 + DATA, AT(0x40000000 + DATA));
	invlpg((void *)(0x40000000 + DATA));
	EXPECT_PF(0, 0x40000000 + DATA, AT(0x40000000 + DATA));
	write_cr3(PDPT);
	EXPECT_EQ(AT(0x40000000 + DATA), 0x600dda7a);
	ENTRY64(PDPT)[1] = 0;
	invlpg((void *)(0x40000000 + DATA));
	EXPECT_EQ(AT(0x40000000 + DATA), 0x600dda7a);
	write_cr3(PDPT);
	EXPECT_PF(0, 0x40000000 + DATA, AT(0x40000000 + DATA));
	paging_off();
}

STAGE(pae_reserved_bits)
{
	static const uint64_t bad_pointer[] = {2, 4, 0x20, 1ull << 52, 1ull << 63};
	volatile unsigned i;

	paging_pae();
	/* In a pointer: #GP by the load, and CR3 stays. */
	for (i = 0; i < 5; i++) {
		ENTRY64(PDPT)[2] = PAE_PD | P | bad_pointer[i];
		EXPECT_TRAP_ERROR(13, 0, write_cr3(PDPT | 8));
		EXPECT_EQ(read_cr3(), PDPT);
	}
	ENTRY64(PDPT)[2] = 2; /* not present: no matter */
	write_cr3(PDPT);
	/* In an entry: #PF with RSVD. */
	ENTRY64(PAE_PT)[0] = DATA | P | W | 1ull << 52;
	invlpg((void *)WINDOW);
	EXPECT_PF(9, WINDOW, AT(WINDOW));
	ENTRY64(PAE_PT)[0] = DATA | P | W;
	ENTRY64(PAE_PD)[7] = P | W | PS | 1u << 13; /* a 2-MiB page's address below 21 */
	EXPECT_PF(9, WINDOW + 0x200000, AT(WINDOW + 0x200000));
	/* NX without EFER.NXE. */
	ENTRY64(PAE_PT)[0] = DATA | P | W | NXB;
	invlpg((void *)WINDOW);
	EXPECT_PF(9, WINDOW, AT(WINDOW));
	paging_off();
}

static void jump_to_window(void)
{
	__asm__ volatile("mov $0xc00020, %%eax; jmp *%%eax" ::: "eax");
}

STAGE(pae_no_execute)
{
	volatile uint64_t efer = rdmsr(0xc0000080); /* kept over traps */

	if (!(cpuid_edx(0x80000001) >> 20 & 1))
		stage_skip("the processor has no NX");
	paging_pae();
	wrmsr(0xc0000080, efer | 0x800);
	*(volatile uint16_t *)(DATA + 0x20) = 0x0b0f; /* UD2 */
	EXPECT_TRAP(6, jump_to_window());
	EXPECT_EQ(trap.eip, WINDOW + 0x20);
	ENTRY64(PAE_PT)[0] = DATA | P | W | U | NXB;
	invlpg((void *)WINDOW);
	EXPECT_EQ(AT(WINDOW), 0x600dda7a);
	EXPECT_PF(0x11, WINDOW + 0x20, jump_to_window());
	/* At the directory, too. */
	ENTRY64(PAE_PT)[0] = DATA | P | W | U;
	ENTRY64(PAE_PD)[WINDOW >> 21] |= NXB;
	write_cr3(PDPT);
	EXPECT_PF(0x11, WINDOW + 0x20, jump_to_window());
	EXPECT_TRUE(USER(jump_to_window));
	EXPECT_EQ(trap.error, 0x15);
	paging_off();
	wrmsr(0xc0000080, efer);
}

STAGE(pae_switched_while_paging)
{
	/* CR4.PAE may change with paging on; then the tables are read as the other kind. */
	if (!(cpuid_edx(1) >> 6 & 1))
		stage_skip("the processor has no PAE");
	memset((void *)PD, 0, 0x1000);
	pd()[0] = P | W | PS;
	memset((void *)PDPT, 0, 0x3000);
	ENTRY64(PDPT)[0] = PAE_PD | P;
	for (unsigned i = 0; i < 8; i++)
		ENTRY64(PAE_PD)[i] = i << 21 | P | W | PS;
	write_cr4(PSE);
	write_cr3(PD);
	write_cr0(read_cr0() | PG);
	AT(DATA) = 0x600dda7a;
	/* One page that is right in both: the directory's page with CR3 as a pointer table is not,
	 * so that setting PAE there would load a pointer with reserved bits: #GP. */
	EXPECT_TRAP_ERROR(13, 0, write_cr4(PSE | PAE));
	EXPECT_EQ(read_cr4(), PSE);
	EXPECT_EQ(AT(DATA), 0x600dda7a);
	paging_off();
}
