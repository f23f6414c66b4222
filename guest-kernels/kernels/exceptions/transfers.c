/* SPDX-License-Identifier: MIT */
/*
 * Kernel exceptions, ways between privilege levels: IRET and its faults, far returns (Intel SDM
 * volume 2, IRET, RET), SYSCALL, SYSRET, SYSENTER, SYSEXIT.
 */
#include "kernels/exceptions/exceptions.h"
#include "runtime/memory.h"
#include "runtime/user.h"

#define MSR_EFER	 0xc0000080
#define MSR_STAR	 0xc0000081
#define MSR_LSTAR	 0xc0000082
#define MSR_FMASK	 0xc0000084
#define MSR_SYSENTER_CS	 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define EFER_SCE	 1ull

struct iret_frame {
	uint64_t rip, cs, rflags, rsp, ss;
};

/* IRETQ on this frame; what faults does so at the MARK with the frame still on top. */
static void iretq(const struct iret_frame *f)
{
	__asm__ volatile("push 32(%0); push 24(%0); push 16(%0); push 8(%0); push (%0);"
			 "mov %%rsp, %%rcx;" MARK "iretq"
			 :
			 : "d"(f)
			 : "rax", "rcx", "memory");
}

static struct iret_frame good_frame(void)
{
	return (struct iret_frame){0x1000, SEL_CODE, 2, 0x8000, SEL_DATA};
}

#define EXPECT_IRET_FAULT(vector, error, given)                  \
	do {                                                     \
		EXPECT_FAULT(vector, error, iretq(&(given)));    \
		EXPECT_EQ(seen[0].frame.rsp, seen[0].frame.rcx); \
	} while (0)

TEST(iret_bad_code, "",
	"IRET to a code selector that is null, data, of a wrong level or not present is #GP or #NP",
	NEEDS("exact"))
{
	uint64_t *own = own_descriptors();
	struct iret_frame f = good_frame();

	own[0] = DESCRIPTOR_CODE & ~(1ull << 47);
	own[1] = DESCRIPTOR_CODE | 1ull << 54; /* L and D */
	f.cs = 0;
	EXPECT_IRET_FAULT(TRAP_GP, 0, f);
	f.cs = SEL_DATA;
	EXPECT_IRET_FAULT(TRAP_GP, SEL_DATA, f);
	f.cs = 0x3000;
	EXPECT_IRET_FAULT(TRAP_GP, 0x3000, f);
	f.cs = SEL_CODE | 3;
	EXPECT_IRET_FAULT(TRAP_GP, SEL_CODE, f);
	f.cs = SEL_USER_CODE & ~3;
	EXPECT_IRET_FAULT(TRAP_GP, SEL_USER_CODE & ~3, f);
	f.cs = SEL_OWN;
	EXPECT_IRET_FAULT(TRAP_NP, SEL_OWN, f);
	f.cs = SEL_OWN + 8;
	EXPECT_IRET_FAULT(TRAP_GP, SEL_OWN + 8, f);
}

TEST(iret_bad_stack, "",
	"IRET to a stack selector that is null at level 3, of a wrong level or type, or not "
	"present "
	"is #GP or #SS",
	NEEDS("exact"))
{
	uint64_t *own = own_descriptors();
	struct iret_frame f = {0x1000, SEL_USER_CODE, 2, 0x8000, 0};

	own[0] = (DESCRIPTOR_DATA | 3ull << 45) & ~(1ull << 47);
	EXPECT_IRET_FAULT(TRAP_GP, 0, f);
	f.ss = 3;
	EXPECT_IRET_FAULT(TRAP_GP, 0, f);
	f.ss = SEL_DATA;
	EXPECT_IRET_FAULT(TRAP_GP, SEL_DATA, f);
	f.ss = SEL_USER_CODE;
	EXPECT_IRET_FAULT(TRAP_GP, SEL_USER_CODE & ~3, f);
	f.ss = 0x2003;
	EXPECT_IRET_FAULT(TRAP_GP, 0x2000, f);
	f.ss = SEL_OWN | 3;
	EXPECT_IRET_FAULT(TRAP_SS, SEL_OWN, f);
}

TEST(iret_not_canonical, "", "IRET to a non-canonical RIP is #GP(0) at the IRET", NEEDS("exact"))
{
	struct iret_frame f = good_frame();

	f.rip = 0x8000000000000000;
	EXPECT_IRET_FAULT(TRAP_GP, 0, f);
	f = (struct iret_frame){0x800000000000, SEL_USER_CODE, 2, 0x8000, SEL_USER_DATA};
	EXPECT_IRET_FAULT(TRAP_GP, 0, f);
}

