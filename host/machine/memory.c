/* SPDX-License-Identifier: MIT */
/* Blocks of guest memory and the checked accessor over them (memory.h). */
#include "machine/memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/count.h"
#include "base/fault.h"

#define HUGE_PAGE (2ull << 20)
#define PAGE	  4096ULL

/*
 * Large blocks lie in the host as they lie in the guest, modulo the size of a huge page, so that
 * both the engine's page tables and the pinning of I/O buffers can use huge pages.
 */
static void *map_ram(uint64_t address, uint64_t size)
{
	uint64_t spare = size >= HUGE_PAGE ? HUGE_PAGE : 0, lead;
	uint8_t *host = mmap(NULL, size + spare, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (host == MAP_FAILED || !spare)
		return host;
	lead = (address - (uintptr_t)host) & (HUGE_PAGE - 1);
	if (lead)
		munmap(host, lead);
	if (lead < spare)
		munmap(host + lead + size, spare - lead);
	madvise(host + lead, size, MADV_HUGEPAGE); /* a wish; a host without them is no error */
	return host + lead;
}

int memory_add(struct guest_memory *mem, const char *name, uint64_t address, uint64_t size,
	bool readonly, struct error *err)
{
	struct ram_block *block;
	unsigned at = mem->count;
	void *host;

	if (!size || (address | size) % PAGE || address + size < address)
		return error_set(err, EINVAL, "memory %s: bad range", name);
	if (mem->count == RAM_BLOCKS_MAX)
		return error_set(err, ENOSPC, "memory %s: too many blocks", name);
	while (at > 0 && mem->blocks[at - 1].address > address)
		at--;
	if ((at > 0 && mem->blocks[at - 1].address + mem->blocks[at - 1].size > address) ||
		(at < mem->count && address + size > mem->blocks[at].address))
		return error_set(err, EEXIST, "memory %s: overlaps another block", name);
	host = map_ram(address, size);
	if (host == MAP_FAILED)
		return error_set_errno(err, errno, "cannot set up guest memory '%s'", name);
	memmove(&mem->blocks[at + 1], &mem->blocks[at], (mem->count - at) * sizeof(mem->blocks[0]));
	block = &mem->blocks[at];
	mem->count++;
	*block = (struct ram_block){
		.name = name, .address = address, .size = size, .host = host, .readonly = readonly};
	if (mem->listener)
		return mem->listener->block_added(mem->listener->opaque, block, err);
	return 0;
}

void memory_destroy(struct guest_memory *mem)
{
	for (unsigned i = 0; i < mem->count; i++)
		munmap(mem->blocks[i].host, mem->blocks[i].size);
	mem->count = 0;
}

int memory_listen(struct guest_memory *mem, struct memory_listener *listener, struct error *err)
{
	int rc = 0;

	mem->listener = listener;
	for (unsigned i = 0; i < mem->count && rc == 0; i++)
		rc = listener->block_added(listener->opaque, &mem->blocks[i], err);
	return rc;
}

static struct ram_block *block_at(struct guest_memory *mem, uint64_t address)
{
	for (unsigned i = 0; i < mem->count; i++)
		if (address - mem->blocks[i].address < mem->blocks[i].size)
			return &mem->blocks[i];
	return NULL;
}

static void unpin(struct span *span, uint64_t address, uint64_t length)
{
	while (length) {
		struct ram_block *block = block_at(span->mem, address);
		uint64_t part = block->address + block->size - address;

		atomic_fetch_sub_explicit(&block->pins, 1, memory_order_release);
		if (part >= length)
			break;
		address += part;
		length -= part;
	}
}

int span_get(struct guest_memory *mem, uint64_t address, uint64_t length,
	enum span_direction direction, struct span *span)
{
	uint64_t at = address, left = length;

	*span = (struct span){
		.mem = mem, .address = address, .length = length, .direction = direction};
	if (length && address + length - 1 < address)
		return -EFAULT;
	while (left) {
		struct ram_block *block = block_at(mem, at);
		uint64_t offset, part;

		if (!block || (block->readonly && direction == SPAN_WRITE)) {
			unpin(span, address, at - address);
			span->count = 0;
			return -EFAULT;
		}
		offset = at - block->address;
		part = block->size - offset < left ? block->size - offset : left;
		atomic_fetch_add_explicit(&block->pins, 1, memory_order_relaxed);
		span->iov[span->count++] =
			(struct iovec){.iov_base = block->host + offset, .iov_len = part};
		at += part;
		left -= part;
	}
	return 0;
}

void span_unpin(struct span *span)
{
	if (span->count)
		unpin(span, span->address, span->length);
	span->count = 0;
}

static void mark_written(struct span *span, uint64_t written)
{
	struct guest_memory *mem = span->mem;

	if (written > span->length)
		written = span->length;
	if (!span->count || span->direction != SPAN_WRITE || !written)
		return;
	fault_span_put("", span->address, span->iov, span->count);
	if (mem->listener && mem->listener->written)
		mem->listener->written(mem->listener->opaque, span->address, written);
}

void span_put(struct span *span, uint64_t written)
{
	uint64_t most = span->count ? span->length : 0;

	if (span->direction == SPAN_WRITE && written < most)
		most = written;
	count_add(COUNT_DMA_BYTES, most);
	mark_written(span, written);
	span_unpin(span);
}

int guest_peek(struct guest_memory *mem, uint64_t address, void *to, size_t length)
{
	struct span span;
	uint8_t *out = to;
	int rc = span_get(mem, address, length, SPAN_READ, &span);

	if (rc < 0)
		return rc;
	for (int i = 0; i < span.count; i++) {
		memcpy(out, span.iov[i].iov_base, span.iov[i].iov_len);
		out += span.iov[i].iov_len;
	}
	span_unpin(&span);
	return 0;
}

int guest_poke(struct guest_memory *mem, uint64_t address, const void *from, size_t length)
{
	struct span span;
	const uint8_t *in = from;
	int rc = span_get(mem, address, length, SPAN_WRITE, &span);

	if (rc < 0)
		return rc;
	for (int i = 0; i < span.count; i++) {
		memcpy(span.iov[i].iov_base, in, span.iov[i].iov_len);
		in += span.iov[i].iov_len;
	}
	mark_written(&span, length);
	span_unpin(&span);
	return 0;
}

int guest_read(struct guest_memory *mem, uint64_t address, void *to, size_t length)
{
	int rc = guest_peek(mem, address, to, length);

	if (rc == 0)
		count_add(COUNT_DMA_BYTES, length);
	return rc;
}

int guest_write(struct guest_memory *mem, uint64_t address, const void *from, size_t length)
{
	int rc = guest_poke(mem, address, from, length);

	if (rc == 0)
		count_add(COUNT_DMA_BYTES, length);
	return rc;
}

int guest_load(struct guest_memory *mem, uint64_t address, const void *from, size_t length)
{
	const uint8_t *in = from;

	if (length && address + length - 1 < address)
		return -EFAULT;
	for (uint64_t at = address, left = length; left;) {
		struct ram_block *block = block_at(mem, at);

		if (!block)
			return -EFAULT;
		left -= left < block->address + block->size - at
				? left
				: block->address + block->size - at;
		at = block->address + block->size;
	}
	while (length) {
		struct ram_block *block = block_at(mem, address);
		uint64_t offset = address - block->address;
		uint64_t part = block->size - offset < length ? block->size - offset : length;

		memcpy(block->host + offset, in, part);
		in += part;
		address += part;
		length -= part;
	}
	return 0;
}
