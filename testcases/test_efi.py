# SPDX-License-Identifier: MIT
"""The UEFI form of each kernel: the same TESTs under OVMF, on QEMU's TCG, one boot a kernel.

The plugin makes the items from the tables of the other modules: each kernel on its first machine
that is a pc.  A module may say NO_EFI = "why".
"""

import runpy

from harness import tables

EFI = True


def test_each_kernel_has_its_uefi_form(bench):
    missing = []
    for path in sorted(tables.HERE.glob("test_*.py")):
        if "\nKERNEL = " not in path.read_text():
            continue
        module = runpy.run_path(str(path))
        image = bench.build / "kernels" / f"{module['KERNEL']}.efi"
        if "NO_EFI" not in module and not image.exists():
            missing.append(image.name)
    assert not missing, f"not built: {' '.join(missing)}"
