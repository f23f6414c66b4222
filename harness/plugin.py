# SPDX-License-Identifier: MIT
"""The pytest plugin: each TEST of each kernel on each machine is one item.

A module testcases/test_NAME.py says what is run:

    KERNEL = "virtio_blk"                                # build/kernels/virtio_blk.elf
    MACHINES = {"pci": "pc blk-pci", "mmio": "microvm blk-mmio"}
    PEER = False                                         # not on the other VMM in `make check`
    OURS_ONLY = ("iothread",)                            # machines that QEMU cannot be

It may have ordinary test functions as well; the fixture `bench` gives them the VMM and the probes.
"""

import os
import random
import runpy
from pathlib import Path

import pytest

from . import elf, probe, report, tables
from .items import KernelItem, MissingKernel, ShuffledItem, efi_boot
from .pool import Pool
from .session import Session
from .unit import UnitFile
from .vmm import Vmm

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"


def pytest_addoption(parser):
    group = parser.getgroup("assay")
    add = group.addoption
    add("--vmm", default=os.environ.get("VMM") or "build/assay", help="the VMM under test")
    add("--accel", default=os.environ.get("ACCEL") or "kvm", help="its accelerators, by comma")
    add("--peer", default="", help="VMM:ACCEL that runs the same kernels beside it")
    add("--shuffle-seed", type=int, default=None, help="seed of the shuffled run (default: random)")
    add("--no-shuffle", action="store_true", help="no shuffled run of each kernel")
    add("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="VMs at a time")
    add("--require-engine", action="store_true", help="fail if no item ran on the VMM under test")
    add("--unit", default="build/unit", help="the folder of the cmocka tests")
    add(
        "--life",
        choices=("same", "other"),
        help="save each TEST at its first checkpoint; it goes on in a new process, on that engine",
    )
    add("--whole", action="store_true", help="no samples: all of everything (make soak)")


def pytest_configure(config):
    os.chdir(ROOT)
    bench = Bench(config)
    config.assay = bench
    config.pluginmanager.register(report.Report(bench), "assay-report")


class Bench:
    """What this run is about: the VMMs, the sessions, the seed."""

    def __init__(self, config):
        option = config.option
        path = option.vmm if "/" not in option.vmm else str(ROOT / option.vmm)
        self.config = config
        self.vmms = [Vmm(path, accel) for accel in option.accel.split(",")]
        self.peers = []
        if option.peer:
            peer, _, accel = option.peer.partition(":")
            if peer != option.vmm:
                self.peers = [Vmm(peer, accel or "tcg")]
        self.seed = option.shuffle_seed
        if self.seed is None:
            self.seed = random.SystemRandom().randrange(1, 1 << 31)
        self.whole = option.whole
        self.vmm = next((vmm for vmm in self.vmms if not vmm.missing), self.vmms[0])
        self.pool = Pool(option.jobs)
        self.sessions = {}
        self.notes = []  # what the run must say of itself at its end
        self.kernels = {}
        self.ambiguous = tables.ambiguous()
        self.root = ROOT
        self.build = BUILD
        self._expected = {}

    def expected(self, vmm):
        if vmm.kind not in self._expected:
            self._expected[vmm.kind] = tables.expected_failures(vmm.kind)
        return self._expected[vmm.kind]

    def image(self, kernel):
        return BUILD / "kernels" / f"{kernel}.elf"

    def tests(self, kernel):
        """The TESTs of a kernel; ElfError or OSError if it is not there."""
        if kernel not in self.kernels:
            self.kernels[kernel] = elf.list_tests(self.image(kernel))
        return self.kernels[kernel]

    def again(self, item):
        """The command that runs one item again."""
        option = self.config.option
        vmm = item.vmm
        more = "" if vmm in self.vmms and option.vmm == "build/assay" else f" --vmm={vmm.path.removeprefix(str(ROOT) + '/')}"
        more += f" --accel={vmm.accel}" if more or vmm.accel != "kvm" else ""
        return f"/usr/bin/python3 -m pytest '{item.nodeid}'{more}"

    def session(self, item, tests, total, seed=None):
        """The session of a group of items, made once and queued."""
        key = item.group + (seed,)
        if key not in self.sessions:
            control = any("ctl" in test.needs for test in self.tests(item.kernel))
            tells = any("tells" in test.needs for test in self.tests(item.kernel))
            life = self.config.option.life
            partial = tells and probe.missing_parts(item.vmm.path, item.vmm.accel)
            label = "-".join(str(part) for part in key if part is not None)
            self.sessions[key] = Session(
                item.kernel,
                item.image,
                item.words + (f" life:to={life},at=1" if life else ""),
                item.vmm,
                tests,
                total,
                folder=BUILD / "run" / label.replace("/", "_"),
                seed=seed,
                control=control or bool(life) or " life:" in item.words,
                boot=item.boot,
                append="exact=0" if partial else "",
            )
            self.pool.add(self.sessions[key])
        return self.sessions[key]


class KernelModule(pytest.Module):
    """A module of testcases/ with a kernel: its TESTs first, then its functions."""

    def collect(self):
        yield from self._kernel_items()
        yield from super().collect()

    def _kernel_items(self):
        bench = self.config.assay
        if getattr(self.obj, "EFI", False):
            yield from self._efi_items(bench)
            return
        kernel = getattr(self.obj, "KERNEL", None)
        if kernel is None:
            return
        machines = getattr(self.obj, "MACHINES", {"pc": "pc"})
        peers = bench.peers if getattr(self.obj, "PEER", True) else []
        ours_only = getattr(self.obj, "OURS_ONLY", ())
        for vmm in bench.vmms + peers:
            if vmm.is_qemu:
                machines = {name: machines[name] for name in machines if name not in ours_only}
            yield from self._items(bench, kernel, machines, vmm, bench.image(kernel))

    def _items(self, bench, kernel, machines, vmm, image, boot=None, prefix=""):
        try:
            tests = bench.tests(kernel)
        except (OSError, elf.ElfError) as error:
            yield MissingKernel.from_parent(self, name=f"{prefix}kernel[{vmm.label}]", error=error)
            return
        for machine, words in machines.items():
            more = {"kernel": kernel, "machine": machine, "words": words, "vmm": vmm}
            more.update(image=image, boot=boot)
            label = f"[{machine}-{vmm.label}]"
            for test in tests:
                name = f"{prefix}{test.name}{label}"
                yield KernelItem.from_parent(self, name=name, test=test, **more)
            if not boot and not vmm.is_qemu and not self.config.option.no_shuffle:
                yield ShuffledItem.from_parent(self, name=f"shuffled{label}", test=None, **more)

    def _efi_items(self, bench):
        vmm = Vmm("qemu-system-x86_64", "tcg")
        for path in sorted(Path(self.path).parent.glob("test_*.py")):
            table = _table_of(path)
            kernel = table.get("KERNEL")
            machines = table.get("MACHINES", {"pc": "pc"})
            ours = table.get("OURS_ONLY", ())  # what QEMU cannot be
            on_pc = {
                f"efi-{name}": words
                for name, words in machines.items()
                if "pc" in words.split() and name not in ours
            }
            image = BUILD / "kernels" / f"{kernel}.efi"
            if not kernel or not on_pc or table.get("NO_EFI") or not image.exists():
                continue
            one = dict([next(iter(on_pc.items()))])
            yield from self._items(bench, kernel, one, vmm, image, efi_boot, f"{kernel}.")


def _table_of(path):
    """The table of another module, without making it a module of this run."""
    text = path.read_text()
    return runpy.run_path(str(path)) if "\nKERNEL = " in text else {}


def pytest_pycollect_makemodule(module_path, parent):
    return KernelModule.from_parent(parent, path=module_path)


def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".c" and file_path.parent.name == "unit":
        return UnitFile.from_parent(parent, path=file_path)
    return None


def pytest_collection_finish(session):
    """Queues the VMs in the order of the items, so that they run ahead of pytest."""
    if session.config.option.collectonly:
        return
    bench = session.config.assay
    groups = {}
    for item in session.items:
        if isinstance(item, KernelItem):
            groups.setdefault(item.group + (item.seed,), []).append(item)
    for items in groups.values():
        items[0].queue(bench, items)


def pytest_runtestloop(session):
    if not session.config.option.collectonly:
        session.config.assay.pool.start()


def pytest_sessionfinish(session):
    session.config.assay.pool.stop()


@pytest.fixture
def bench(request):
    return request.config.assay


@pytest.fixture
def vmm(bench):
    """The VMM under test, or a skip with the reason."""
    if bench.vmm.missing:
        pytest.skip(bench.vmm.missing)
    return bench.vmm


@pytest.fixture
def qemu():
    """QEMU with TCG, the peer that runs everywhere, or a skip."""
    peer = Vmm("qemu-system-x86_64", "tcg")
    if peer.missing:
        pytest.skip(peer.missing)
    return peer


@pytest.fixture(scope="session")
def speed(request):
    """Instructions a second of kernel code on the VMM under test."""
    vmm = request.config.assay.vmm
    return probe.guest_speed(vmm.path, vmm.accel)
