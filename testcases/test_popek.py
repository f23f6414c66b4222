# SPDX-License-Identifier: MIT
"""The sensitive instructions that do not trap: can the guest tell that it is not alone?

build/report/popek.tsv gets a line for each TEST and engine; docs/popek.md has the table.
"""

KERNEL = "popek"
MACHINES = {"pc": "pc cpu:model=max"}
