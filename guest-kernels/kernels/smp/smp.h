/* SPDX-License-Identifier: MIT */
/* Kernel smp: what its files share. */
#ifndef ASSAY_KERNELS_SMP_H
#define ASSAY_KERNELS_SMP_H

#include "runtime/smp.h"
#include "runtime/test.h"
#include "runtime/time.h"

#define SMP   NEEDS("smp>=2")
#define THREE NEEDS("smp>=3")

/* A bit for each processor. */
#define EVERY ((1u << smp_count()) - 1)

/* The vector arrives once at each processor of the set, and no vector anywhere else. */
void expect_at(uint32_t set, unsigned vector);
/* `times` interrupts of the vector in all, at processors of the set, and no other. */
void expect_in_all(uint32_t set, unsigned vector, uint32_t times);
/* fn(arg) on every processor at one time, this one too; returns when all are back. */
void run_everywhere(smp_fn *fn, void *arg);
/* On another processor: waits, looking, until *(volatile uint32_t *)arg is not 0. */
uint64_t wait_for_word(void *arg);

#endif