TEST(iret_nested_task, "", "IRET with NT in 64-bit mode is #GP(0)")
{
	struct iret_frame f = good_frame();

	EXPECT_FAULT(TRAP_GP, 0,
		__asm__ volatile(
			"pushfq; orq $0x4000, (%%rsp); popfq;"
			"push 32(%0); push 24(%0); push 16(%0); push 8(%0); push (%0);" MARK "iretq"
			:
			: "d"(&f)
			: "rax", "cc", "memory"));
}

TEST(iret_takes_the_stack_along, "",
	"IRETQ to the same level takes RSP and SS from the frame, a null SS as well")
{
	uint64_t before, inside, ss = 7;

	__asm__ volatile("mov %%rsp, %0; push $0; lea -256(%0), %%rax; push %%rax; pushfq; push %3;"
			 "lea 1f(%%rip), %%rax; push %%rax; iretq;"
			 "1: mov %%rsp, %1; mov %%ss, %2; mov %0, %%rsp; mov %4, %%ss"
			 : "=&r"(before), "=&r"(inside), "=&r"(ss)
			 : "i"(SEL_CODE), "r"((uint32_t)SEL_DATA)
			 : "rax", "memory");
	EXPECT_EQ(inside, before - 256);
	EXPECT_EQ((uint16_t)ss, 0);
}

TEST(iret_keeps_rf, "", "RF in IRET's frame lets the next instruction pass its breakpoint")
{
	see(true);
	__asm__ volatile("mov %%rsp, %%rdx; lea 1f(%%rip), %%rax; mov %%rax, %%dr0;"
			 "push %1; push %%rdx; pushfq; orq $0x10000, (%%rsp); push %0; push %%rax;"
			 "mov $0x402, %%eax; mov %%rax, %%dr7; iretq;"
			 "1: nop; mov $0x400, %%eax; mov %%rax, %%dr7"
			 :
			 : "i"(SEL_CODE), "i"(SEL_DATA)
			 : "rax", "rdx", "cc", "memory");
	EXPECT_EQ(seen_count, 0);
}

struct selectors {
	uint16_t ds, es, fs, gs;
};

static uint64_t read_selectors(void *arg)
{
	struct selectors *s = arg;

	__asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
			 : "=m"(s->ds), "=m"(s->es), "=m"(s->fs), "=m"(s->gs));
	return 0;
}

TEST(iret_drops_inner_segments, "",
	"IRET to level 3 makes data segments of an inner level null, and keeps those of level 3",
	NEEDS("exact"))
{
	struct selectors s = {1, 1, 1, 1};

	__asm__ volatile("mov %0, %%ds; mov %1, %%es; mov %0, %%fs; mov %1, %%gs"
			 :
			 : "r"(SEL_DATA), "r"(SEL_USER_DATA));
	user_call(read_selectors, &s);
	EXPECT_EQ(s.ds, 0);
	EXPECT_EQ(s.es, SEL_USER_DATA);
	EXPECT_EQ(s.fs, 0);
	EXPECT_EQ(s.gs, SEL_USER_DATA);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %1, %%fs; mov %1, %%gs"
			 :
			 : "r"(SEL_DATA), "r"(0));
}

static uint64_t flags_from_level_3(void *arg)
{
	/* POPF and IRET to the same level, both with everything set. */
	uint64_t popped, returned;

	__asm__ volatile("pushfq; orq $0x3000, (%%rsp); xorq $0x200, (%%rsp); popfq; pushfq; pop %0"
			 : "=r"(popped)
			 :
			 : "memory", "cc");
	__asm__ volatile("mov %%rsp, %%rcx; mov %%ss, %%eax; push %%rax; push %%rcx; pushfq;"
			 "orq $0x3000, (%%rsp); xorq $0x200, (%%rsp); mov %%cs, %%eax; push %%rax;"
			 "lea 1f(%%rip), %%rax; push %%rax; iretq; 1: pushfq; pop %0"
			 : "=r"(returned)
			 :
			 : "rax", "rcx", "memory", "cc");
	return (popped ^ returned) & 0x3200 ? 0xdead : returned & 0x3200;
}

TEST(flags_at_level_3, "",
	"at CPL 3 with IOPL 0 POPF and IRET change neither IF nor IOPL, and do not fault",
	NEEDS("exact"))
{
	irq_disable();
	EXPECT_EQ(user_call(flags_from_level_3, NULL), 0);
	irq_enable();
	EXPECT_EQ(user_call(flags_from_level_3, NULL), FLAG_IF);
}

TEST(far_return_checks, "", "a far return to a bad selector is #GP or #NP with it, RSP unchanged",
	NEEDS("exact"))
{
	static const uint16_t selectors[] = {0, SEL_DATA, 0x3000, SEL_CODE | 3, SEL_OWN};
	uint64_t *own = own_descriptors();

	own[0] = DESCRIPTOR_CODE & ~(1ull << 47);
	for (unsigned i = 0; i < 5; i++) {
		EXPECT_FAULT(i == 4 ? TRAP_NP : TRAP_GP, selectors[i] & ~3u,
			__asm__ volatile("push %0; push $0x1000; mov %%rsp, %%rcx;" MARK "lretq"
					 :
					 : "d"((uint64_t)selectors[i])
					 : "rax", "rcx", "memory"));
		EXPECT_EQ(seen[0].frame.rsp, seen[0].frame.rcx);
	}
}

