/* SPDX-License-Identifier: MIT */
/*
 * How fast the processor computes: CRC-32C by table, SHA-256 (FIPS 180-4), quicksort with a
 * comparison by pointer, a copy by words, and a small machine of bytecodes.
 *
 * Each TEST computes something whose answer is known and checks it in every round, so a processor
 * that is fast and wrong does not pass.  "scale=N" on the command line multiplies the rounds; the
 * default is for a processor of two million instructions a second.  Metrics: rounds, ns by the
 * TSC, and instructions where the probe device counts them (docs/probe.md).
 *
 * General registers only, like every kernel.  Copies by REP MOVS are not here: one instruction of
 * them is as long as one likes, which says nothing of instructions a second.
 */
#include "runtime/boot.h"
#include "runtime/io.h"
#include "runtime/memory.h"
#include "runtime/probe.h"
#include "runtime/test.h"
#include "runtime/time.h"

/* Runs `round` so often, and reports it: false from a round is a wrong answer. */
static void measure(uint64_t rounds, bool (*round)(void))
{
	bool probe = probe_present(), right = true;
	uint64_t begin, ns;

	rounds *= cmdline_number("scale", 1);
	tsc_per_us(); /* calibrated now, not in the region */
	if (probe) {
		probe_clear(0);
		probe_begin();
	}
	begin = rdtsc();
	for (uint64_t n = 0; n < rounds; n++)
		right &= round();
	if (probe)
		probe_end();
	ns = tsc_to_ns(rdtsc() - begin);
	EXPECT_TRUE(right);
	metric("rounds", rounds);
	metric("ns", ns);
	if (probe && probe_sum(PROBE_INSTRUCTIONS) != PROBE_ABSENT)
		metric("instructions", probe_sum(PROBE_INSTRUCTIONS));
}

/* CRC-32C */

#define CRC_BYTES 1024
static uint32_t crc_table[256];
static uint8_t crc_data[CRC_BYTES];

static uint32_t crc_by_table(const uint8_t *at, size_t size)
{
	uint32_t crc = ~0u;

	for (const uint8_t *end = at + size; at < end; at++)
		crc = crc_table[(crc ^ *at) & 0xff] ^ crc >> 8;
	return ~crc;
}

static bool crc_round(void)
{
	return crc_by_table(crc_data, CRC_BYTES) == 0x2cdf6e8f;
}

TEST(crc32c, "", "CRC-32C by table gives the values of RFC 3720")
{
	/* The table of the reflected polynomial, from its powers of two. */
	for (uint32_t bit = 128, value = 0x82f63b78; bit; bit >>= 1) {
		for (uint32_t i = 0; i < 256; i += 2 * bit)
			crc_table[i + bit] = crc_table[i] ^ value;
		value = value >> 1 ^ (value & 1 ? 0x82f63b78 : 0);
	}
	for (unsigned i = 0; i < CRC_BYTES; i++)
		crc_data[i] = i;
	EXPECT_EQ(crc_by_table((const uint8_t *)"123456789", 9), 0xe3069283);
	EXPECT_EQ(crc_by_table(crc_data, 32), 0x46dd794e);
	measure(4, crc_round);
}

/* SHA-256 */

static const uint32_t sha_k[64] = {0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b,
	0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6,
	0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d,
	0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85,
	0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585,
	0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
	0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa,
	0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t ror32(uint32_t x, unsigned n)
{
	return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const uint8_t *block)
{
	uint32_t w[64], s[8];

	for (unsigned t = 0; t < 16; t++)
		w[t] = __builtin_bswap32(((const uint32_t *)block)[t]);
	for (unsigned t = 16; t < 64; t++)
		w[t] = (ror32(w[t - 2], 17) ^ ror32(w[t - 2], 19) ^ w[t - 2] >> 10) + w[t - 7] +
		       (ror32(w[t - 15], 7) ^ ror32(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 16];
	for (unsigned i = 0; i < 8; i++)
		s[i] = h[i];
	for (unsigned t = 0; t < 64; t++) {
		uint32_t e = s[4], a = s[0];
		uint32_t t1 = s[7] + (ror32(e, 6) ^ ror32(e, 11) ^ ror32(e, 25)) +
			      ((e & s[5]) ^ (~e & s[6])) + sha_k[t] + w[t];
		uint32_t t2 = (ror32(a, 2) ^ ror32(a, 13) ^ ror32(a, 22)) +
			      ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));

		s[7] = s[6];
		s[6] = s[5];
		s[5] = e;
		s[4] = s[3] + t1;
		s[3] = s[2];
		s[2] = s[1];
		s[1] = a;
		s[0] = t1 + t2;
	}
	for (unsigned i = 0; i < 8; i++)
		h[i] += s[i];
}

/* The message of two blocks of FIPS 180-4's examples: 56 bytes, so the length is in the second. */
static bool sha_round(void)
{
	static const char text[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
	static const uint32_t digest[8] = {0x248d6a61, 0xd20638b8, 0xe5c02693, 0x0c3e6039,
		0xa33ce459, 0x64ff2167, 0xf6ecedd4, 0x19db06c1};
	uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
		0x1f83d9ab, 0x5be0cd19};
	static _Alignas(4) uint8_t message[128];
	uint32_t wrong = 0;

	for (unsigned i = 0; i < 56; i++)
		message[i] = text[i];
	message[56] = 0x80;
	message[126] = 56 * 8 >> 8;
	message[127] = (uint8_t)(56 * 8);
	sha_block(h, message);
	sha_block(h, message + 64);
	for (unsigned i = 0; i < 8; i++)
		wrong |= h[i] ^ digest[i];
	return !wrong;
}

