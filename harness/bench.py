# SPDX-License-Identifier: MIT
"""`make bench`: storage by ATA PIO, ATA DMA and virtio-blk on ours and on QEMU, what starting a VM costs, and
how fast the software processor computes; one table, and the targets judged (docs/performance.md says how each figure is defined).

    python3 -m harness.bench [--vmm build/assay] [--peer qemu-system-x86_64] [--all] [--ms 300]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from . import benchbochs, benchlinux, benchspeed, benchvirtio, exact, hostcpu, probe
from .benchstorage import MIB, RAM, BenchError, measure_storage
from .vmm import Vmm

class Progress:
    """One line that is written over, or lines where nobody looks at a terminal."""

    def __init__(self):
        self.on_terminal = sys.stderr.isatty()
        self.start = time.monotonic()
        self.last = ""

    def say(self, text, always=True):
        elapsed = time.monotonic() - self.start
        if self.on_terminal:
            print(f"\r\x1b[K[{elapsed:4.0f} s] {text}", end="", file=sys.stderr, flush=True)
        elif always and text != self.last:
            print(f"[{elapsed:4.0f} s] {text}", file=sys.stderr, flush=True)
        self.last = text

    def done(self):
        if self.on_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


# ---- start to exit ----


def start_line(vmm, kernel):
    line = vmm.command(["-machine", "microvm,acpi=off", "-m", str(RAM // MIB)])
    return [str(word) for word in line + ["-kernel", kernel]]


def start_once(line):
    """(seconds, peak RSS in KiB) of the whole process"""
    start = time.monotonic()
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    out, err = process.stdout.read(), process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    if process.returncode != 1 or b"hello" not in out:
        raise BenchError(f"the one-line kernel did not run: {process.returncode} {err.decode()}")
    return seconds, usage.ru_maxrss


def private_when_up(line):
    """Private memory less touched guest RAM, and library pages, of a VM that printed and halts."""
    process = subprocess.Popen(
        line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        process.stdout.read(6)
        return (
            hostcpu.private_memory(process.pid, RAM),
            hostcpu.file_memory(process.pid),
        )
    finally:
        process.kill()
        process.communicate()


def measure_start(vmms, folder, runs, progress):
    exits, halts = Path(folder) / "exits.elf", Path(folder) / "halts.elf"
    exits.write_bytes(probe.pvh_elf(probe.prints(b"hello\n") + probe.exits(0)))
    halts.write_bytes(probe.pvh_elf(probe.prints(b"hello\n") + probe.HALT))
    taken = {key: [] for key in vmms}
    for number in range(runs + 1):
        progress.say(f"start to exit, run {number} of {runs}", number == 1)
        for key, vmm in vmms.items():  # in turn, so that the host's moods hit all
            row = start_once(start_line(vmm, exits))
            if number:  # the first fills the page cache
                taken[key].append(row)
    result = {}
    for key, vmm in vmms.items():
        private, library = private_when_up(start_line(vmm, halts))
        result[key] = {
            "seconds": statistics.median(row[0] for row in taken[key]),
            "fastest": min(row[0] for row in taken[key]),
            "peak_rss_kib": int(statistics.median(row[1] for row in taken[key])),
            "private_kib": private // 1024,
            "library_kib": library // 1024,
            "runs": runs,
        }
    return result


# ---- all of it ----


def can_direct(folder):
    try:
        os.close(os.open(Path(folder) / "direct", os.O_CREAT | os.O_RDWR | os.O_DIRECT))
    except OSError:
        return False
    return True



def usable(vmm):
    """None, or why this VMM is left out."""
    if vmm.missing:
        return vmm.missing
    if probe.guest_speed(vmm.path, vmm.accel) is None:
        return f"{vmm.path} -accel {vmm.accel} does not run here"
    return None


def main():
    from . import benchreport

    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--vmm", default="build/assay")
    parser.add_argument("--peer", default="qemu-system-x86_64")
    parser.add_argument("--kernel", default="build/kernels/bench.elf")
    parser.add_argument("--bare", default="build/bare-disk", help="the program that measures the disk by itself")
    parser.add_argument("--ring-cost", default="build/unit/test_ring_cost", help="what callgrind counts")
    parser.add_argument("--speed", default="build/kernels/speed.elf", help="the kernel of integer work")
    parser.add_argument("--runs", type=int, default=5, help="of each kernel of integer work")
    parser.add_argument("--no-bochs", action="store_true", help="leave it out")
    parser.add_argument("--linux-runs", type=int, default=3, help="of Linux to /init; 0: none")
    parser.add_argument("--report", default="build/report/bench.json")
    parser.add_argument("--ms", type=int, default=1000, help="how long a cell runs")
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--all", action="store_true", help="more rows, and longer")
    parser.add_argument("--cache", default="none", help="of the drives, as -drive cache=")
    options = parser.parse_args()
    progress = Progress()
    vmms = {"assay": Vmm(options.vmm, "kvm"), "assay-soft": Vmm(options.vmm, "soft", host_clock=True)}
    if shutil.which(options.peer):
        vmms["qemu-tcg"] = Vmm(options.peer, "tcg")
        vmms["qemu-kvm"] = Vmm(options.peer, "kvm")
    report = {"storage": {}, "left_out": {}, "start": {}}
    report.update(ms=options.ms, all=options.all, cache=options.cache)
    for key in list(vmms):
        progress.say(f"can {key} run here?", False)
        reason = usable(vmms[key])
        if reason:
            report["left_out"][key] = reason
            del vmms[key]
    if "assay-soft" not in vmms:
        progress.done()
        sys.exit(f"bench: {report['left_out']['assay-soft']}")
    report["interprets"] = "assay" in vmms and probe.interprets(vmms["assay"].path, "kvm")
    computing = {key: vmm for key, vmm in vmms.items() if key in ("assay-soft", "qemu-tcg")}
    scale = min(1.0, options.ms / 1000)
    report["speed"] = benchspeed.measure(computing, options.speed, options.runs, progress, scale)
    reason = "not asked for" if options.no_bochs else benchbochs.missing()
    if reason:
        report["left_out"]["bochs"] = reason
    else:
        benchbochs.measure(options.speed.replace(".elf", ".mb.elf"), report["speed"], progress)
    if options.linux_runs:
        report["linux"] = benchlinux.measure(computing, options.linux_runs, progress)
    build = Path("build").resolve()
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=build) as folder:
        if options.cache in ("none", "directsync") and not can_direct(folder):
            report["cache"] = options.cache = "writeback"  # no O_DIRECT on this file system
        report["start"] = measure_start(vmms, folder, options.starts, progress)
        measure_storage(report, vmms, folder, options, progress)
    report["host_instructions"] = benchvirtio.host_instructions(options.ring_cost)
    progress.say("exact costs on soft", False)
    try:
        report["exact"] = exact.measure_twice(options.vmm, Path(options.kernel).parent)
    except exact.ExactError as error:
        report["left_out"]["exact costs"] = str(error)
    progress.done()
    report["targets"] = benchreport.judge(report)
    path = Path(options.report)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(benchreport.table(report))
    print(f"\n{path} has all figures; {time.monotonic() - progress.start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
