/* SPDX-License-Identifier: MIT */
/*
 * Stream sockets, unix and tcp, as listener (server=on, one peer at a time, a new one may come when
 * the old one has gone) or as client (reconnect=seconds).  With nobody connected output is dropped.
 * Only a start waits for a connection; later the loop hears when it has come about.
 * Left out: telnet, websocket and TLS, which are refused with one line.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"
#include "chardev/internal.h"

#define PIECE 4096

struct socket_chardev {
	struct chardev chr;
	int listener, peer; /* -1: none */
	char *path;	    /* unix */
	bool abstract, made_path;
	char *host, *port; /* tcp */
	bool nodelay;
	uint64_t reconnect;		   /* s; 0: never */
	bool blocked;			   /* a write was cut short */
	bool hurried;			   /* the loop runs, and must not wait for a connection */
	struct addrinfo *addresses, *next; /* of a connection that is coming about */
	struct loop_watch listen_watch, peer_watch, pending_watch;
	struct loop_timer reconnect_timer;
};

static struct socket_chardev *to_socket(struct chardev *chr)
{
	return container_of(chr, struct socket_chardev, chr);
}

/* Addresses. */

static int unix_address(const struct socket_chardev *s, struct sockaddr_un *address,
	socklen_t *length, struct error *err)
{
	size_t n = strlen(s->path), shift = s->abstract;

	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (n + shift + !shift > sizeof(address->sun_path))
		return error_set(err, EINVAL,
			"UNIX socket path '%s' is too long: path must be less than %zu bytes",
			s->path, sizeof(address->sun_path));
	memcpy(address->sun_path + shift, s->path, n);
	*length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + shift + n + !shift);
	return 0;
}

static void name_address(struct socket_chardev *s)
{
	const char *gone = s->peer < 0 ? "disconnected:" : "";
	const char *server = s->listener >= 0 ? ",server=on" : "";

	if (s->path)
		chardev_set_filename(&s->chr, "%sunix:%s%s", gone, s->path, server);
	else if (s->port)
		chardev_set_filename(&s->chr, "%stcp:%s:%s%s", gone, s->host, s->port, server);
	else
		chardev_set_filename(&s->chr, "%sfd%s", gone, server);
}

/* The addresses of host:port, for freeaddrinfo().  0 or -errno. */
static int resolve(
	const struct socket_chardev *s, bool passive, struct addrinfo **found, struct error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0};
	int rc;

	/* QEMU's wildcard is IPv4's unless a host is named. */
	if (passive && !*s->host)
		hints.ai_family = AF_INET;
	rc = getaddrinfo(
		*s->host ? s->host : (passive ? "0.0.0.0" : "localhost"), s->port, &hints, found);
	if (rc)
		return error_set(err, EINVAL, "address resolution failed for %s:%s: %s", s->host,
			s->port, gai_strerror(rc));
	return 0;
}

static int listen_on(const struct addrinfo *address)
{
	int on = 1, fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, 1)) {
		int code = errno;

		close(fd);
		return -code;
	}
	return fd;
}

/* How a connection that was begun has ended: 0, -errno, or -EINPROGRESS. */
static int connection_outcome(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	socklen_t length = sizeof(int);
	int code = 0;

	if (poll(&p, 1, 0) < 1)
		return -EINPROGRESS;
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &length) ? -errno : -code;
}

