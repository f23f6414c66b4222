/* SPDX-License-Identifier: MIT */
/*
 * Running a function at CPL 3. On a host whose KVM interprets CPL 0, only CPL 3 is at native speed,
 * so checksums, copies and compares of much data go through here; on every other machine it changes
 * nothing.
 */
#ifndef ASSAY_RUNTIME_USER_H
#define ASSAY_RUNTIME_USER_H

#include <stddef.h>
#include <stdint.h>

/*
 * fn(arg) at CPL 3 on a stack of its own (32 KiB), and its result. fn may use all memory, and no
 * privileged instruction, no port, no print() and no EXPECT. Not nested, not from interrupt
 * handlers.
 */
uint64_t user_call(uint64_t (*fn)(void *arg), void *arg);

/* The usual work, at CPL 3 where the amount makes that worth while. */
uint32_t user_crc32c(uint32_t crc, const void *data, size_t size);
void user_memcpy(void *to, const void *from, size_t size);
void user_memset(void *to, int value, size_t size);
int user_memcmp(const void *a, const void *b, size_t size);
/* Fills with a pattern that differs in every 8 bytes and with `seed`; finds the first difference,
 * or `size`. */
void user_fill(void *to, size_t size, uint64_t seed);
size_t user_verify(const void *at, size_t size, uint64_t seed);

#endif
