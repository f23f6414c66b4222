# SPDX-License-Identifier: MIT
"""fw_cfg, PIIX4 power management, reset and power-off."""

KERNEL = "platform"
MACHINES = {"pc": "pc module fw_cfg:name=opt/org.assay/word,string=bench!"}