/* The descriptor or -errno; -EINPROGRESS: connection_ready() hears of it. */
static int connect_to(struct socket_chardev *s, const struct addrinfo *address)
{
	int flags = SOCK_STREAM | SOCK_CLOEXEC | (s->hurried ? SOCK_NONBLOCK : 0), rc;
	int fd = socket(address->ai_family, flags, 0);

	if (fd < 0)
		return -errno;
	rc = connect(fd, address->ai_addr, address->ai_addrlen) ? -errno : 0;
	if (rc == -EINPROGRESS)
		rc = connection_outcome(fd); /* this host's own answer is there already */
	if (rc == -EINPROGRESS) {
		s->pending_watch.fd = fd;
		rc = loop_watch(s->chr.loop, &s->pending_watch, EPOLLOUT);
		if (!rc)
			return -EINPROGRESS;
		s->pending_watch.fd = -1;
	}
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static void forget_addresses(struct socket_chardev *s)
{
	if (s->addresses)
		freeaddrinfo(s->addresses);
	s->addresses = s->next = NULL;
}

/* The addresses that are left, until one succeeds or takes its time.  As connect_to(). */
static int connect_next(struct socket_chardev *s)
{
	int fd = -EADDRNOTAVAIL;

	while (s->next && fd < 0 && fd != -EINPROGRESS) {
		fd = connect_to(s, s->next);
		s->next = s->next->ai_next;
	}
	if (fd != -EINPROGRESS)
		forget_addresses(s);
	return fd;
}

static int open_tcp_listener(struct socket_chardev *s, struct error *err)
{
	struct addrinfo *found, *at;
	int fd = -EADDRNOTAVAIL, rc = resolve(s, true, &found, err);

	if (rc)
		return rc;
	for (at = found; at && fd < 0; at = at->ai_next)
		fd = listen_on(at);
	freeaddrinfo(found);
	if (fd < 0)
		error_set_errno(err, -fd, "Failed to bind socket to %s:%s", s->host, s->port);
	return fd;
}

static int open_listener(struct socket_chardev *s, struct error *err)
{
	struct sockaddr_un address;
	socklen_t length;
	int fd, rc;

	if (!s->path)
		return open_tcp_listener(s, err);
	rc = unix_address(s, &address, &length, err);
	if (rc)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set_errno(err, errno, "Failed to create Unix socket");
	/* What an earlier run left is replaced, as in QEMU. */
	if (!s->abstract)
		unlink(s->path);
	if (bind(fd, (struct sockaddr *)&address, length) || listen(fd, 1)) {
		rc = error_set_errno(err, errno, "Failed to bind socket to %s", s->path);
		close(fd);
		return rc;
	}
	s->made_path = !s->abstract;
	return fd;
}

/* The descriptor or -errno; -EINPROGRESS, of a hurried one only: connection_ready() follows. */
static int open_client(struct socket_chardev *s, struct error *err)
{
	struct sockaddr_un address;
	struct addrinfo unix_way = {.ai_family = AF_UNIX, .ai_addr = (struct sockaddr *)&address};
	int fd, rc;

	if (s->path) {
		rc = unix_address(s, &address, &unix_way.ai_addrlen, err);
		if (rc)
			return rc;
		fd = connect_to(s, &unix_way);
		if (fd < 0)
			error_set_errno(err, -fd, "Failed to connect to '%s'", s->path);
		return fd;
	}
	rc = resolve(s, false, &s->addresses, err);
	if (rc)
		return rc;
	s->next = s->addresses;
	fd = connect_next(s);
	if (fd < 0 && fd != -EINPROGRESS)
		error_set_errno(err, -fd, "Failed to connect to '%s:%s'", s->host, s->port);
	return fd;
}

/* The connection. */

static void socket_update(struct chardev *chr);

static void have_peer(struct socket_chardev *s, int fd)
{
	int on = 1;

	s->peer = fd;
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	if (s->port && s->nodelay)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	s->peer_watch.fd = fd;
	loop_unwatch(s->chr.loop, &s->listen_watch); /* the next one waits its turn */
	name_address(s);
	socket_update(&s->chr);
	chardev_set_opened(&s->chr, true);
}

static void wait_for_peer(struct socket_chardev *s)
{
	if (s->listener >= 0)
		loop_watch(s->chr.loop, &s->listen_watch, EPOLLIN);
	else if (s->reconnect)
		loop_timer_arm(s->chr.loop, &s->reconnect_timer,
			loop_now() + (int64_t)s->reconnect * 1000000000);
}

static void drop_peer(struct socket_chardev *s)
{
	loop_unwatch(s->chr.loop, &s->peer_watch);
	close(s->peer);
	s->peer = -1;
	s->blocked = false;
	name_address(s);
	wait_for_peer(s);
	chardev_set_opened(&s->chr, false);
}

static void listener_ready(void *opaque, uint32_t events)
{
	struct socket_chardev *s = opaque;
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd >= 0)
		have_peer(s, fd);
}

static void reconnect_now(void *opaque)
{
	struct socket_chardev *s = opaque;
	struct error err = {.text = ""};
	int fd = open_client(s, &err);

	if (fd >= 0)
		have_peer(s, fd);
	else if (fd != -EINPROGRESS)
		wait_for_peer(s);
}

/* A connection that took its time is there, or has failed. */
static void connection_ready(void *opaque, uint32_t events)
{
	struct socket_chardev *s = opaque;
	int fd = s->pending_watch.fd, rc = connection_outcome(fd);

	if (rc == -EINPROGRESS)
		return;
	loop_unwatch(s->chr.loop, &s->pending_watch);
	s->pending_watch.fd = -1;
	if (!rc) {
		forget_addresses(s);
		have_peer(s, fd);
		return;
	}
	close(fd);
	fd = connect_next(s);
	if (fd >= 0)
		have_peer(s, fd);
	else if (fd != -EINPROGRESS)
		wait_for_peer(s);
}

