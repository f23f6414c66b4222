# SPDX-License-Identifier: MIT
"""ATA disks by registers and PIO: two disks on the first channel, a large sparse one on the second."""

KERNEL = "ata_pio"
MACHINES = {
    "pc": "pc ide-hd:size=8M,serial=assay-ata-0 ide-hd:size=4M,unit=1"
    " ide-hd:size=200G,fill=zero,bus=ide.1"
}
