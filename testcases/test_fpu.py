# SPDX-License-Identifier: MIT
"""x87, MMX and SSE to SSE4.2, FXSAVE and XSAVE."""

KERNEL = "fpu"
MACHINES = {"pc": "pc cpu:model=max", "baseline": "pc"}