static void peer_ready(void *opaque, uint32_t events)
{
	struct socket_chardev *s = opaque;
	uint8_t data[PIECE];
	size_t room;
	ssize_t n;

	/* When the peer has gone, a write takes and drops: that unblocks too. */
	if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) && s->blocked) {
		s->blocked = false;
		chardev_tell(&s->chr, CHARDEV_WRITABLE);
		if (s->peer < 0)
			return;
	}
	room = chardev_room(&s->chr);
	if (room) {
		n = recv(s->peer, data, room < sizeof(data) ? room : sizeof(data), MSG_DONTWAIT);
		if (n > 0)
			chardev_deliver(&s->chr, data, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			drop_peer(s);
			return;
		}
	} else if (events & (EPOLLHUP | EPOLLRDHUP | EPOLLERR)) {
		/* Input that the peer left is the user's, who takes it later. */
		if (!s->chr.user || recv(s->peer, data, 1, MSG_PEEK | MSG_DONTWAIT) <= 0) {
			drop_peer(s);
			return;
		}
		/* Do not spin until then; output goes on. */
		if (s->blocked)
			loop_watch_change(s->chr.loop, &s->peer_watch, EPOLLOUT);
		else
			loop_unwatch(s->chr.loop, &s->peer_watch);
		return;
	}
	socket_update(&s->chr);
}

static void socket_update(struct chardev *chr)
{
	struct socket_chardev *s = to_socket(chr);
	uint32_t events;

	if (s->peer < 0)
		return;
	events = EPOLLRDHUP | (chardev_room(chr) ? EPOLLIN : 0) | (s->blocked ? EPOLLOUT : 0);
	if (!s->peer_watch.watched)
		loop_watch(chr->loop, &s->peer_watch, events);
	else
		loop_watch_change(chr->loop, &s->peer_watch, events);
}

static size_t socket_write(struct chardev *chr, const uint8_t *data, size_t length)
{
	struct socket_chardev *s = to_socket(chr);
	size_t done = 0;

	while (s->peer >= 0 && done < length) {
		ssize_t n = send(s->peer, data + done, length - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n >= 0) {
			done += (size_t)n;
		} else if (errno == EAGAIN) {
			s->blocked = true;
			socket_update(chr);
			return done;
		} else if (errno != EINTR) {
			break; /* the watch hears of it and closes */
		}
	}
	return length;
}

/* Opening. */

/* Waits for the first peer; signals are let in, so that a user can give up.  0 or -errno. */
static int accept_first(struct socket_chardev *s, struct error *err)
{
	struct pollfd p = {.fd = s->listener, .events = POLLIN};
	sigset_t none;
	int fd;

	sigemptyset(&none);
	log_error("info: waiting for connection on: %s", s->chr.filename);
	do {
		if (ppoll(&p, 1, NULL, &none) < 0)
			return error_set(err, EINTR, "interrupted while waiting for a connection");
		fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	} while (fd < 0);
	have_peer(s, fd);
	return 0;
}

/* "HOST:PORT" or "[V6]:PORT" of the short form. */
static int split_address(struct socket_chardev *s, const char *text, struct error *err)
{
	const char *colon = strrchr(text, ':');
	size_t host = colon ? (size_t)(colon - text) : 0;

	if (!colon || !colon[1])
		return error_set(err, EINVAL, "error parsing address '%s'", text);
	s->port = strdup(colon + 1);
	if (host >= 2 && text[0] == '[' && text[host - 1] == ']')
		s->host = strndup(text + 1, host - 2);
	else
		s->host = strndup(text, host);
	return s->host && s->port ? 0 : error_set(err, ENOMEM, "out of memory");
}

static int take_address(struct socket_chardev *s, struct keyvals *kv, struct error *err)
{
	const char *path = keyvals_take(kv, "path");
	const char *address = keyvals_take(kv, "address");
	const char *host = keyvals_take(kv, "host");
	const char *port = keyvals_take(kv, "port");

	if (path) {
		s->path = strdup(path);
		return 0;
	}
	if (address)
		return split_address(s, address, err);
	if (!port)
		return error_set(err, EINVAL, "chardev: socket: no path or port given");
	s->host = strdup(host ? host : "");
	s->port = strdup(port);
	return 0;
}

/* A descriptor that whoever started us opened: connected, or listening. */
static int take_descriptor(struct socket_chardev *s, const char *text, struct error *err)
{
	socklen_t length = sizeof(int);
	uint64_t fd;
	int listening, rc = parse_uint("fd", text, 65535, &fd, err);

	if (rc)
		return rc;
	if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length))
		return error_set_errno(err, errno, "File descriptor '%s' is not a socket", text);
	fcntl((int)fd, F_SETFD, FD_CLOEXEC);
	if (listening)
		s->listener = (int)fd;
	else
		s->peer = (int)fd;
	return 0;
}

static int refuse(struct keyvals *kv, const char *key, struct error *err)
{
	bool on;
	int rc = chardev_take_bool(kv, key, false, &on, err);

	return !rc && on ? error_set(err, EINVAL, "%s=on is not supported", key) : rc;
}