/* --- SYSCALL and SYSRET --- */

struct system_call {
	uint64_t rcx, r11, flags, cs, ss, at;
};
static struct system_call call;

/* Level 3 executes SYSCALL; the target notes what it finds and ends by UD2, which is awaited. */
static uint64_t do_syscall(void *arg)
{
	__asm__ volatile("stc; lea 1f(%%rip), %%rdx; mov %%rdx, %0; syscall; 1: ud2"
			 : "=m"(call.at)
			 :
			 : "rcx", "rdx", "r11", "memory", "cc");
	return 0;
}

extern uint8_t system_call_target[], system_enter_target[];
__asm__(".text; system_call_target:\n"
	"movq %rcx, call(%rip); movq %r11, 8+call(%rip); pushfq; popq 16+call(%rip);"
	"movq %cs, %rax; movq %rax, 24+call(%rip); movq %ss, %rax; movq %rax, 32+call(%rip); ud2\n"
	"system_enter_target: movq %rsp, call(%rip); jmp system_call_target+7");

static void syscall_ready(uint64_t mask)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, (uint64_t)SEL_CODE << 32 | (uint64_t)(SEL_USER_DATA - 8) << 48);
	wrmsr(MSR_LSTAR, (uint64_t)system_call_target);
	wrmsr(MSR_FMASK, mask);
}

static void syscall_done(void)
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
}

TEST(syscall_enters, "",
	"SYSCALL saves RIP in RCX and RFLAGS in R11, loads CS and SS by STAR, clears what FMASK "
	"has",
	NEEDS("exact insn:syscall"))
{
	syscall_ready(FLAG_CF | FLAG_IF);
	memset(&call, 0, sizeof(call));
	see(false);
	EXPECT_TRAP(TRAP_UD, user_call(do_syscall, NULL));
	EXPECT_EQ(call.rcx, call.at);
	EXPECT_EQ(call.r11 & (FLAG_CF | FLAG_IF), FLAG_CF | FLAG_IF);
	EXPECT_EQ(call.r11 & FLAG_RF, 0);
	EXPECT_EQ(call.flags & (FLAG_CF | FLAG_IF), 0);
	EXPECT_EQ(call.flags | FLAG_CF | FLAG_IF, call.r11);
	EXPECT_EQ(call.cs, SEL_CODE);
	EXPECT_EQ(call.ss, SEL_DATA);
	EXPECT_EQ(seen[0].frame.cs, SEL_CODE);
	syscall_done();
}

TEST(syscall_not_enabled, "", "SYSCALL and SYSRET without EFER.SCE are #UD",
	NEEDS("exact insn:syscall"))
{
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~EFER_SCE);
	EXPECT_FAULT(TRAP_UD, 0,
		__asm__ volatile(MARK "syscall"
				 :
				 :
				 : "rax", "rcx", "r11", "memory"));
	EXPECT_FAULT(TRAP_UD, 0, __asm__ volatile(MARK "sysretq" : : : "rax", "memory"));
}

/* SYSRET at level 0. */
static void sysret(uint64_t to, uint64_t flags)
{
	__asm__ volatile("mov %1, %%r11;" MARK "sysretq"
			 :
			 : "c"(to), "d"(flags)
			 : "rax", "r11", "memory");
}

TEST(sysret_leaves, "",
	"SYSRET goes to RCX at level 3 with the selectors of STAR and RFLAGS of R11 without RF",
	NEEDS("insn:syscall"))
{
	uint8_t *code = arena_alloc(16, 16);

	memcpy(code, "\x0f\x0b", 2);
	syscall_ready(0);
	see(false);
	EXPECT_TRAP(TRAP_UD, sysret(phys(code), 2 | FLAG_IF | FLAG_CF));
	EXPECT_EQ(seen[0].frame.rip, phys(code));
	EXPECT_EQ(seen[0].frame.cs, SEL_USER_CODE);
	EXPECT_EQ(seen[0].frame.ss, SEL_USER_DATA);
	EXPECT_EQ(seen[0].frame.rflags & ~FLAG_RF, 2 | FLAG_IF | FLAG_CF);
	syscall_done();
}

