# SPDX-License-Identifier: MIT
"""`make bench`: storage by ATA PIO, ATA DMA and virtio-blk on ours and on QEMU, what starting a VM costs, and
how fast the software processor computes; one table, and the targets judged (docs/performance.md says how each figure is defined).

    python3 -m harness.bench [--vmm build/assay] [--peer qemu-system-x86_64] [--all] [--ms 300]
"""

import argparse
import json
import os
import re
import selectors
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from . import benchbochs, benchlinux, benchspeed, exact, hostcpu, probe
from .machines import make_image
from .qmp import Qmp, QmpClosed, QmpError
from .vmm import Vmm

MIB = 1 << 20
RAM = 96 * MIB  # unlike the 64 MiB heaps of libc
IMAGE = 64 * MIB
SILENCE = 60.0  # seconds without a word from a VM

PATHS = {
    "pio": "ATA PIO",
    "dma": "ATA DMA",
    "virtio": "virtio-blk",
    "packed": "virtio-blk packed",
    "queues": "4 queues",
    "packedqueues": "4 queues packed",
    "null": "no disk behind",
    "nullpacked": "no disk, packed",
}
ROWS = ["read_4k", "write_4k", "read_128k", "write_128k"]
ROW_NAMES = {
    "read_4k": "4 KiB random read",
    "write_4k": "4 KiB random write",
    "read_128k": "128 KiB sequential read",
    "write_128k": "128 KiB sequential write",
}
CELL = re.compile(r"([a-z]+)_((?:read|write)_(\d+)k)_(\d+)$")


class BenchError(Exception):
    pass


def cells(everything):
    depths = {"pio": [1], "dma": [1], "virtio": [1, 8, 32] if everything else [1, 32]}
    depths.update(queues=[32], packedqueues=[32])
    return [
        f"{path}_{row}_{depth}"
        for row in ROWS
        for path in PATHS
        for depth in depths.get(path, [1, 32])
        if row.endswith("4k") or path in ("pio", "dma", "virtio", "packed")
    ]


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


class Marks:
    """The host's end of the control port: takes a snapshot of the VM at each mark."""

    def __init__(self, path):
        self.snapshots = []  # (["begin", CELL] or ["end"], snapshot)
        self.take = None  # set with `ready`: a guest may be at its first mark before QMP is there
        self.ready = threading.Event()
        self.error = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self):
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self._thread.join(2)

    def _answer(self, words):
        if words[2] == "hello":
            return f"OK {words[1]} assay-bench 1"
        if words[2] == "mark":
            if not self.ready.wait(10):
                return f"NO {words[1]} not ready"
            self.snapshots.append((words[3:], self.take()))
            return f"OK {words[1]}"
        return f"NO {words[1]} no verb {words[2]}"

    def _serve(self):
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return
        rest = b""
        with peer:
            while True:
                try:
                    data = peer.recv(4096)
                    if not data:
                        return
                    rest += data
                    while b"\n" in rest:
                        line, _, rest = rest.partition(b"\n")
                        words = line.decode("ascii", "replace").strip("\r\0 ").split()
                        if len(words) >= 3 and words[0] == "REQ":
                            peer.sendall(self._answer(words).encode() + b"\n")
                except (OSError, QmpError, QmpClosed, ValueError) as error:
                    self.error = error
                    return


