#!/bin/bash
# SPDX-License-Identifier: MIT
# Fetches the guests that are test data: Debian's kernel and busybox, unpacked into build/guests and
# never installed.  Nothing of it is needed to build; without it the tests of Linux skip.
set -euo pipefail

folder=${1:-build/guests}
[ -e "$folder/vmlinux" ] && [ -e "$folder/modules/virtio-rng.ko" ] && exit 0

fail() {
	echo "guests: $1; the tests of Linux will skip"
	exit 0
}

fetch=$folder/fetch
mkdir -p "$fetch"
cd "$fetch"
kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
	sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
[ -n "$kernel" ] || fail "apt knows no linux-image-cloud-amd64"
apt-get download -qq "$kernel" busybox-static 2>/dev/null || fail "cannot download $kernel"
for package in *.deb; do
	dpkg-deb -x "$package" root
done
mkdir -p modules
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_mmio \
	virtio_blk virtio_console virtio-rng scsi_common scsi_mod libata sd_mod ata_piix; do
	find root -name "$module.ko" -exec cp {} modules/ \;
done
cp root/bin/busybox busybox
cp root/boot/vmlinuz-* bzImage
# The payload of a bzImage: where its header says, LZ4 in Debian's; the last four bytes are its size.
python3 - bzImage <<'EOF' | lz4 -dq - vmlinux.new || fail "$kernel is not packed with LZ4"
import struct, sys
image = open(sys.argv[1], "rb").read()
code = ((image[0x1F1] or 4) + 1) * 512
offset, length = struct.unpack_from("<II", image, 0x248)
sys.stdout.buffer.write(image[code + offset : code + offset + length - 4])
EOF
mv bzImage busybox modules ..
mv vmlinux.new ../vmlinux
cd ..
rm -r fetch
echo "guests: $kernel and busybox-static are unpacked"
