/* SPDX-License-Identifier: MIT */
/* Signals, the pid file and the background (process.h). */
#include "options/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chardev/chardev.h"

void standard_fds_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static const int our_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGCONT, SIGWINCH};

static struct {
	struct loop_watch watch;
	struct loop *loop;
	struct machine *machine;
} watching = {.watch = {.fd = -1}};

static volatile sig_atomic_t early_signal, early_sender;

static void remember(int number, siginfo_t *info, void *context)
{
	if (number != SIGCONT && number != SIGWINCH) {
		early_signal = number;
		early_sender = info->si_pid;
	}
}

static sigset_t signal_set(void)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(our_signals) / sizeof(our_signals[0]); i++)
		sigaddset(&set, our_signals[i]);
	return set;
}

void signals_block(void)
{
	struct sigaction action = {.sa_sigaction = remember, .sa_flags = SA_SIGINFO};
	sigset_t set = signal_set();

	for (size_t i = 0; i < sizeof(our_signals) / sizeof(our_signals[0]); i++)
		sigaction(our_signals[i], &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* QEMU's words: runners read them. */
static void tell(int number, long sender)
{
	char path[64], name[256] = "";
	int fd;

	if (!sender) {
		fprintf(stderr, "assay: terminating on signal %d\n", number);
		return;
	}
	snprintf(path, sizeof(path), "/proc/%ld/cmdline", sender);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = read(fd, name, sizeof(name) - 1);

		name[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	fprintf(stderr, "assay: terminating on signal %d from pid %ld (%s)\n", number, sender,
		*name ? name : "<unknown process>");
}

bool signals_tell(void)
{
	if (early_signal)
		tell(early_signal, early_sender);
	return early_signal;
}

static void signal_ready(void *opaque, uint32_t events)
{
	struct signalfd_siginfo info;

	if (read(watching.watch.fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCONT) {
		chardev_terminal_resume();
		return;
	}
	if (info.ssi_signo == SIGWINCH) {
		chardev_terminal_resized();
		return;
	}
	tell((int)info.ssi_signo, info.ssi_pid);
	machine_request_shutdown(watching.machine, CAUSE_HOST_SIGNAL);
}

int signals_watch(struct loop *loop, struct machine *machine, struct error *err)
{
	sigset_t set = signal_set();

	watching.loop = loop;
	watching.machine = machine;
	watching.watch = (struct loop_watch){
		.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), .ready = signal_ready};
	if (watching.watch.fd < 0)
		return error_set_errno(err, errno, "cannot watch signals");
	return loop_watch(loop, &watching.watch, EPOLLIN);
}

void signals_unwatch(void)
{
	if (watching.watch.fd < 0)
		return;
	loop_unwatch(watching.loop, &watching.watch);
	close(watching.watch.fd);
	watching.watch.fd = -1;
}

static const char *pidfile_path; /* made by us */
static char *pidfile_owned;
static int pidfile_fd = -1;

int pidfile_create(const char *path, struct error *err)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char text[32];
	int n;

	if (!path)
		return 0;
	pidfile_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (pidfile_fd < 0)
		return error_set_errno(err, errno,
			"-pidfile %s: cannot create PID file: Could not create '%s'", path, path);
	if (fcntl(pidfile_fd, F_SETLK, &lock)) {
		close(pidfile_fd);
		pidfile_fd = -1;
		return error_set_errno(err, errno,
			"-pidfile %s: cannot create PID file: Could not lock '%s'", path, path);
	}
	/* -daemonize goes to another directory before the end. */
	pidfile_owned = realpath(path, NULL);
	pidfile_path = pidfile_owned ? pidfile_owned : path;
	n = snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	if (ftruncate(pidfile_fd, 0) || write(pidfile_fd, text, (size_t)n) != n)
		return error_set_errno(
			err, errno, "-pidfile %s: cannot create PID file: Failed to write", path);
	return 0;
}

void pidfile_remove(void)
{
	if (pidfile_path)
		unlink(pidfile_path);
	if (pidfile_fd >= 0)
		close(pidfile_fd);
	free(pidfile_owned);
	pidfile_path = pidfile_owned = NULL;
	pidfile_fd = -1;
}

static int ready_pipe = -1;

int daemon_begin(struct error *err)
{
	int ends[2];
	pid_t child;
	char byte;
	ssize_t n;

	if (pipe2(ends, O_CLOEXEC))
		return error_set_errno(err, errno, "-daemonize: cannot create a pipe");
	child = fork();
	if (child < 0)
		return error_set_errno(err, errno, "-daemonize: cannot fork");
	if (child) {
		close(ends[1]);
		do
			n = read(ends[0], &byte, 1);
		while (n < 0 && errno == EINTR);
		_exit(n == 1 ? 0 : 1);
	}
	close(ends[0]);
	ready_pipe = ends[1];
	setsid();
	return 0;
}

int daemon_ready(struct error *err)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || chdir("/") || write(ready_pipe, "", 1) != 1)
		return error_set_errno(err, errno, "-daemonize: cannot go to the background");
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	close(null);
	close(ready_pipe);
	return 0;
}
