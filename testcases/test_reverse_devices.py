# SPDX-License-Identifier: MIT
"""Back in a replayed run over devices that hold something: a port's receive buffer, who is at its other end,
a read of entropy that waits. Forward again to the same end, past the same comparisons with the log."""

import os
import re
import shutil
import subprocess
import threading
import time

import pytest

from harness.portend import PortEnd
from harness.process import Running
from harness.session import Session, VirtualMachine
from harness.vmm import Vmm

GOOD = 1  # isa-debug-exit's
WATCHED = "random_state"  # written before each TEST
PORT_TESTS = (
    "nothing_before_ready host_opens_and_closes input_waits_until_the_port_is_open size_by_message "
    "input_byte_by_byte input_in_buffers input_waits_for_buffers reset_while_input_waits"
).split()
PORT_MACHINES = {"pci": "pc serial-pci", "mmio-packed": "microvm packed serial-mmio"}
PLUG_TESTS = "plugged_port_is_announced number_is_used_again messages_for_an_unplugged_port".split()
RNG_TESTS = "fills_a_buffer two_requests_differ one_byte_requests several_in_flight scattered_buffers huge_request".split()

pytestmark = pytest.mark.skipif(not shutil.which("gdb"), reason="no gdb")


@pytest.fixture
def soft(vmm):
    if vmm.accel != "soft" or vmm.is_qemu:
        pytest.skip("only the software processor of assay replays")
    return vmm


def icount(mode, log):
    return ["-icount", f"shift=3,sleep=off,rr={mode},rrfile={log}"]


def replayed(line):
    return [word.replace("rr=record", "rr=replay") for word in line]


