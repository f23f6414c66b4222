/* SPDX-License-Identifier: MIT */
/*
 * The image file: a regular file or a block device of the host.  Opening, size, and every
 * operation in its blocking form, which the thread pool runs.
 *
 * O_DIRECT wants offset, length and memory aligned to the storage's logical block.  What a guest
 * asks need not be: such an operation goes through a buffer here, and a write of less than a block
 * is read, changed and written back under one lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/count.h"
#include "block/internal.h"

#define BOUNCE_MAX (1 << 20)

void iov_copy_in(const struct iovec *iov, int count, uint64_t skip, const void *from, size_t bytes)
{
	const char *source = from;

	for (int i = 0; i < count && bytes; i++) {
		size_t part = iov[i].iov_len;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part = part - skip < bytes ? part - skip : bytes;
		if (source) {
			memcpy((char *)iov[i].iov_base + skip, source, part);
			count_add(COUNT_COPIED_BYTES, part);
			source += part;
		} else {
			memset((char *)iov[i].iov_base + skip, 0, part);
		}
		bytes -= part;
		skip = 0;
	}
}

void iov_copy_out(const struct iovec *iov, int count, uint64_t skip, void *to, size_t bytes)
{
	char *target = to;

	for (int i = 0; i < count && bytes; i++) {
		size_t part = iov[i].iov_len;

		if (skip >= part) {
			skip -= part;
			continue;
		}
		part = part - skip < bytes ? part - skip : bytes;
		memcpy(target, (char *)iov[i].iov_base + skip, part);
		count_add(COUNT_COPIED_BYTES, part);
		target += part;
		bytes -= part;
		skip = 0;
	}
}

/* Opening */

static int open_failed(const char *path, struct error *err)
{
	return error_set_errno(err, errno, "Could not open '%s'", path);
}

static int check_kind(const struct file_config *config, mode_t mode, struct error *err)
{
	if (config->want_device && !S_ISBLK(mode))
		return error_set(err, EINVAL,
			"'host_device' driver requires '%s' to be a block device", config->path);
	if (!config->want_device && !S_ISREG(mode) && (config->want_regular || !S_ISBLK(mode)))
		return error_set(err, EINVAL, "'file' driver requires '%s' to be a regular file",
			config->path);
	return 0;
}

/* The smallest power of two that a direct read takes, first as length, then as address. */
static void probe_alignment(struct block_file *file)
{
	char *buffer = aligned_alloc(4096, 8192);

	file->offset_align = file->memory_align = 4096;
	if (!buffer)
		return;
	if (pread(file->fd, buffer, 512, 0) >= 0)
		file->offset_align = 512;
	for (unsigned align = 512; align < 4096; align *= 2) {
		if (pread(file->fd, buffer + align, file->offset_align, 0) >= 0) {
			file->memory_align = align;
			break;
		}
	}
	free(buffer);
}

static struct block_file *file_new(int fd, const char *path)
{
	struct block_file *file = calloc(1, sizeof(*file));

	if (file) {
		file->path = strdup(path);
		file->fd = fd;
		file->offset_align = file->memory_align = 1;
		pthread_mutex_init(&file->rmw_lock, NULL);
	}
	if (!file || !file->path) {
		free(file);
		close(fd);
		return NULL;
	}
	return file;
}

struct block_file *file_open(const struct file_config *config, struct error *err)
{
	int flags = O_CLOEXEC | (config->direct ? O_DIRECT : 0);
	bool readonly = config->readonly;
	struct block_file *file;
	struct stat stat_buffer;
	int fd;

	/* Looked at before it is opened: opening a pipe would wait for its other end. */
	if (stat(config->path, &stat_buffer) < 0) {
		open_failed(config->path, err);
		return NULL;
	}
	if (check_kind(config, stat_buffer.st_mode, err))
		return NULL;
	fd = open(config->path, flags | (readonly ? O_RDONLY : O_RDWR));
	if (fd < 0 && !readonly && config->auto_readonly && (errno == EACCES || errno == EROFS)) {
		readonly = true;
		fd = open(config->path, flags | O_RDONLY);
	}
	if (fd < 0) {
		if (errno == EINVAL && config->direct)
			error_set(err, EINVAL,
				"file system may not support O_DIRECT: Could not "
				"open '%s'",
				config->path);
		else
			open_failed(config->path, err);
		return NULL;
	}
	file = file_new(fd, config->path);
	if (!file) {
		error_set(err, ENOMEM, "'%s': out of memory", config->path);
		return NULL;
	}
	file->readonly = readonly;
	file->direct = config->direct;
	file->is_device = S_ISBLK(stat_buffer.st_mode);
	if (image_lock(fd, config->path, PERM_CONSISTENT_READ | (readonly ? 0 : PERM_WRITE),
		    PERM_WRITE, config->locking, err)) {
		file_close(file);
		return NULL;
	}
	if (file->direct)
		probe_alignment(file);
	return file;
}