TEST(sha256, "", "SHA-256 of the two-block example has the digest of FIPS 180-4")
{
	measure(4, sha_round);
}

/* Quicksort */

#define SORTED 256
static uint32_t sort_data[SORTED], sort_seed;

typedef int sort_order(const void *a, const void *b);

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void swap(uint32_t *a, uint32_t *b)
{
	uint32_t t = *a;

	*a = *b;
	*b = t;
}

static void sort(uint32_t *first, uint32_t *last, sort_order *order)
{
	while (first < last) {
		uint32_t *low = first - 1, *high = last + 1, pivot = first[(last - first) / 2];

		for (;;) {
			do
				low++;
			while (order(low, &pivot) < 0);
			do
				high--;
			while (order(high, &pivot) > 0);
			if (low >= high)
				break;
			swap(low, high);
		}
		sort(first, high, order);
		first = high + 1;
	}
}

static bool sort_round(void)
{
	static sort_order *volatile order = by_value; /* a call through a pointer, as qsort's is */
	uint32_t sum = 0, after = 0;
	bool right = true;

	for (unsigned i = 0; i < SORTED; i++) {
		sort_seed = sort_seed * 1664525 + 1013904223;
		sort_data[i] = sort_seed;
		sum += sort_seed;
	}
	sort(sort_data, sort_data + SORTED - 1, order);
	for (unsigned i = 0; i < SORTED; i++) {
		after += sort_data[i];
		right &= !i || sort_data[i - 1] <= sort_data[i];
	}
	return right && sum == after;
}

TEST(qsort, "", "quicksort leaves the numbers it was given, in order")
{
	sort_seed = 1;
	measure(1, sort_round);
}

/* Copy */

#define COPIED 1024 /* words */
static uint64_t copy_from[COPIED], copy_to[COPIED], copy_key;

/* Kept a loop: the compiler would call memcpy, which is one instruction here. */
__attribute__((noinline, optimize("no-tree-loop-distribute-patterns"))) static void copy_words(
	uint64_t *to, const uint64_t *from, size_t count)
{
	for (size_t i = 0; i < count; i += 4) {
		uint64_t a = from[i], b = from[i + 1], c = from[i + 2], d = from[i + 3];

		to[i] = a;
		to[i + 1] = b;
		to[i + 2] = c;
		to[i + 3] = d;
	}
}

static bool copy_round(void)
{
	uint64_t at = ++copy_key * 61 % COPIED;

	copy_from[at] = copy_key;
	copy_words(copy_to, copy_from, COPIED);
	return copy_to[at] == copy_key &&
	       copy_to[(at + 512) % COPIED] == copy_from[(at + 512) % COPIED];
}

TEST(memcpy, "", "a copy by words has every word that was written")
{
	copy_key = 0;
	measure(8, copy_round);
	EXPECT_EQ(memcmp(copy_to, copy_from, sizeof(copy_to)), 0);
}

/* Bytecodes: a stack machine that walks Collatz's sequence */

enum { PUSH, LOAD, STORE, ADD, MULTIPLY, HALVE, IS_ODD, EQUALS, JUMP_IF, JUMP, STOP };

static uint64_t execute(const uint8_t *program, uint64_t argument)
{
	uint64_t stack[16], variables[4] = {argument}, *top = stack;

	for (const uint8_t *at = program;;) {
		switch (*at++) {
		case PUSH: *++top = *at++; break;
		case LOAD: *++top = variables[*at++ & 3]; break;
		case STORE: variables[*at++ & 3] = *top--; break;
		case ADD: top--, top[0] += top[1]; break;
		case MULTIPLY: top--, top[0] *= top[1]; break;
		case HALVE: *top >>= 1; break;
		case IS_ODD: *top &= 1; break;
		case EQUALS: top--, top[0] = top[0] == top[1]; break;
		case JUMP_IF: at = *top-- ? program + *at : at + 1; break;
		case JUMP: at = program + *at; break;
		default: return variables[1];
		}
	}
}

static bool bytecode_round(void)
{
	/* v0: the number, v1: steps taken until it is 1 */
	static const uint8_t collatz[] = {/* 0 */ PUSH, 0, STORE, 1,
		/* 4: is it 1? */ LOAD, 0, PUSH, 1, EQUALS, JUMP_IF, 42,
		/* 11 */ LOAD, 1, PUSH, 1, ADD, STORE, 1,
		/* 18 */ LOAD, 0, IS_ODD, JUMP_IF, 30,
		/* 23: even */ LOAD, 0, HALVE, STORE, 0, JUMP, 4,
		/* 30: odd */ PUSH, 3, LOAD, 0, MULTIPLY, PUSH, 1, ADD, STORE, 0, JUMP, 4,
		/* 42 */ STOP};

	return execute(collatz, 27) == 111;
}

TEST(bytecode, "", "a machine of bytecodes finds that 27 is 111 steps from 1")
{
	measure(2, bytecode_round);
}
