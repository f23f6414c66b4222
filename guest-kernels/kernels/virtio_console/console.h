/* SPDX-License-Identifier: MIT */
/*
 * What the TESTs of the console share.  Their machine has ports 0 (a console), 1 and 2, on
 * character devices con0, con1 and con2, whose other ends the control port's verbs hold.
 */
#ifndef VIRTIO_CONSOLE_KERNEL_H
#define VIRTIO_CONSOLE_KERNEL_H

#include "runtime/ctl.h"
#include "runtime/memory.h"
#include "runtime/test.h"
#include "runtime/time.h"
#include "virtio-drivers/console.h"

#define FILL 0xa5

/* The device, running; SKIPs where there is none. */
struct virtio_console *con_new(const struct virtio_console_options *options);
/* The device, running, with `ports` ports (0: all); SKIPs where there is none. */
struct virtio_console *con_open(unsigned ports, uint64_t without);
/* The same, and its ports are open; SKIPs where MULTIPORT is needed and not there. */
struct virtio_console *con_started(void);
/* Port 0 alone, by a driver without control queues. */
struct virtio_console *con_plain(bool interrupts);

/* A verb of the control port for the other end of port n; FAILs the TEST when it is refused. */
__attribute__((format(printf, 2, 3))) const char *con_host(unsigned port, const char *format, ...);
/* The pattern of the verbs pour and expect. */
void con_pattern(uint8_t *to, uint32_t bytes, uint8_t seed);
uint8_t *con_buffer(uint32_t bytes); /* guarded, filled with FILL */
/* Output of port 0 reaches the host. */
void con_serves(struct virtio_console *con, unsigned port);
/* What must work after anything: a reset, a new driver, output. */
void con_recovers(struct virtio_console *con);

#endif