def there_and_back(folder, line, kernel, recorded, steps):
    """As many TESTs forward as back, each with a step back over its beginning; then on to the end that was recorded."""
    qmp = folder / "qmp-replay"
    there = [f"watch {WATCHED}", *["continue"] * steps]
    back = ["reverse-continue", "reverse-stepi", "stepi"] * steps
    with Running([*line, "-S", "-gdb", f"unix:{folder}/gdb", "-qmp", f"unix:{qmp},server=on,wait=off"], qmp) as vm:
        assert vm.qmp.command("query-replay")["mode"] == "play"
        script = folder / "script"
        first = ["set pagination off", "set confirm off", f"target remote {folder}/gdb"]
        script.write_text("\n".join([*first, *there, *back, "delete", "continue"]) + "\n")
        done = subprocess.run(
            ["gdb", "-q", "-nx", "-batch", "-x", script, kernel],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert vm.wait() == recorded.returncode, (said, vm.stderr)
        assert (vm.stdout, vm.stderr) == (recorded.stdout, b""), said
    seen = re.findall(r"^Old value = (\d+)\nNew value = (\d+)$", said, re.MULTILINE)
    forth = seen[:steps]
    returned = [pair for pair in seen[steps:] if pair[::-1] in forth]
    assert len(forth) == steps, said
    assert [pair for i, pair in enumerate(returned) if not i or pair != returned[i - 1]] == [
        (new, old) for old, new in reversed(forth)
    ], said


class Virtual(Vmm):
    """Keeps its virtual time though a host answers at the control port."""

    def command(self, *args, **options):
        return [word.replace(",clock=host", "") for word in super().command(*args, **options)]


class Recorded(VirtualMachine):
    """Its line is left to who replays it."""

    def _start(self, line):
        self.line = line
        return super()._start(line)


def record_ports(soft, folder, words, tests=PORT_TESTS):
    """The harness acts at the ports' other ends.  The command line, and the folder of its sockets."""
    images = folder / "images"
    images.mkdir()
    session = Session(
        "virtio_console", "build/kernels/virtio_console.elf", words, Virtual(soft.path, "soft"), tests, 99,
        images, control=True, extra_args=icount("record", folder / "log"),
    )  # fmt: skip
    vm = Recorded(session, images, tests)
    vm.run()
    verdicts = {test: outcome.verdict for test, outcome in session.outcomes.items()}
    assert verdicts == dict.fromkeys(tests, "PASS"), session.outcomes
    return vm.line, vm.build.sockets


def as_replayed(line, sockets):
    """Nobody is at its monitor and at its control port."""
    line = replayed(line)
    at = line.index("-qmp")
    del line[at : at + 2]
    line[line.index(f"socket,id=ctl,path={sockets}/ctl")] = "null,id=ctl"
    return line


def late(act):
    """Buffers wait for input so long that places to go back to lie there."""

    def waits(*words):
        time.sleep(0.1)
        return act(*words)

    return waits


@pytest.mark.parametrize("machine", PORT_MACHINES)
def test_ports(soft, tmp_path, machine, monkeypatch):
    """Peers came and went, input waited for buffers and buffers for input; all that again, in both directions."""
    monkeypatch.setattr(PortEnd, "send", late(PortEnd.send))
    monkeypatch.setattr(PortEnd, "pour", late(PortEnd.pour))
    line, sockets = record_ports(soft, tmp_path, PORT_MACHINES[machine])
    line = as_replayed(line, sockets)
    os.makedirs(sockets)
    try:
        again = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
        assert (again.returncode, again.stderr) == (GOOD, b""), again
        there_and_back(tmp_path, line, "build/kernels/virtio_console.elf", again, len(PORT_TESTS))
    finally:
        shutil.rmtree(sockets)


def test_plugged_ports(soft, tmp_path):
    """device_add and device_del come from the log. Behind them there is no way back over them, and the end is as recorded."""
    line, sockets = record_ports(soft, tmp_path, PORT_MACHINES["pci"], PLUG_TESTS)
    line = as_replayed(line, sockets)
    os.makedirs(sockets)
    try:
        again = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
        assert (again.returncode, again.stderr) == (GOOD, b""), again
        assert again.stdout.count(b"\nok ") == len(PLUG_TESTS)
        commands = [f"target remote {tmp_path}/gdb", f"watch {WATCHED}", *["continue"] * len(PLUG_TESTS)]
        commands += ["delete", "reverse-continue", "continue"]
        with Running([*line, "-S", "-gdb", f"unix:{tmp_path}/gdb"]) as vm:
            words = [word for command in commands for word in ("-ex", command)]
            done = subprocess.run(
                ["gdb", "-q", "-nx", "-batch", *words, "build/kernels/virtio_console.elf"],
                capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert vm.wait() == GOOD, (done.stdout + done.stderr, vm.stderr)
            assert (vm.stdout, vm.stderr) == (again.stdout, b"")
    finally:
        shutil.rmtree(sockets)


def feed(path, stop):
    """A few bytes at a time: requests wait for them, so long that places to go back to lie there."""
    with open(path, "r+b", buffering=0) as fifo:
        while not stop.wait(0.03):
            fifo.write(os.urandom(3))


def test_entropy(soft, tmp_path):
    """Reads that waited for bytes of a file."""
    fifo, stop = tmp_path / "fifo", threading.Event()
    os.mkfifo(fifo)
    line = [soft.path, "-accel", "soft,seed=3", "-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none"]
    line += ["-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-m", "64"]
    line += ["-object", f"rng-random,id=r,filename={fifo}", "-device", "virtio-rng-pci,disable-legacy=on,rng=r"]
    line += [*icount("record", tmp_path / "log"), "-kernel", "build/kernels/virtio_rng.elf"]
    line += ["-append", "run=" + ",".join(RNG_TESTS)]
    feeder = threading.Thread(target=feed, args=(fifo, stop))
    feeder.start()
    try:
        recorded = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False)
    finally:
        stop.set()
        feeder.join()
    assert (recorded.returncode, recorded.stderr) == (GOOD, b""), recorded
    there_and_back(tmp_path, replayed(line), "build/kernels/virtio_rng.elf", recorded, len(RNG_TESTS))
