/* SPDX-License-Identifier: MIT */
/*
 * Garbage as code, at each privilege and in each mode: random bytes, and valid instructions with
 * random operands, privileged ones among them, in a machine whose tables are partly garbage, too.
 * Interrupts come at odd moments, devices write to the code.  Whatever happens, the processor goes
 * on, or halts, or asks for a reset; it touches no memory but the guest's.
 *
 *   FUZZ_INSTRUCTIONS=N   how many (default 400,000; `make fuzz`: 10 million, with the sanitizers)
 *   FUZZ_SEED=N           the first episode's; one that fails names its own, and
 * FUZZ_INSTRUCTIONS=1 runs it alone
 */
#include <signal.h>
#include <unistd.h>

#include "fuzz-machine.h"

#define INSTRUCTIONS 400000ull
#define SLICES	     24
#define SLICE	     200
#define STILL	     5 /* slices without an instruction that are too many */

static uint64_t episode_seed;
static enum fuzz_mode episode_mode;
static unsigned episode_cpl;
static char episode_text[160]; /* for a handler of signals, which may only write */
static uint64_t tallies[Z_MODES], resets, halts, episodes;

/* The sanitizers are to end with SIGABRT, so that the episode is named then, too. */
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	return "abort_on_error=1:handle_segv=1";
}

const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

static void name_episode(void)
{
	snprintf(episode_text, sizeof(episode_text),
		"again: FUZZ_INSTRUCTIONS=1 FUZZ_SEED=%llu (%s, privilege %u)\n",
		(unsigned long long)episode_seed, fuzz_mode_names[episode_mode], episode_cpl);
}

static void on_crash(int number)
{
	(void)!write(STDERR_FILENO, episode_text, strlen(episode_text));
	signal(number, SIG_DFL);
	raise(number);
}

static void name_crashes(void)
{
	static const int numbers[] = {
		SIGABRT, SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL}; /* the last four are ASan's */
	unsigned count = sizeof(numbers) / sizeof(numbers[0]);

#ifdef __SANITIZE_ADDRESS__
	count = 2;
#endif
	for (unsigned n = 0; n < count; n++)
		signal(numbers[n], on_crash);
}

static bool any_instruction(
	const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operand, unsigned mode)
{
	return true;
}

/* What is not so in the processor, or NULL; its shortcuts to memory must lead to the guest's. */
static const char *wrong_in_processor(void)
{
	for (unsigned user = 0; user < 2; user++)
		for (unsigned n = 0; n < TLB_ENTRIES; n++) {
			const struct tlb_entry *e = &cpu->tlb[user][n];
			const uint64_t tags[] = {e->read, e->write, e->execute};

			for (unsigned t = 0; t < 3; t++)
				if (tags[t] != TLB_INVALID &&
					tags[t] + e->offset - (uintptr_t)ram > RAM_SIZE - 0x1000)
					return "a translation leads out of memory";
		}
	if (cpu->cpl > 3 || cpu->user != (cpu->cpl == 3))
		return "the privilege is not one";
	if (!(cpu->flags & 2) || cpu->flags >> 22)
		return "reserved flags changed";
	if ((cpu->efer & EFER_LMA && !(cpu->cr0 & CR0_PG)) ||
		(cpu->cr0 & CR0_PG && !(cpu->cr0 & CR0_PE)))
		return "the mode is not one";
	if (!cpu->long_mode && cpu->rip >> 32)
		return "RIP is wider than the mode";
	return NULL;
}

/* What comes from outside, between two slices. */
static void disturb(void)
{
	uint8_t bytes[64];

	switch (below(6)) {
	case 0: soft_engine_ops.inject_nmi(machine.engine, 0); break;
	case 1:
		soft_lapic_message(
			soft, (struct msi_message){0xfee00000 | (one_in(4) ? 0xff000 : 0),
				      random_bits(one_in(4) ? 16 : 8)});
		break;
	case 2:
		for (unsigned n = 0; n < sizeof(bytes); n++)
			bytes[n] = random_bits(8);
		guest_write(&machine.memory, Z_CODE + random_bits(16), bytes, 1 + below(64));
		break;
	default: break;
	}
}

static const char *wrong;

/* Returns how many instructions it had. */
static uint64_t run_episode(void)
{
	uint64_t before;
	unsigned still = 0;

	alarm(60);
	episode_mode = below(Z_MODES);
	episode_cpl = episode_mode == Z_REAL ? 0 : episode_mode == Z_V86 ? 3 : one_in(2) ? 3 : 0;
	name_episode();
	z_start(episode_mode, episode_cpl, !one_in(3));
	for (unsigned slice = 0; slice < SLICES && !wrong; slice++) {
		before = cpu->instructions;
		soft_run(cpu, SLICE);
		wrong = wrong_in_processor();
		if (machine_request_pending(&machine)) {
			machine.reset_requested = machine.shutdown_requested = false;
			resets++;
			break;
		}
		if (cpu->halted && !(cpu->flags & F_IF))
			halts++;
		else if (!cpu->halted && !cpu->yielded && !cpu->waits_for_sipi &&
			 cpu->instructions == before)
			still++;
		else
			still = 0;
		/* A turn may end before it began, for a timer; not many in a row. */
		if (still == STILL)
			wrong = "it stands still";
		disturb();
	}
	alarm(0);
	tallies[episode_mode] += cpu->instructions;
	episodes++;
	return cpu->instructions;
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void garbage_is_survived(void **state)
{
	uint64_t count = from_environment("FUZZ_INSTRUCTIONS", INSTRUCTIONS), done = 0;
	FILE *said = stderr;

	name_crashes();
	forms_find(any_instruction);
	/* Each triple fault has its line; there are thousands. */
	stderr = fopen("/dev/null", "w");
	episode_seed = from_environment("FUZZ_SEED", 1);
	for (; done < count && !wrong; episode_seed++) {
		seed = episode_seed * 0x9e3779b97f4a7c15 | 1;
		random64();
		done += run_episode();
	}
	fclose(stderr);
	stderr = said;
	if (wrong)
		fail_msg("%s: FUZZ_INSTRUCTIONS=1 FUZZ_SEED=%llu (%s, privilege %u), RIP %llx",
			wrong, (unsigned long long)episode_seed - 1, fuzz_mode_names[episode_mode],
			episode_cpl, (unsigned long long)cpu->rip);
	print_message("%llu instructions in %llu episodes, seeds to %llu: %llu resets, %llu halts;",
		(unsigned long long)done, (unsigned long long)episodes,
		(unsigned long long)episode_seed - 1, (unsigned long long)resets,
		(unsigned long long)halts);
	for (unsigned mode = 0; mode < Z_MODES; mode++)
		print_message(" %s %llu", fuzz_mode_names[mode], (unsigned long long)tallies[mode]);
	print_message("\n");
	if (count >= INSTRUCTIONS)
		for (unsigned mode = 0; mode < Z_MODES; mode++)
			assert_true(tallies[mode] > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(garbage_is_survived),
	};

	return cmocka_run_group_tests(tests, start_soft, end_soft);
}
