/* SPDX-License-Identifier: MIT */
/*
 * TESTs. A kernel is a list of them; this is all one has to know to write one:
 *
 *	#include "runtime/test.h"
 *
 *	TEST(reset_clears_status, "RST-DEV-01", "status reads 0 after a reset", NEEDS("pci"))
 *	{
 *		...
 *		EXPECT_EQ(virtio_status(dev), 0);
 *	}
 *
 * EXPECT_x notes a failure and goes on; ASSERT_x leaves the TEST. Before each TEST the runtime
 * masks all interrupt sources, empties the arena, loads its IDT and runs drivers' reset hooks.
 */
#ifndef ASSAY_RUNTIME_TEST_H
#define ASSAY_RUNTIME_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/needs.h"
#include "runtime/print.h"
#include "runtime/traps.h"

#define TEST_VERSION 1
#define TEST_LIFE    1u /* may be saved or migrated at a checkpoint */

/* 64 bytes, because gcc places objects of other sizes at another stride in the section. */
struct test {
	uint32_t version;
	uint32_t flags;
	const char *name;
	const char *clauses;
	const char *sentence;
	const char *needs; /* NULL: none */
	void (*run)(void);
	uint64_t reserved[2];
} __attribute__((aligned(8)));
_Static_assert(sizeof(struct test) == 64, "the harness reads records of 64 bytes");

/* TEST(name, clause ids by spaces, sentence, NEEDS("...") and LIFE if wanted) { ... } */
#define TEST(test_name, clause_ids, what, ...)                                          \
	static void test_##test_name(void);                                             \
	static struct test test_record_##test_name __attribute__((                      \
		used, section(".assay.tests"), aligned(8))) = {.version = TEST_VERSION, \
		.name = #test_name,                                                     \
		.clauses = (clause_ids),                                                \
		.sentence = (what),                                                     \
		.run = test_##test_name,                                                \
		__VA_ARGS__};                                                           \
	static void test_##test_name(void)

#define LIFE .flags = TEST_LIFE

/* A hook that drivers add (once, at set-up of their device) to put the device back before each
 * TEST. */
struct test_reset_hook {
	void (*reset)(void *opaque);
	void *opaque;
	struct test_reset_hook *next;
};
void test_reset_hook(struct test_reset_hook *hook);

/* Called by driver libraries after set-up and between submit and wait: where a life cycle may cut
 * in. */
void checkpoint(void);

enum verdict {
	VERDICT_PASS,
	VERDICT_SKIP,
	VERDICT_DEVIATES,
	VERDICT_FAIL,
	VERDICT_LEAK,
	VERDICT_ERROR
};

/* The verdict of the running TEST gets at least as bad as this; the text is printed as a
 * diagnostic. */
__attribute__((format(printf, 2, 3))) void test_verdict(
	enum verdict verdict, const char *format, ...);
/* Ends the running TEST with the verdict it has. */
void test_leave(void) __attribute__((noreturn));
/* One comparison; false and a diagnostic where it does not hold. */
bool test_expect(bool holds, const char *what, const char *relation, int64_t expected, int64_t got,
	const char *file, int line);
void test_metric(const char *key, uint64_t value);
/* The name of the running TEST. */
const char *test_name(void);
/* Bits decided by the run's seed=N and the TEST's name: the same seed gives the same sequence. */
uint64_t test_random(void);

#define TEST_RELATION_(a, op, b)                                                           \
	({                                                                                 \
		__auto_type got_ = (a);                                                    \
		__auto_type expected_ = (b);                                               \
		test_expect(got_ op expected_, #a, #op, (int64_t)expected_, (int64_t)got_, \
			__FILE__, __LINE__);                                               \
	})
#define TEST_ASSERT_(holds)           \
	do {                          \
		if (!(holds))         \
			test_leave(); \
	} while (0)

/* The value that was found stands first, the value that is required second. */
#define EXPECT_EQ(got, expected) TEST_RELATION_((uint64_t)(got), ==, (uint64_t)(expected))
#define EXPECT_NE(got, other)	 TEST_RELATION_((uint64_t)(got), !=, (uint64_t)(other))
#define EXPECT_GE(got, least)	 TEST_RELATION_((uint64_t)(got), >=, (uint64_t)(least))
#define EXPECT_LE(got, most)	 TEST_RELATION_((uint64_t)(got), <=, (uint64_t)(most))
#define EXPECT_GT(got, other)	 TEST_RELATION_((uint64_t)(got), >, (uint64_t)(other))
#define EXPECT_LT(got, other)	 TEST_RELATION_((uint64_t)(got), <, (uint64_t)(other))
#define EXPECT_TRUE(holds)	 test_expect(!!(holds), #holds, "is", 1, 0, __FILE__, __LINE__)
#define EXPECT_FALSE(holds)	 test_expect(!(holds), #holds, "is", 0, 1, __FILE__, __LINE__)
/* Bytes at got and expected are equal; the first difference is printed. */
#define EXPECT_MEM(got, expected, size) \
	test_expect_memory(got, expected, size, #got, __FILE__, __LINE__)
bool test_expect_memory(const void *got, const void *expected, size_t size, const char *what,
	const char *file, int line);

#define ASSERT_EQ(got, expected)	TEST_ASSERT_(EXPECT_EQ(got, expected))
#define ASSERT_NE(got, other)		TEST_ASSERT_(EXPECT_NE(got, other))
#define ASSERT_GE(got, least)		TEST_ASSERT_(EXPECT_GE(got, least))
#define ASSERT_LE(got, most)		TEST_ASSERT_(EXPECT_LE(got, most))
#define ASSERT_GT(got, other)		TEST_ASSERT_(EXPECT_GT(got, other))
#define ASSERT_LT(got, other)		TEST_ASSERT_(EXPECT_LT(got, other))
#define ASSERT_TRUE(holds)		TEST_ASSERT_(EXPECT_TRUE(holds))
#define ASSERT_FALSE(holds)		TEST_ASSERT_(EXPECT_FALSE(holds))
#define ASSERT_MEM(got, expected, size) TEST_ASSERT_(EXPECT_MEM(got, expected, size))

/* The statement must trap with this vector; details are in trap_last. */
#define EXPECT_TRAP(vector_, statement)                                                     \
	({                                                                                  \
		bool trapped_ = TRAPS(statement);                                           \
		test_expect(trapped_ &&trap_last.vector == (uint64_t)(vector_), #statement, \
			"traps with", (vector_), trapped_ ? (int64_t)trap_last.vector : -1, \
			__FILE__, __LINE__);                                                \
	})
#define ASSERT_TRAP(vector, statement) TEST_ASSERT_(EXPECT_TRAP(vector, statement))

/* The rest leave the TEST, except DEVIATES (a SHOULD that is not kept) and metric(). */
#define SKIP(...)	   (test_verdict(VERDICT_SKIP, __VA_ARGS__), test_leave())
#define FAIL(...)	   (test_verdict(VERDICT_FAIL, __VA_ARGS__), test_leave())
#define ERROR(...)	   (test_verdict(VERDICT_ERROR, __VA_ARGS__), test_leave())
#define LEAK(...)	   (test_verdict(VERDICT_LEAK, __VA_ARGS__), test_leave())
#define DEVIATES(...)	   test_verdict(VERDICT_DEVIATES, __VA_ARGS__)
#define metric(key, value) test_metric(key, value)

/* Diagnostics of the running TEST: a line "# ..." */
__attribute__((format(printf, 1, 2))) void note(const char *format, ...);

#endif