struct socket_wishes {
	bool server, wait;
	const char *fd;
};

static int take_wishes(struct socket_chardev *s, struct keyvals *kv, struct socket_wishes *wishes,
	struct error *err)
{
	static const char *const ignored[] = {"ipv4", "ipv6", "tight"};
	const char *reconnect = keyvals_take(kv, "reconnect");
	int rc = chardev_take_bool(kv, "server", false, &wishes->server, err);

	wishes->fd = keyvals_take(kv, "fd");
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		keyvals_take(kv, ignored[i]);
	/* QEMU refuses wait= of a client; so do we. */
	if (!rc && !wishes->server && keyvals_get(kv, "wait"))
		return error_set(err, EINVAL,
			"'wait' option is incompatible with socket in client connect mode");
	rc = rc ? rc : chardev_take_bool(kv, "wait", wishes->server, &wishes->wait, err);
	rc = rc ? rc : chardev_take_bool(kv, "abstract", false, &s->abstract, err);
	/* Each byte of a serial port is a packet of its own otherwise delayed. */
	rc = rc ? rc : chardev_take_bool(kv, "nodelay", true, &s->nodelay, err);
	rc = rc ? rc : refuse(kv, "telnet", err);
	rc = rc ? rc : refuse(kv, "websocket", err);
	if (rc || !reconnect)
		return rc;
	if (wishes->server)
		return error_set(err, EINVAL,
			"'reconnect' option is incompatible with socket in server listen mode");
	return parse_uint("reconnect", reconnect, 1000000, &s->reconnect, err);
}

static int open_ends(
	struct socket_chardev *s, const struct socket_wishes *wishes, struct error *err)
{
	int fd;

	if (wishes->server && s->listener < 0) {
		s->listener = open_listener(s, err);
		if (s->listener < 0)
			return s->listener;
	}
	s->listen_watch.fd = s->listener;
	name_address(s);
	if (s->listener >= 0) {
		if (wishes->wait)
			return accept_first(s, err);
		wait_for_peer(s);
		return 0;
	}
	fd = s->peer >= 0 ? s->peer : open_client(s, err);
	if (fd >= 0) {
		have_peer(s, fd);
	} else if (fd == -EINPROGRESS) {
		return 0;
	} else if (s->reconnect) {
		wait_for_peer(s);
	} else {
		return fd;
	}
	return 0;
}

static void socket_close(struct chardev *chr)
{
	struct socket_chardev *s = to_socket(chr);
	uint8_t unread[PIECE];

	loop_unwatch(chr->loop, &s->listen_watch);
	loop_unwatch(chr->loop, &s->peer_watch);
	loop_timer_cancel(chr->loop, &s->reconnect_timer);
	loop_unwatch(chr->loop, &s->pending_watch);
	if (s->pending_watch.fd >= 0)
		close(s->pending_watch.fd);
	s->pending_watch.fd = -1;
	forget_addresses(s);
	if (s->peer >= 0) {
		/* Input left unread would make TCP reset the connection and lose our last words. */
		while (recv(s->peer, unread, sizeof(unread), MSG_DONTWAIT) > 0)
			;
		close(s->peer);
	}
	if (s->listener >= 0)
		close(s->listener);
	if (s->made_path)
		unlink(s->path);
	free(s->path);
	free(s->host);
	free(s->port);
	s->peer = s->listener = -1;
}

static int socket_open(struct chardev *chr, struct keyvals *kv, struct error *err)
{
	struct socket_chardev *s = to_socket(chr);
	struct socket_wishes wishes;
	int rc;

	s->listener = s->peer = -1;
	s->listen_watch = (struct loop_watch){.fd = -1, .ready = listener_ready, .opaque = s};
	s->peer_watch = (struct loop_watch){.fd = -1, .ready = peer_ready, .opaque = s};
	s->pending_watch = (struct loop_watch){.fd = -1, .ready = connection_ready, .opaque = s};
	s->hurried = chr->plugged;
	s->reconnect_timer = (struct loop_timer){.expired = reconnect_now, .opaque = s};
	rc = take_wishes(s, kv, &wishes, err);
	if (!rc)
		rc = wishes.fd ? take_descriptor(s, wishes.fd, err) : take_address(s, kv, err);
	/* A typing error must not first wait for a peer. */
	if (!rc && keyvals_left(kv))
		rc = error_set(err, EINVAL, "Invalid parameter '%s'", keyvals_left(kv));
	if (!rc)
		rc = open_ends(s, &wishes, err);
	if (rc)
		socket_close(chr);
	s->hurried = true; /* whoever is sought from now on */
	return rc;
}

const struct chardev_type chardev_socket = {
	.name = "socket",
	.size = sizeof(struct socket_chardev),
	.open = socket_open,
	.write = socket_write,
	.update = socket_update,
	.close = socket_close,
};
