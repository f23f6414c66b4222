/* SPDX-License-Identifier: MIT */
/*
 * Image locks, the ones QEMU takes (its file-posix driver), so that each keeps the other out.
 *
 * A permission is a bit; bit i of what an opener uses is a shared lock on byte 100+i of the file,
 * bit i of what it does not grant to others a shared lock on byte 200+i.  Everybody first takes
 * its own locks and then looks whether another one holds the opposite: no lock ever blocks, and
 * both of two that come at once may be refused, never both admitted.  The locks belong to the
 * open file description (F_OFD_SETLK) and so go with the process.
 */
#include <errno.h>
#include <fcntl.h>

#include "block/internal.h"

#define PERM_BASE   100
#define SHARED_BASE 200

static const char *const names[] = {"consistent read", "write", "write unchanged", "resize"};
#define COUNT (sizeof(names) / sizeof(names[0]))

static int take(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

static bool held_by_another(int fd, off_t byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static int take_all(int fd, unsigned perm, unsigned unshared)
{
	int rc = 0;

	for (unsigned i = 0; i < COUNT && !rc; i++) {
		if (perm & 1u << i)
			rc = take(fd, PERM_BASE + i);
		if (!rc && unshared & 1u << i)
			rc = take(fd, SHARED_BASE + i);
	}
	return rc;
}

static int refused(const char *path, const char *shared, const char *name, struct error *err)
{
	return error_set(err, EAGAIN,
		"Failed to get %s\"%s\" lock: Is another process using the image [%s]?", shared,
		name, path);
}

int image_lock(int fd, const char *path, unsigned perm, unsigned unshared, enum lock_mode mode,
	struct error *err)
{
	int rc;

	if (mode == LOCK_OFF)
		return 0;
	rc = take_all(fd, perm, unshared);
	if (rc == -EAGAIN || rc == -EACCES) /* somebody has an exclusive lock there: not QEMU */
		return refused(path, "", names[0], err);
	if (rc) /* this file system has no such locks */
		return mode == LOCK_AUTO ? 0
					 : error_set_errno(err, -rc, "Could not lock '%s'", path);
	for (unsigned i = 0; i < COUNT; i++)
		if (perm & 1u << i && held_by_another(fd, SHARED_BASE + i))
			return refused(path, "", names[i], err);
	for (unsigned i = 0; i < COUNT; i++)
		if (unshared & 1u << i && held_by_another(fd, PERM_BASE + i))
			return refused(path, "shared ", names[i], err);
	return 0;
}

void image_unlock(int fd)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	/* A file that never was locked, or knows no locks, is none the worse for it. */
	(void)fcntl(fd, F_OFD_SETLK, &lock);
}
