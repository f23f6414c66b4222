/* SPDX-License-Identifier: MIT */
/*
 * A kernel that refuses an engine, as containers do with io_uring: the next engine takes over.  The
 * refusals are made by a system call filter, which a process cannot take off again, so each case is
 * a process of its own.
 */
#include "block-help.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static bool refuse(int call, int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* the number of the call */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = code};

	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

struct plan {
	const char *options;
	bool no_uring, no_aio;
	bool says; /* a line on stderr: the user had asked for the engine */
};

/* In the child: 0, or the number of the step that failed. */
static int write_and_read_back(const struct plan *plan)
{
	unsigned char *data = page_alloc(65536);
	struct block_backend *blk;

	if (plan->no_uring && !refuse(__NR_io_uring_setup, EPERM))
		return 77;
	if (plan->no_aio && !refuse(__NR_io_setup, EAGAIN))
		return 77;
	blk = drive(plan->options);
	if (!blk)
		return 2;
	memset(data, 0x5a, 65536);
	if (request(blk, BLOCK_WRITE, 4096, data, 65536, BLOCK_FLAG_FUA))
		return 3;
	memset(data, 0, 65536);
	if (request(blk, BLOCK_READ, 4096, data, 65536, 0))
		return 4;
	if (data[0] != 0x5a || data[65535] != 0x5a)
		return 5;
	block_close(blk);
	free(data);
	return 0;
}

static void run(const struct plan *plan)
{
	int status, pipes[2];
	char said[512] = "";
	pid_t child;

	make_image(1 << 20, true);
	assert_int_equal(pipe(pipes), 0);
	child = fork();
	if (!child) {
		dup2(pipes[1], STDERR_FILENO);
		_exit(write_and_read_back(plan));
	}
	close(pipes[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(read(pipes[0], said, sizeof(said) - 1) >= 0);
	close(pipes[0]);
	unlink(image);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip(); /* no system call filters here */
	if (status || (strstr(said, "aio=") != NULL) != plan->says)
		print_message("%s: status %x, said '%s'\n", plan->options, status, said);
	assert_int_equal(status, 0);
	assert_int_equal(strstr(said, "aio=") != NULL, plan->says);
}

static void without_io_uring_threads_do_it(void **state)
{
	run(&(struct plan){"file=%s,format=raw", .no_uring = true});
}

static void without_io_uring_direct_io_goes_by_linux_aio(void **state)
{
	run(&(struct plan){"file=%s,format=raw,cache=none", .no_uring = true});
}

static void without_both_threads_do_direct_io(void **state)
{
	run(&(struct plan){"file=%s,format=raw,cache=none", .no_uring = true, .no_aio = true});
}

static void an_engine_that_was_asked_for_is_missed_aloud(void **state)
{
	run(&(struct plan){"file=%s,format=raw,aio=io_uring", .no_uring = true, .says = true});
	run(&(struct plan){
		"file=%s,format=raw,cache=none,aio=native", .no_aio = true, .says = true});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOOP(without_io_uring_threads_do_it),
		WITH_LOOP(without_io_uring_direct_io_goes_by_linux_aio),
		WITH_LOOP(without_both_threads_do_direct_io),
		WITH_LOOP(an_engine_that_was_asked_for_is_missed_aloud),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
