/* SPDX-License-Identifier: MIT */
/*
 * Firmware images (bios.h).  A PC's flash ends at 4 GiB, where the processor's first instruction
 * lies (SDM 3A, 9.1.4), and its last 128 KiB show below 1 MiB as well.
 *
 * Left out: the copy below 1 MiB is RAM from the start, whatever the host bridge's PAM registers
 * say.  Firmware that shadows itself works; one that counts on its ROM being unwritable there does
 * not.  A reset brings the copy back.
 */
#include "board/bios.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IMAGE_MAX  (16u << 20) /* above lie the APICs, and KVM's own pages */
#define IMAGE_UNIT 0x10000u
#define TOP	   (1ull << 32)
#define SHADOW	   0x20000u
#define SHADOW_END 0x100000u

static const char *const folders[] = {"/usr/share/seabios", "/usr/share/qemu", "/usr/share/ovmf"};
static const char default_name[] = "bios-256k.bin"; /* as QEMU looks for it in -L's folder */

static struct {
	char path[4096];
	uint32_t size;
} image;

static bool try_path(const char *folder, const char *name)
{
	int length = snprintf(
		image.path, sizeof(image.path), "%s%s%s", folder, *folder ? "/" : "", name);

	return length < (int)sizeof(image.path) && access(image.path, R_OK) == 0;
}

static bool find(const struct board_config *config, const char *name)
{
	if (try_path("", name) || (config->firmware_path && try_path(config->firmware_path, name)))
		return true;
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && !strchr(name, '/'); i++)
		if (try_path(folders[i], name))
			return true;
	return false;
}

bool bios_wanted(const struct board_config *config)
{
	if (config->kernel)
		return false;
	return config->bios ||
	       (config->firmware_path && try_path(config->firmware_path, default_name));
}

int bios_create(struct machine *machine, const struct board_config *config, struct error *err)
{
	const char *name = config->bios ? config->bios : default_name;
	struct stat st;

	image.size = 0;
	if (!bios_wanted(config))
		return 0;
	if (config->bios ? !find(config, name) : !try_path(config->firmware_path, name))
		return error_set_errno(err, ENOENT, "-bios %s: could not load PC BIOS", name);
	if (stat(image.path, &st) < 0)
		return error_set_errno(err, errno, "-bios %s: could not load PC BIOS", name);
	if (!S_ISREG(st.st_mode) || !st.st_size || st.st_size > IMAGE_MAX ||
		st.st_size % IMAGE_UNIT)
		return error_set(err, EINVAL,
			"-bios %s: could not load PC BIOS: not a multiple of 64 KiB up to 16 MiB",
			name);
	image.size = st.st_size;
	return memory_add(&machine->memory, "bios", TOP - image.size, image.size, true, err);
}

int bios_load(struct machine *machine, struct error *err)
{
	uint32_t shadow = image.size < SHADOW ? image.size : SHADOW;
	uint8_t *data = malloc(image.size);
	int fd = data ? open(image.path, O_RDONLY | O_CLOEXEC) : -1;
	int rc = 0;

	if (!data)
		return error_set(err, ENOMEM, "out of memory");
	if (fd < 0 || pread(fd, data, image.size, 0) != (ssize_t)image.size)
		rc = error_set_errno(
			err, fd < 0 ? errno : EIO, "-bios %s: could not load PC BIOS", image.path);
	else if (guest_load(&machine->memory, TOP - image.size, data, image.size) ||
		 guest_load(
			 &machine->memory, SHADOW_END - shadow, data + image.size - shadow, shadow))
		rc = error_set(err, EFAULT, "-m: no memory below 1 MiB for the firmware");
	if (fd >= 0)
		close(fd);
	free(data);
	return rc;
}