TEST(sysret_not_canonical, "",
	"SYSRET to a non-canonical RCX is #GP(0) at level 0 (Intel; AMD's manual has it at the "
	"target)",
	NEEDS("insn:syscall"))
{
	syscall_ready(0);
	see(false);
	EXPECT_TRAP(TRAP_GP, sysret(0x800000000000, 2));
	EXPECT_EQ(seen[0].frame.error, 0);
	if (!is_amd() || seen[0].frame.rip == mark) {
		EXPECT_EQ(seen[0].frame.rip, mark);
		EXPECT_EQ(seen[0].frame.cs, SEL_CODE);
	} else {
		EXPECT_EQ(seen[0].frame.cs, SEL_USER_CODE);
	}
	syscall_done();
}

TEST(sysret_to_32_bits, "", "SYSRET with a 32-bit operand goes to compatibility mode at ECX",
	NEEDS("exact insn:syscall"))
{
	uint8_t *code = arena_alloc(16, 16);
	uint64_t *own = own_descriptors();

	memcpy(code, "\x48\x0f\x0b", 3); /* dec eax; ud2: in 64-bit mode one instruction */
	own[0] = 0x00cffb000000ffff;
	own[1] = 0x00cff3000000ffff;
	own[2] = 0x00affb000000ffff;
	syscall_ready(0);
	wrmsr(MSR_STAR, (uint64_t)SEL_CODE << 32 | (uint64_t)(SEL_OWN | 3) << 48);
	see(false);
	EXPECT_TRAP(TRAP_UD, __asm__ volatile("mov $2, %%r11d; sysretl"
					      :
					      : "c"(phys(code) | 0x1200000000ull)
					      : "rax", "r11", "memory"));
	EXPECT_EQ(seen[0].frame.rip, phys(code) + 1);
	EXPECT_EQ(seen[0].frame.cs, SEL_OWN | 3);
	EXPECT_EQ(seen[0].frame.ss, (SEL_OWN + 8) | 3);
	syscall_done();
}

/* --- SYSENTER and SYSEXIT: AMD's processors have them not in 64-bit mode --- */

static uint64_t do_sysenter(void *arg)
{
	__asm__ volatile(MARK "sysenter" : : : "rax", "rcx", "rdx", "memory");
	return 0;
}

static bool has_sysenter(void)
{
	wrmsr(MSR_SYSENTER_CS, 0);
	see(false);
	return TRAPS(user_call(do_sysenter, NULL)) && seen[0].frame.vector != TRAP_UD;
}

TEST(sysenter_enters, "",
	"SYSENTER loads CS, SS, RIP and RSP by its MSRs and clears IF; a null CS is #GP(0)",
	NEEDS("insn:syscall"))
{
	uint64_t stack = phys(arena_alloc(4096, 4096)) + 4096;

	if (!has_sysenter())
		SKIP("the processor has no SYSENTER in 64-bit mode");
	EXPECT_FAULT(TRAP_GP, 0, user_call(do_sysenter, NULL));
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	wrmsr(MSR_SYSENTER_ESP, stack);
	wrmsr(MSR_SYSENTER_EIP, (uint64_t)system_enter_target);
	memset(&call, 0, sizeof(call));
	see(false);
	EXPECT_TRAP(TRAP_UD, user_call(do_sysenter, NULL));
	EXPECT_EQ(call.rcx, stack);
	EXPECT_EQ(call.cs, SEL_CODE);
	EXPECT_EQ(call.ss, SEL_DATA);
	EXPECT_EQ(call.flags & FLAG_IF, 0);
	wrmsr(MSR_SYSENTER_CS, 0);
}

TEST(sysexit_leaves, "",
	"SYSEXIT goes to RDX at level 3 with RSP of RCX; at a null CS it is #GP(0)",
	NEEDS("insn:syscall"))
{
	uint8_t *code = arena_alloc(16, 16);
	uint64_t *own = own_descriptors();

	if (!has_sysenter())
		SKIP("the processor has no SYSEXIT in 64-bit mode");
	memcpy(code, "\x0f\x0b", 2);
	own[4] = 0x00affb000000ffff; /* SYSENTER_CS + 32 and + 40 */
	own[5] = 0x00cff3000000ffff;
	wrmsr(MSR_SYSENTER_CS, 0);
	EXPECT_FAULT(TRAP_GP, 0, __asm__ volatile(MARK "rex.w sysexit" : : : "rax", "memory"));
	wrmsr(MSR_SYSENTER_CS, SEL_OWN);
	see(false);
	EXPECT_TRAP(TRAP_UD, __asm__ volatile("rex.w sysexit"
					      :
					      : "d"(code), "c"(0x123450ull)
					      : "memory"));
	EXPECT_EQ(seen[0].frame.rip, phys(code));
	EXPECT_EQ(seen[0].frame.rsp, 0x123450);
	EXPECT_EQ(seen[0].frame.cs, (SEL_OWN + 32) | 3);
	EXPECT_EQ(seen[0].frame.ss, (SEL_OWN + 40) | 3);
	wrmsr(MSR_SYSENTER_CS, 0);
}