struct block_file *file_temporary(struct error *err)
{
	const char *directory = getenv("TMPDIR");
	struct block_file *file;
	char path[PATH_MAX];
	int fd;

	if (!directory || !*directory)
		directory = "/var/tmp";
	fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
		snprintf(path, sizeof(path), "%s/assay-XXXXXX", directory);
		fd = mkostemp(path, O_CLOEXEC);
		if (fd >= 0)
			unlink(path);
	}
	if (fd < 0) {
		error_set_errno(err, errno, "Could not open temporary file in '%s'", directory);
		return NULL;
	}
	file = file_new(fd, directory);
	if (!file)
		error_set(err, ENOMEM, "temporary file: out of memory");
	return file;
}

void file_close(struct block_file *file)
{
	if (!file)
		return;
	image_unlock(file->fd);
	close(file->fd);
	pthread_mutex_destroy(&file->rmw_lock);
	free(file->path);
	free(file);
}

int64_t file_size(const struct block_file *file)
{
	uint64_t size;
	off_t end;

	if (file->is_device && ioctl(file->fd, BLKGETSIZE64, &size) == 0)
		return size <= INT64_MAX ? (int64_t)size : -EFBIG;
	end = lseek(file->fd, 0, SEEK_END);
	return end < 0 ? -errno : end;
}

int file_resize(struct block_file *file, uint64_t size, struct error *err)
{
	int64_t now = file_size(file);

	if (now < 0)
		return error_set_errno(err, -now, "Failed to inquire size of '%s'", file->path);
	if (file->is_device) {
		if (size > (uint64_t)now)
			return error_set(err, EINVAL, "Cannot grow device files");
		return 0;
	}
	if (ftruncate(file->fd, size) < 0)
		return error_set_errno(err, errno, "Failed to resize the file");
	return 0;
}

/* The first bytes of image formats that are not raw, as each format's document gives them. */
static const struct {
	const char *name;
	size_t offset, length;
	const char *bytes;
} formats[] = {
	{"qcow2", 0, 8, "QFI\xfb\0\0\0\2"},
	{"qcow2", 0, 8, "QFI\xfb\0\0\0\3"},
	{"qcow", 0, 8, "QFI\xfb\0\0\0\1"},
	{"vmdk", 0, 4, "KDMV"},
	{"vmdk", 0, 4, "COWD"},
	{"vmdk", 0, 21, "# Disk DescriptorFile"},
	{"vhdx", 0, 8, "vhdxfile"},
	{"vpc", 0, 8, "conectix"},
	{"vdi", 64, 4, "\x7f\x10\xda\xbe"},
	{"qed", 0, 4, "QED\0"},
	{"luks", 0, 6, "LUKS\xba\xbe"},
	{"parallels", 0, 16, "WithoutFreeSpace"},
	{"parallels", 0, 16, "WithouFreSpacExt"},
};

const char *file_probe_format(const struct block_file *file)
{
	char *head = aligned_alloc(4096, 4096);
	const char *found = NULL;
	ssize_t got;

	if (!head)
		return NULL;
	got = pread(file->fd, head, 4096, 0);
	for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]) && !found; i++)
		if (got >= 0 && (size_t)got >= formats[i].offset + formats[i].length &&
			!memcmp(head + formats[i].offset, formats[i].bytes, formats[i].length))
			found = formats[i].name;
	free(head);
	return found;
}

/* Operations */

bool file_io_aligned(const struct block_file *file, uint64_t offset, uint64_t length,
	const struct iovec *iov, int iov_count)
{
	if (!file->direct)
		return true;
	if ((offset | length) & (file->offset_align - 1))
		return false;
	for (int i = 0; i < iov_count; i++)
		if (((uintptr_t)iov[i].iov_base | iov[i].iov_len) & (file->memory_align - 1))
			return false;
	return true;
}

