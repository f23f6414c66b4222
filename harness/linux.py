# SPDX-License-Identifier: MIT
"""Linux as a guest: Debian's kernel (ci/guests.sh) with busybox in an initial RAM disk of our own."""

from pathlib import Path

# in the order in which they need each other
MODULES = (
    "virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_mmio virtio_blk "
    "virtio_console virtio-rng "
    "scsi_common scsi_mod libata sd_mod ata_piix"
).split()

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
for module in {modules}; do insmod /modules/$module.ko; done
echo "init: reached"
{body}
"""

DIRECTORY, FILE, CHARACTER = 0o40755, 0o100755, 0o20600


def entry(number, name, mode, data=b"", device=(0, 0)):
    """One member of a cpio archive, "newc" format."""
    name = name.encode() + b"\0"
    fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name), 0]
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)


def initrd(guests, body):
    """The bytes of a RAM disk whose /init loads the drivers and goes on with the shell lines `body`."""
    guests = Path(guests)
    init = INIT.format(modules=" ".join(MODULES), body=body)
    members = [(name, DIRECTORY) for name in ("dev", "bin", "proc", "sys", "modules", "ata", "virtio")]
    members += [("dev/console", CHARACTER, b"", (5, 1))]
    members += [("bin/busybox", FILE, (guests / "busybox").read_bytes())]
    members += [("init", FILE, init.encode())]
    members += [
        (f"modules/{name}.ko", FILE, (guests / "modules" / f"{name}.ko").read_bytes()) for name in MODULES
    ]
    members += [("TRAILER!!!", 0)]
    return b"".join(entry(number, *member) for number, member in enumerate(members, 1))
