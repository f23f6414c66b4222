# SPDX-License-Identifier: MIT
"""fw_cfg, PIIX4 power management, reset and power-off."""

KERNEL = "platform"
# The UEFI form runs on the first machine, and QEMU loads no module beside an EFI application.
MACHINES = {
    "pc": "pc fw_cfg:name=opt/org.assay/word,string=bench!",
    "module": "pc module fw_cfg:name=opt/org.assay/word,string=bench!",
}
