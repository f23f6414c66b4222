# SPDX-License-Identifier: MIT
"""The IDE bus master: two disks on the first channel, a large sparse one on the second."""

KERNEL = "ata_dma"
MACHINES = {
    "pc": "pc ide-hd:size=8M,serial=assay-ata-0 ide-hd:size=4M,unit=1"
    " ide-hd:size=200G,fill=zero,bus=ide.1"
}
