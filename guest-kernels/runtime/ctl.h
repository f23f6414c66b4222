/* SPDX-License-Identifier: MIT */
/*
 * The control port: COM2. The guest sends "REQ n verb args", the host answers "OK n ..." or "NO n
 * reason". Verbs: hello, next, resize, link, save, migrate, balloon, inject (docs/wire.md).
 */
#ifndef ASSAY_RUNTIME_CTL_H
#define ASSAY_RUNTIME_CTL_H

#include <stdbool.h>

/* True if a host answers: asked once, with "hello"; ctl=0 on the command line says no without
 * asking. */
bool ctl_present(void);
/*
 * Sends a request and waits (10 s) for its answer: what follows "OK n " (valid until the next
 * request), or NULL for "NO n reason" (then ctl_reason()) or silence.
 */
__attribute__((format(printf, 2, 3))) const char *ctl_request(
	const char *verb, const char *format, ...);
const char *ctl_reason(void);
/*
 * The host saves the machine and goes on with it in another process; true when that is where this
 * returns (in between may lie another engine), false when it could not, and nothing happened.
 * ctl_save_send() and ctl_save_wait() are its two halves: the machine is saved at any instruction
 * between them, or in the second.
 */
bool ctl_save(void);
void ctl_save_send(void);
bool ctl_save_wait(void);

#endif
