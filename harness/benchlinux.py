# SPDX-License-Identifier: MIT
"""How long Debian's kernel takes to /init, ours beside QEMU's TCG: the uncompressed kernel by its PVH entry,
one processor, 256 MiB, a RAM disk with busybox (docs/linux.md).  Wall time of the host, from fork to the
first line of /init.
"""

import os
import selectors
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from . import linux

GUESTS = Path("build/guests")
REACHED = b"init: reached"
PATIENCE = 120.0
TIMES_TCG = 3


def seconds_to_init(line):
    """None: it did not come so far."""
    start = time.monotonic()
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    seen = b""
    try:
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        while REACHED not in seen:
            if not selector.select(PATIENCE):
                return None
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return None
            seen += data
        return time.monotonic() - start
    finally:
        process.kill()
        process.communicate()


def command(vmm, guests, ram_disk):
    line = vmm.command(["-machine", "pc", "-m", "256", "-kernel", guests / "vmlinux", "-initrd", ram_disk])
    return [str(word) for word in line + ["-append", "console=ttyS0 panic=-1"]]


def measure(vmms, runs, progress, guests=GUESTS):
    """{vmm: {"seconds": median, "fastest": s}}, or None where the kernel is not there (make guests)."""
    if not (guests / "vmlinux").exists():
        return None
    taken = {key: [] for key in vmms}
    with tempfile.TemporaryDirectory(prefix="bench-linux-") as folder:
        ram_disk = Path(folder) / "initrd"
        ram_disk.write_bytes(linux.initrd(guests, "poweroff -f"))
        for number in range(runs):
            progress.say(f"Linux to /init, run {number + 1} of {runs}", number == 0)
            for key, vmm in vmms.items():
                seconds = seconds_to_init(command(vmm, guests, ram_disk))
                if seconds:
                    taken[key].append(seconds)
    return {
        key: {"seconds": statistics.median(values), "fastest": min(values), "runs": len(values)}
        for key, values in taken.items()
        if values
    }


def lines(report):
    out = ["", "Debian's Linux from fork to the first line of /init, seconds (one processor)"]
    out.append(f"  {'':12}{'median':>10}{'fastest':>9}")
    for key, row in report.items():
        out.append(f"  {key:12}{row['seconds']:>10.2f}{row['fastest']:>9.2f}")
    return out


def judge(report):
    """(name, what was seen, whether it holds or None)"""
    name = f"soft: Linux to /init in at most {TIMES_TCG} times QEMU TCG's time"
    ours, peer = report.get("assay-soft"), report.get("qemu-tcg")
    if not ours or not peer:
        return name, "not measured on both", None
    times = ours["seconds"] / peer["seconds"]
    seen = f"{ours['seconds']:.2f} s of {peer['seconds']:.2f} s: {times:.2f}"
    return name, seen, times <= TIMES_TCG
