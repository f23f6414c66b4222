# SPDX-License-Identifier: MIT
"""Storage of `make bench`: kernel bench on each VMM, and what the host's disk gives by itself (docs/performance.md)."""

import os
import re
import selectors
import shutil
import subprocess
import threading
from pathlib import Path

from . import exact, hostcpu
from .listener import Listener
from .machines import make_image
from .qmp import Qmp, QmpClosed, QmpError

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


class Marks:
    """The host's end of the control port: takes a snapshot of the VM at each mark."""

    def __init__(self, path):
        self.snapshots = []  # (["begin", CELL] or ["end"], snapshot)
        self.take = None  # set with `ready`: a guest may be at its first mark before QMP is there
        self.ready = threading.Event()
        self.error = None
        self._listener = Listener(path, self._serve)

    def close(self):
        self._listener.close()

    def _answer(self, words):
        if words[2] == "hello":
            return f"OK {words[1]} assay-bench 1"
        if words[2] == "mark":
            if not self.ready.wait(10):
                return f"NO {words[1]} not ready"
            self.snapshots.append((words[3:], self.take()))
            return f"OK {words[1]}"
        return f"NO {words[1]} no verb {words[2]}"

    def _serve(self, listener):
        peer = listener.accept()
        if not peer:
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


class Images:
    """The disks of all VMs, one after the other, and one that no guest reads."""

    def __init__(self, folder):
        self.ata, self.virtio, self.bare = (Path(folder) / f"{name}.img" for name in ("ata", "virtio", "bare"))
        for image in (self.ata, self.virtio, self.bare):
            make_image(image, IMAGE, "lba")


class Storage:
    """One VM that runs some cells."""

    def __init__(self, vmm, kernel, folder, images, names, options, progress):
        self.vmm = vmm
        self.cache = options.cache
        self.names = names
        self.progress = progress
        self.folder = Path(folder)
        self.images = images
        self.peak_private = 0
        self.pid = None
        self.marks = Marks(str(self.folder / "control"))
        line = vmm.command(self._machine(), qmp=self.folder / "qmp", control=self.folder / "control")
        line += ["-kernel", kernel, "-append", f"ms={options.ms} run=nothing,{','.join(names)}"]
        self.line = [str(word) for word in line]

    def _machine(self):
        words = ["-machine", "pc", "-m", str(RAM // MIB)]
        drive = f"format=raw,cache={self.cache},aio={self._aio()}"
        words += ["-drive", f"file={self.images.ata},if=ide,{drive}"]
        words += ["-object", "iothread,id=io0"]
        words += ["-drive", f"file={self.images.virtio},if=none,id=v,{drive}"]
        words += ["-device", f"virtio-blk-pci,drive=v,iothread=io0,{exact.DISK}"]
        words += ["-blockdev", exact.NULL, "-device", f"virtio-blk-pci,drive=null,iothread=io0,{exact.DISK}"]
        return words

    def _aio(self):
        """io_uring, or threads where this QEMU was built without it."""
        if not self.vmm.is_qemu:
            return "io_uring"
        done = subprocess.run(
            [self.vmm.path, "-machine", "none", "-display", "none", "-S", "-monitor", "stdio",
             "-drive", f"file={self.images.ata},format=raw,if=none,aio=io_uring"],
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


def bare(image, names, row, options):
    """{depth: figures} of the host's disk by itself, for the requests of these cells."""
    found = {}
    for name in names:
        path, _, kib, depth = CELL.match(name).groups()
        if path == "virtio" or path == "queues":
            found[int(depth) * (4 if path == "queues" else 1)] = int(kib) << 10
    result = {}
    for depth, size in sorted(found.items()):
        kind = "random" if size == 4096 else "sequential"
        command = [options.bare, image, row.split("_")[0], kind, size, depth, options.ms]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SILENCE)
        if done.returncode:
            raise BenchError(done.stderr.strip() or f"status {done.returncode}")
        operations, ns, cpu = (int(word) for word in done.stdout.split())
        result[depth] = {"iops": operations * 1e9 / ns, "cpu_us": cpu / operations}
    return result


def measure_bare(report, row, image, names, options, progress):
    if report["cache"] != "none" or "disk" in report["left_out"]:
        return
    progress.say(f"the host's disk by itself: {row}")
    try:
        report["disk"][row] = bare(image, names, row, options)
    except (BenchError, OSError, subprocess.SubprocessError) as error:
        report["left_out"]["disk"] = f"the host's disk by itself: {error}"


def measure_storage(report, vmms, folder, options, progress):
    """Row by row, all VMMs in turn, so that the disk's moods hit all of them."""
    names = cells(options.all)
    images = Images(folder)
    report["disk"] = {}
    for row in ROWS:
        chosen = [name for name in names if CELL.match(name).group(2) == row]
        measure_bare(report, row, images.bare, chosen, options, progress)
        for key, vmm in vmms.items():
            if key in report["left_out"]:
                continue
            progress.say(f"{key}: {row}")
            place = Path(folder) / key
            place.mkdir()
            try:
                storage = Storage(vmm, options.kernel, place, images, chosen, options, progress)
                report["storage"].setdefault(key, {}).update(storage.run())
                start = report["start"][key]
                peak = max(start.get("private_kib_storage", 0), storage.peak_private // 1024)
                start["private_kib_storage"] = peak
            except BenchError as error:
                report["left_out"][key] = str(error)
            shutil.rmtree(place, ignore_errors=True)