class Storage:
    """One VM that runs all cells."""

    def __init__(self, vmm, kernel, folder, names, options, progress):
        self.vmm = vmm
        self.cache = options.cache
        self.names = names
        self.progress = progress
        self.folder = Path(folder)
        self.peak_private = 0
        self.pid = None
        self.marks = Marks(str(self.folder / "control"))
        line = vmm.command(self._machine(), qmp=self.folder / "qmp", control=self.folder / "control")
        line += ["-kernel", kernel, "-append", f"ms={options.ms} run=nothing,{','.join(names)}"]
        self.line = [str(word) for word in line]

    def _machine(self):
        words = ["-machine", "pc", "-m", str(RAM // MIB)]
        for name in ("ata", "virtio"):
            make_image(self.folder / f"{name}.img", IMAGE, "lba")
        drive = f"format=raw,cache={self.cache},aio={self._aio()}"
        words += ["-drive", f"file={self.folder}/ata.img,if=ide,{drive}"]
        words += ["-object", "iothread,id=io0"]
        words += ["-drive", f"file={self.folder}/virtio.img,if=none,id=v,{drive}"]
        words += ["-device", f"virtio-blk-pci,drive=v,iothread=io0,{exact.DISK}"]
        words += ["-blockdev", exact.NULL, "-device", f"virtio-blk-pci,drive=null,iothread=io0,{exact.DISK}"]
        return words

    def _aio(self):
        """io_uring, or threads where this QEMU was built without it."""
        if not self.vmm.is_qemu:
            return "io_uring"
        image = self.folder / "ata.img"
        done = subprocess.run(
            [self.vmm.path, "-machine", "none", "-display", "none", "-S", "-monitor", "stdio",
             "-drive", f"file={image},format=raw,if=none,aio=io_uring"],
            input=b"quit\n", capture_output=True, timeout=60,
        )  # fmt: skip
        return "io_uring" if done.returncode == 0 else "threads"

    def _take(self):
        self.peak_private = max(self.peak_private, hostcpu.private_memory(self.pid, RAM))
        return hostcpu.snapshot(self.pid, self.vcpus, self.qmp)

    def run(self):
        """{cell: figures}, with "nothing" taken off."""
        process = subprocess.Popen(
            self.line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.pid = process.pid
        try:
            self.qmp = Qmp(self.folder / "qmp")
            self.vcpus = [row["thread-id"] for row in self.qmp.command("query-cpus-fast")]
            self.marks.take = self._take
            self.marks.ready.set()
            metrics, failed = self._listen(process)
        except (OSError, QmpError, QmpClosed) as error:
            process.kill()
            raise BenchError(f"{error}: {process.communicate()[1].decode()[-300:]}") from None
        finally:
            process.kill()
            process.wait()
            self.marks.close()
        if self.marks.error:
            raise BenchError(f"a mark failed: {self.marks.error}")
        return self._figures(metrics, failed)

    def _listen(self, process):
        """What the kernel prints: {cell: {metric: value}} and the cells that failed."""
        metrics, failed, name, rest = {}, {}, None, b""
        selector = selectors.DefaultSelector()
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(SILENCE):
                raise BenchError(f"silent for {SILENCE:.0f} s in {name}")
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                return metrics, failed
            rest += data
            while b"\n" in rest:
                line, _, rest = rest.partition(b"\n")
                text = line.decode("ascii", "replace").strip()
                if text.startswith("# begin "):
                    name = text.split()[2]
                    metrics[name] = {}
                    self.progress.say(f"{self.vmm.kind} {self.vmm.accel}: {name}", False)
                elif text.startswith("# metric "):
                    _, _, key, value = text.split()
                    metrics[name][key] = int(value)
                elif text.startswith("not ok ") or "# SKIP" in text:
                    failed[name] = text

    def _figures(self, metrics, failed):
        pairs = {}
        snapshots = self.marks.snapshots
        for (begin, before), (end, after) in zip(snapshots[::2], snapshots[1::2]):
            if begin[0] != "begin" or end != ["end"]:
                raise BenchError("the marks do not alternate")
            pairs.setdefault(begin[1], []).append(hostcpu.difference(before, after))
        if "nothing" not in pairs:
            raise BenchError("no marks came: is the control port there?")
        nothing = hostcpu.median_of(pairs["nothing"])
        result = {}
        for name in self.names:
            if name in failed:
                result[name] = {"failed": failed[name]}
            elif not metrics.get(name) or name not in pairs:
                result[name] = {"failed": "did not run"}
            else:
                result[name] = figures(name, metrics[name], pairs[name][0], nothing)
        return result


def figures(name, metric, pair, nothing):
    """Of one cell, per operation where it says so."""
    count = metric["operations"]
    seconds = metric["ns"] / 1e9
    size = int(CELL.match(name).group(3)) << 10
    cell = {
        "operations": count,
        "seconds": seconds,
        "batch": metric["batch"],
        "iops": count / seconds,
        "mb_s": count * size / seconds / 1e6,
        "interrupts": metric["interrupts"] / count,
    }
    for key in ("exits", "kicks"):
        if pair.get(key) is not None and nothing.get(key) is not None:
            cell[key] = max(0, pair[key] - nothing[key]) / count
    for key in ("vcpu_us", "vmm_us", "total_us"):
        cell[key] = max(0.0, pair[key] - nothing[key]) / count
    return cell


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
        for key, vmm in vmms.items():
            progress.say(f"{key}: storage")
            place = Path(folder) / key
            place.mkdir()
            try:
                storage = Storage(
                    vmm, options.kernel, place, cells(options.all), options, progress
                )
                report["storage"][key] = storage.run()
                report["start"][key]["private_kib_storage"] = storage.peak_private // 1024
            except BenchError as error:
                report["left_out"][key] = str(error)
            shutil.rmtree(place, ignore_errors=True)
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
