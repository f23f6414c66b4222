/* SPDX-License-Identifier: MIT */
/*
 * What the host's disk gives without any VM: the requests of kernel bench, by io_uring with direct
 * I/O, straight from a program.  No VMM can do more with the same requests.
 *
 *	bare-disk FILE read|write random|sequential BYTES DEPTH MS
 *
 * Batches of DEPTH, the next one when all of one have completed.  Prints operations, ns, and the
 * microseconds of CPU time they took.
 */
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define DEPTH_MAX 128

static struct io_uring ring;
static struct {
	int fd;
	bool write, random;
	uint32_t bytes;
	unsigned depth;
	uint64_t places, next; /* of `bytes` in the file */
	char *memory;
} job;

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int64_t cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ll +
	       usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static uint64_t place(void)
{
	if (!job.random)
		return job.next++ % job.places;
	/* Knuth's multiplier, as in the kernel. */
	job.next = job.next * 6364136223846793005ull + 1442695040888963407ull;
	return (job.next >> 33) % job.places;
}

static bool batch(void)
{
	for (unsigned i = 0; i < job.depth; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
		char *data = job.memory + (size_t)i * job.bytes;
		uint64_t offset = place() * job.bytes;

		if (!sqe)
			return false;
		if (job.write)
			io_uring_prep_write(sqe, job.fd, data, job.bytes, offset);
		else
			io_uring_prep_read(sqe, job.fd, data, job.bytes, offset);
	}
	if (io_uring_submit_and_wait(&ring, job.depth) < 0)
		return false;
	for (unsigned i = 0; i < job.depth; i++) {
		struct io_uring_cqe *cqe;

		if (io_uring_wait_cqe(&ring, &cqe) < 0 || cqe->res != (int)job.bytes)
			return false;
		io_uring_cqe_seen(&ring, cqe);
	}
	return true;
}

static bool set_up(char **argv)
{
	off_t size;

	job.write = !strcmp(argv[2], "write");
	job.random = !strcmp(argv[3], "random");
	job.bytes = strtoul(argv[4], NULL, 10);
	job.depth = strtoul(argv[5], NULL, 10);
	job.fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	size = job.fd < 0 ? 0 : lseek(job.fd, 0, SEEK_END);
	if (!job.bytes || job.bytes % 4096 || !job.depth || job.depth > DEPTH_MAX ||
		size < (off_t)job.bytes)
		return false;
	job.places = size / job.bytes;
	job.memory =
		aligned_alloc(2 << 20, ((size_t)job.depth * job.bytes + (2 << 20)) & ~0x1ffffful);
	if (!job.memory)
		return false;
	memset(job.memory, 0, (size_t)job.depth * job.bytes);
	return io_uring_queue_init(DEPTH_MAX, &ring, 0) == 0;
}

int main(int argc, char **argv)
{
	int64_t begin, cpu, end;
	uint64_t operations = 0;

	if (argc != 7 || !set_up(argv)) {
		fprintf(stderr,
			"usage: bare-disk FILE read|write random|sequential BYTES DEPTH MS\n");
		return 2;
	}
	cpu = cpu_us();
	begin = now();
	end = begin + strtoll(argv[6], NULL, 10) * 1000000;
	do {
		if (!batch()) {
			fprintf(stderr, "bare-disk: an operation failed\n");
			return 1;
		}
		operations += job.depth;
	} while (now() < end);
	end = now();
	printf("%llu %lld %lld\n", (unsigned long long)operations, (long long)(end - begin),
		(long long)(cpu_us() - cpu));
	return 0;
}