/* All of it, or what is there; -errno. */
static ssize_t read_fully(int fd, char *buffer, size_t bytes, uint64_t offset)
{
	size_t got = 0;

	while (got < bytes) {
		ssize_t n = pread(fd, buffer + got, bytes - got, offset + got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return got ? (ssize_t)got : -errno;
		if (n == 0)
			break;
		got += n;
		/* A short direct read ends at the end of the file, where no aligned one can go on.
		 */
		if (n & 511)
			break;
	}
	return got;
}

static ssize_t bounced_read(struct io *io, char *buffer, uint64_t start, size_t span, size_t head)
{
	ssize_t got = read_fully(io->file->fd, buffer, span, start);

	if (got < 0)
		return got;
	if ((size_t)got <= head)
		return 0;
	got -= head;
	if ((uint64_t)got > io->length)
		got = io->length;
	iov_copy_in(io->iov, io->iov_count, 0, buffer + head, got);
	return got;
}

static ssize_t bounced_write(struct io *io, char *buffer, uint64_t start, size_t span, size_t head)
{
	size_t bytes = span - head < io->length ? span - head : io->length;
	bool partial = head || bytes < span;
	ssize_t rc = 0;

	if (partial) {
		pthread_mutex_lock(&io->file->rmw_lock);
		memset(buffer, 0, span);
		rc = read_fully(io->file->fd, buffer, span, start);
	}
	iov_copy_out(io->iov, io->iov_count, 0, buffer + head, bytes);
	for (size_t put = 0; put < span && rc >= 0; put += rc > 0 ? rc : 0) {
		rc = pwrite(io->file->fd, buffer + put, span - put, start + put);
		if (rc < 0)
			rc = errno == EINTR ? 0 : -errno;
		else if (rc == 0)
			rc = -ENOSPC;
	}
	if (partial)
		pthread_mutex_unlock(&io->file->rmw_lock);
	return rc < 0 ? rc : (ssize_t)bytes;
}

/* Through a buffer; at most BOUNCE_MAX at once, the caller goes on behind a short transfer. */
static int64_t bounced(struct io *io)
{
	uint64_t mask = io->file->offset_align - 1;
	uint64_t start = io->offset & ~mask;
	size_t head = io->offset - start;
	uint64_t whole = (head + io->length + mask) & ~mask;
	size_t span = whole < BOUNCE_MAX ? whole : BOUNCE_MAX;
	char *buffer = aligned_alloc(4096, (span + 4095) & ~4095ul);
	ssize_t rc;

	if (!buffer)
		return -ENOMEM;
	if (io->kind == IO_READ)
		rc = bounced_read(io, buffer, start, span, head);
	else
		rc = bounced_write(io, buffer, start, span, head);
	free(buffer);
	return rc;
}

static int64_t write_zeroes_by_hand(struct io *io)
{
	size_t bytes = io->length < BOUNCE_MAX ? io->length : BOUNCE_MAX;
	char *zeroes = aligned_alloc(4096, (bytes + 4095) & ~4095ul);
	struct iovec iov = {.iov_base = zeroes, .iov_len = bytes};
	struct io write = {.file = io->file, .kind = IO_WRITE, .iov = &iov, .iov_count = 1};
	uint64_t done = 0;

	if (!zeroes)
		return -ENOMEM;
	memset(zeroes, 0, bytes);
	while (done < io->length) {
		write.offset = io->offset + done;
		write.length = io->length - done < bytes ? io->length - done : bytes;
		iov.iov_len = write.length;
		file_run(&write);
		if (write.result <= 0) {
			free(zeroes);
			return write.result ? write.result : -EIO;
		}
		done += write.result;
	}
	free(zeroes);
	return 0;
}

static int64_t allocate(struct io *io, int mode)
{
	int rc;

	do
		rc = fallocate(io->file->fd, mode, io->offset, io->length);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : 0;
}

#define PUNCH (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)

static int64_t zero_range(struct io *io, int mode)
{
	int64_t rc = allocate(io, mode);

	if (rc == -EOPNOTSUPP || rc == -EINVAL || rc == -ENODEV)
		return write_zeroes_by_hand(io);
	return rc;
}

/* A device that cannot promise zeroes may still be told. */
static int64_t discard_range(struct io *io)
{
	uint64_t range[2] = {io->offset, io->length};
	int64_t rc = allocate(io, PUNCH);

	if (rc < 0 && io->file->is_device)
		rc = ioctl(io->file->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	return rc;
}

static int64_t transfer(struct io *io)
{
	ssize_t rc;

	if (!file_io_aligned(io->file, io->offset, io->length, io->iov, io->iov_count))
		return bounced(io);
	do
		rc = io->kind == IO_READ
			     ? preadv(io->file->fd, io->iov, io->iov_count, io->offset)
			     : pwritev(io->file->fd, io->iov, io->iov_count, io->offset);
	while (rc < 0 && errno == EINTR);
	return rc < 0 ? -errno : rc;
}

void file_run(struct io *io)
{
	switch (io->kind) {
	case IO_NONE: io->result = 0; break;
	case IO_READ:
	case IO_WRITE: io->result = transfer(io); break;
	case IO_SYNC: io->result = fdatasync(io->file->fd) < 0 ? -errno : 0; break;
	case IO_PUNCH: io->result = zero_range(io, PUNCH); break;
	case IO_ZERO: io->result = zero_range(io, FALLOC_FL_ZERO_RANGE); break;
	case IO_OVERWRITE: io->result = write_zeroes_by_hand(io); break;
	case IO_DISCARD: io->result = discard_range(io); break;
	}
}
