/* SPDX-License-Identifier: MIT */
/*
 * Memory functions, the arena, guarded buffers and CRC-32C (slicing by 8; the tables are made by
 * the assembler, runtime/crc32c-table.asm).
 */
#include "runtime/memory.h"
#include "runtime/boot.h"
#include "runtime/test.h"

/* Eight bytes a step: some hosts interpret string instructions step by step. */
void *memcpy(void *to, const void *from, size_t size)
{
	void *at = to;
	size_t words = size / 8, rest = size % 8;

	__asm__ volatile("rep movsq" : "+D"(at), "+S"(from), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(rest) : : "memory");
	return to;
}

void *memset(void *to, int value, size_t size)
{
	void *at = to;
	size_t words = size / 8, rest = size % 8;
	uint64_t word = (uint8_t)value * 0x0101010101010101ull;

	__asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(word) : "memory");
	__asm__ volatile("rep stosb" : "+D"(at), "+c"(rest) : "a"(word) : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	char *t = to;
	const char *f = from;

	if (t <= f || t >= f + size)
		return memcpy(to, from, size);
	t += size - 1;
	f += size - 1;
	__asm__ volatile("std; rep movsb; cld" : "+D"(t), "+S"(f), "+c"(size) : : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const uint8_t *x = a, *y = b;
	bool differs = false;
	size_t words = size / 8, rest = size % 8;

	if (words) {
		__asm__ volatile("repe cmpsq"
				 : "+S"(x), "+D"(y), "+c"(words), "=@ccnz"(differs)
				 :
				 : "memory");
		if (differs) { /* somewhere in the last eight */
			x -= 8;
			y -= 8;
			rest = 8;
		}
	}
	if (rest == 0)
		return 0;
	__asm__ volatile("repe cmpsb"
			 : "+S"(x), "+D"(y), "+c"(rest), "=@ccnz"(differs)
			 :
			 : "memory");
	return differs ? x[-1] - y[-1] : 0;
}

size_t strlen(const char *s)
{
	const char *at = s;

	while (*at)
		at++;
	return at - s;
}

int strcmp(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return (uint8_t)*a - (uint8_t)*b;
}

int strncmp(const char *a, const char *b, size_t size)
{
	while (size && *a && *a == *b) {
		a++;
		b++;
		size--;
	}
	return size ? (uint8_t)*a - (uint8_t)*b : 0;
}

bool memory_is(const void *at, int value, size_t size, size_t *where)
{
	const uint8_t *byte = at;
	bool same = true;
	size_t words = size / 8, left = size % 8;
	uint64_t word = (uint8_t)value * 0x0101010101010101ull;

	if (words) {
		__asm__ volatile("repe scasq"
				 : "+D"(byte), "+c"(words), "=@ccz"(same)
				 : "a"(word)
				 : "memory");
		if (!same) {
			byte -= 8;
			left = 8;
		}
	}
	if (left)
		__asm__ volatile("repe scasb"
				 : "+D"(byte), "+c"(left), "=@ccz"(same)
				 : "a"(word)
				 : "memory");
	if (!same && where)
		*where = byte - 1 - (const uint8_t *)at;
	return same;
}

static struct {
	uint64_t base, next, end;
} arena;

/* The run of RAM from `base` on, within its range and up to the next module; kept if it is the
 * best. */
static void arena_consider(uint64_t base)
{
	uint64_t end = 0;

	base = (base + 0xfff) & ~0xfffull;
	for (unsigned i = 0; i < boot_info.range_count; i++) {
		const struct memory_range *range = &boot_info.ranges[i];

		if (range->type == MEMORY_RAM && base >= range->base &&
			base - range->base < range->size)
			end = range->base + range->size;
	}
	if (end > 1ull << 32)
		end = 1ull << 32;
	for (unsigned i = 0; i < boot_info.module_count; i++) {
		const struct boot_module *module = &boot_info.modules[i];

		if (base < module->base + module->size && module->base < end)
			end = module->base;
	}
	if (end > base && end - base > arena.end - arena.base) {
		arena.base = arena.next = base;
		arena.end = end;
	}
}

/* The largest run of RAM above the kernel and below 4 GiB that no module lies in. */
void arena_init(void)
{
	uint64_t low = boot_info.protocol == BOOT_UEFI ? 0x100000 : (uint64_t)kernel_end;

	arena_consider(low);
	for (unsigned i = 0; i < boot_info.range_count; i++)
		if (boot_info.ranges[i].base > low)
			arena_consider(boot_info.ranges[i].base);
	for (unsigned i = 0; i < boot_info.module_count; i++)
		if (boot_info.modules[i].base >= low)
			arena_consider(boot_info.modules[i].base + boot_info.modules[i].size);
	/* A loader may put the start info, its strings and ACPI tables at the very top. */
	if (arena.end - arena.base > 0x200000)
		arena.end -= 0x100000;
}

void *arena_alloc_raw(size_t size, size_t align)
{
	uint64_t at;

	if (align == 0)
		align = 16;
	at = (arena.next + align - 1) & ~((uint64_t)align - 1);
	if (at + size > arena.end || at + size < at)
		ERROR("the arena has %zu bytes left, %zu were asked for", arena_left(), size);
	arena.next = at + size;
	return (void *)at;
}

void *arena_alloc(size_t size, size_t align)
{
	return memset(arena_alloc_raw(size, align), 0, size);
}

size_t arena_left(void)
{
	return arena.end - arena.next;
}

void arena_keep(void)
{
	arena.base = arena.next;
}

/* Guarded buffers stand in a list, so that the end of a TEST can check them all. */
#define GUARD	    64
#define CANARY	    0xc3
#define GUARDED_MAX 128

static struct {
	uint8_t *at;
	size_t size;
} guarded[GUARDED_MAX];
static unsigned guarded_count;

void arena_reset(void)
{
	arena.next = arena.base;
	guarded_count = 0;
}

void *guarded_alloc_aligned(size_t size, size_t align)
{
	uint64_t at;

	if (guarded_count == GUARDED_MAX)
		ERROR("more than %d guarded buffers", GUARDED_MAX);
	if (align < GUARD)
		align = GUARD;
	at = (uint64_t)arena_alloc_raw(GUARD + align + size + GUARD, GUARD);
	at = (at + GUARD + align - 1) & ~((uint64_t)align - 1);
	memset((void *)(at - GUARD), CANARY, GUARD);
	memset((void *)at, 0, size);
	memset((void *)(at + size), CANARY, GUARD);
	guarded[guarded_count].at = (uint8_t *)at;
	guarded[guarded_count++].size = size;
	return (void *)at;
}

void *guarded_alloc(size_t size)
{
	return guarded_alloc_aligned(size, GUARD);
}

bool guarded_check(void)
{
	bool good = true;
	size_t where;

	for (unsigned i = 0; i < guarded_count; i++) {
		uint8_t *at = guarded[i].at;
		size_t size = guarded[i].size;

		if (!memory_is(at - GUARD, CANARY, GUARD, &where)) {
			test_verdict(VERDICT_LEAK, "byte %zu before a buffer of %zu was written",
				GUARD - where, size);
			good = false;
		}
		if (!memory_is(at + size, CANARY, GUARD, &where)) {
			test_verdict(VERDICT_LEAK, "byte %zu behind a buffer of %zu was written",
				where, size);
			good = false;
		}
		if (!good) { /* said once, not again at the end of the TEST */
			memset(at - GUARD, CANARY, GUARD);
			memset(at + size, CANARY, GUARD);
		}
	}
	return good;
}

extern const uint32_t crc32c_table[8][256];

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
	const uint8_t *at = data;
	uint64_t word;

	crc = ~crc;
	for (; size >= 8; size -= 8, at += 8) {
		__builtin_memcpy(&word, at, 8);
		word ^= crc;
		crc = crc32c_table[7][word & 0xff] ^ crc32c_table[6][word >> 8 & 0xff] ^
		      crc32c_table[5][word >> 16 & 0xff] ^ crc32c_table[4][word >> 24 & 0xff] ^
		      crc32c_table[3][word >> 32 & 0xff] ^ crc32c_table[2][word >> 40 & 0xff] ^
		      crc32c_table[1][word >> 48 & 0xff] ^ crc32c_table[0][word >> 56];
	}
	while (size--)
		crc = crc >> 8 ^ crc32c_table[0][(crc ^ *at++) & 0xff];
	return ~crc;
}
