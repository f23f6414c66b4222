# SPDX-License-Identifier: MIT
"""migrate and -incoming: their commands, what does not fit, and streams that lie.

streams/ has a state of each release, saved by what its name says; every build must load them.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest

from harness import probe, stream
from harness.process import PATIENCE, Running
from harness.qmp import QmpError

STREAMS = sorted((Path(__file__).parent / "streams").glob("*.state"))
# Prints a dot for each turn of a loop that is long enough for a serial port.
TICKS = b"\x66\xba\xf8\x03" + b"\xb0.\xee" + b"\xb9\x00\x10\x00\x00\x49\x75\xfd" + b"\xeb\xf3"
MACHINES = ("pc", "microvm")
SAMPLE = 40  # mutated streams of each recorded one


@pytest.fixture
def ours(vmm):
    if vmm.is_qemu:
        pytest.skip("QEMU 7.2 saves to no file")
    return vmm


@pytest.fixture
def start(ours, tmp_path):
    started = []

    def begin(*more, machine="pc", memory="16M", code=TICKS):
        image = tmp_path / "kernel.elf"
        image.write_bytes(probe.pvh_elf(code))
        path = tmp_path / f"qmp{len(started)}"
        line = [ours.path, "-accel", ours.accel, "-nodefaults", "-display", "none", "-m", memory]
        line += ["-machine", machine, "-serial", "stdio", "-kernel", image]
        started.append(Running(line + ["-qmp", f"unix:{path},server=on,wait=off", *more], path))
        return started[-1]

    yield begin
    for running in started:
        running.__exit__()


def save(running, path, **more):
    running.qmp.command("migrate", uri=f"file:{path}", **more)
    while running.qmp.command("query-migrate")["status"] in ("setup", "active"):
        pass
    return running.qmp.command("query-migrate")


def refused(running):
    """It ends with one line and status 1."""
    assert running.wait() == 1
    (line,) = running.error_lines()
    assert line.startswith("assay: -incoming file:")
    return line


@pytest.mark.parametrize("machine", MACHINES)
def test_it_goes_on(start, tmp_path, machine):
    first = start(machine=machine)
    first.wait_text(b"...")
    told = save(first, tmp_path / "state")
    assert told["status"] == "completed"
    assert told["ram"]["total"] == told["ram"]["duplicate"] * 4096 + told["ram"]["normal-bytes"]
    assert first.qmp.command("query-status")["status"] == "postmigrate"
    assert (tmp_path / "state").stat().st_mode & 0o77 == 0
    second = start("-incoming", f"file:{tmp_path}/state", machine=machine)
    second.wait_text(b"...")
    assert second.qmp.command("query-status")["status"] == "running"
    assert second.error_lines() == []
    # The first goes on, too, when it is told.
    first.qmp.command("cont")
    first.stdout = b""
    first.wait_text(b"...")


def test_stopped_stays_stopped(start, tmp_path):
    first = start("-S")
    assert save(first, tmp_path / "state")["status"] == "completed"
    second = start("-incoming", f"file:{tmp_path}/state")
    assert second.qmp.command("query-status")["status"] == "paused"
    second.qmp.command("cont")
    second.wait_text(b"...")


def test_deferred(start, tmp_path):
    first = start()
    first.wait_text(b"...")
    save(first, tmp_path / "state")
    second = start("-incoming", "defer")
    assert second.qmp.command("query-status")["status"] == "inmigrate"
    with pytest.raises(QmpError, match="cannot open"):
        second.qmp.command("migrate-incoming", uri=f"file:{tmp_path}/absent")
    with pytest.raises(QmpError, match="incoming migration"):
        second.qmp.command("migrate", uri=f"file:{tmp_path}/other")
    second.qmp.command("migrate-incoming", uri=f"file:{tmp_path}/state")
    second.wait_text(b"...")
    assert second.qmp.command("query-migrate")["status"] == "completed"


def test_deferred_failure_ends(start, tmp_path):
    (tmp_path / "state").write_bytes(b"no such thing")
    running = start("-incoming", "defer")
    running.qmp.command("migrate-incoming", uri=f"file:{tmp_path}/state")
    assert running.wait() == 1
    assert "not a saved state" in running.error_lines()[0]


def test_events_only_when_asked(start, tmp_path):
    running = start()
    save(running, tmp_path / "state")
    running.qmp.command("cont")
    assert not [event for event in running.qmp.events if event["event"] == "MIGRATION"]
    wanted = [{"capability": "events", "state": True}]
    running.qmp.command("migrate-set-capabilities", capabilities=wanted)
    save(running, tmp_path / "state")
    seen = [e["data"]["status"] for e in running.qmp.events if e["event"] == "MIGRATION"]
    assert seen == ["setup", "active", "completed"]


def test_other_ways_are_refused(start, tmp_path):
    running = start()
    for uri in ("exec:cat", "tcp:localhost:1", "unix:/tmp/x", "fd:3", "file:"):
        with pytest.raises(QmpError):
            running.qmp.command("migrate", uri=uri)
    assert running.qmp.command("query-migrate") == {}
    running.wait_text(b"...")


def test_a_failed_save_changes_nothing(start):
    running = start()
    told = save(running, "/dev/full")
    assert told["status"] == "failed" and "No space left" in told["error-desc"]
    assert running.qmp.command("query-status")["status"] == "running"
    running.stdout = b""
    running.wait_text(b"...")


def test_people_can_do_it(start, tmp_path):
    running = start()
    talk = lambda line: running.qmp.command("human-monitor-command", command_line=line)
    assert talk("info migrate") == ""
    assert talk(f"migrate -d file:{tmp_path}/state") == ""
    while "completed" not in talk("info migrate"):
        pass
    assert "page-size: 4096" in talk("info migrate")


def saved(start, path, **machine):
    running = start(**machine)
    running.wait_text(b"...")
    assert save(running, path)["status"] == "completed"
    running.qmp.command("quit")
    running.wait()
    return path.read_bytes()


def test_another_machine_is_refused(start, tmp_path):
    path = tmp_path / "state"
    data = saved(start, path)
    incoming = ["-incoming", f"file:{path}"]
    assert "-machine: saved on pc" in refused(start(*incoming, machine="microvm"))
    assert "-m: saved with" in refused(start(*incoming, memory="32M"))
    more = refused(start(*incoming, "-device", "pci-testdev"))
    assert "section pci-testdev/0: missing" in more
    less = refused(start(*incoming, "-cpu", "qemu64,-cx16,-sse3"))
    assert "section cpu/0: -cpu: saved with cx16" in less
    path.write_bytes(data[:-1])
    assert "ends too early" in refused(start(*incoming))
    path.write_bytes(data + b"x")
    assert "follows the end" in refused(start(*incoming))
    path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    refused(start(*incoming))
    path.unlink()
    assert "No such file" in refused(start(*incoming))
    path.mkdir()
    assert "is not a file" in refused(start(*incoming))


def test_what_is_not_here_is_refused(start, tmp_path):
    running = start("-device", "pci-testdev")
    running.wait_text(b"...")
    save(running, tmp_path / "state")
    line = refused(start("-incoming", f"file:{tmp_path}/state"))
    assert "section pci-testdev/0: this machine has no such device" in line


def test_a_device_whose_slot_is_empty_here_is_refused(start, tmp_path):
    running = start("-device", "virtio-rng-device", machine="microvm")
    running.wait_text(b"...")
    save(running, tmp_path / "state")
    line = refused(start("-incoming", f"file:{tmp_path}/state", machine="microvm"))
    assert "section virtio-mmio/" in line or "no such device" in line, line


# --- recorded streams, and streams that lie ---


def run_stream(vmm, machine, path, words=("quit",)):
    """Loads a state into a machine like that of the recording, and ends."""
    line = [vmm.path, "-accel", vmm.accel, "-nodefaults", "-display", "none", "-m", "16M"]
    line += ["-machine", machine, "-device", "isa-serial", "-no-reboot", "-qmp", "stdio"]
    talk = "".join(json.dumps({"execute": word}) + "\n" for word in ("qmp_capabilities", *words))
    return subprocess.run(
        [*line, "-incoming", f"file:{path}"],
        input=talk.encode(),
        capture_output=True,
        timeout=PATIENCE,
    )


PARTS_OF_A_REPLAY = [("virtio-rng-pci/0", "rng.wait", "user.waits"), ("virtserialport/0", "peer", "host_open")]


@pytest.mark.parametrize("section, part, field", PARTS_OF_A_REPLAY)
def test_parts_of_a_replayed_run_are_refused(start, tmp_path, section, part, field):
    """Only a machine that goes back may hear of them: elsewhere the device would wait for what never comes."""
    devices = ["-object", "rng-builtin,id=r", "-device", "virtio-rng-pci,rng=r", "-device", "virtio-serial-pci"]
    devices += ["-chardev", "null,id=n", "-device", "virtserialport,chardev=n"]
    running = start(*devices)
    path = tmp_path / "state"
    assert save(running, path)["status"] == "completed"
    path.write_bytes(stream.with_part(path.read_bytes(), section, part, {field: 1}))
    assert "of a run that was replayed" in refused(start(*devices, "-incoming", f"file:{path}"))


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_old_streams_load(ours, path):
    done = run_stream(ours, path.stem.split("-")[0], path, ("query-status", "quit"))
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert b'"status": "running"' in done.stdout


def lies(data, rng):
    """(what, stream) without end: one thing is wrong, and the checksum is right."""
    every = [field for field in stream.fields(data)]
    numbers = [field for field in every if field.size != stream.SUBSECTION and field.count]
    while True:
        field = rng.choice(numbers)
        changed = bytearray(data)
        kind = rng.randrange(6)
        if kind < 3:
            at = field.values + field.size * rng.randrange(field.count)
            value = rng.choice([0, 1, 255, 256, 1 << 31, -1, -2, 1 << 63, rng.getrandbits(64)])
            value &= (1 << 8 * field.size) - 1
            changed[at : at + field.size] = value.to_bytes(field.size, "little")
            what = f"{field.name} = {value:#x}"
        elif kind == 3:
            for at in range(field.values, field.end):
                changed[at] = rng.randrange(256)
            what = f"{field.name}: garbage"
        elif kind == 4:
            at = field.at + rng.randrange(field.values - field.at)
            changed[at] ^= 1 << rng.randrange(8)
            what = f"{field.name}: head"
        else:
            at = rng.randrange(12, len(data) - 4)
            changed = bytearray(data[:at] + data[-4:])
            what = f"cut at {at}"
        yield f"{field.section}: {what}", stream.sealed(changed)


@pytest.mark.parametrize("path", STREAMS, ids=lambda path: path.stem)
def test_lies_end_in_one_line(ours, bench, path, tmp_path):
    """Whatever is in the stream: refused with one line, or loaded; never a crash."""
    rng = random.Random(bench.seed)
    data = path.read_bytes()
    count = 50 * SAMPLE if bench.whole else SAMPLE
    refusals = 0
    for _, (what, text) in zip(range(count), lies(data, rng)):
        hostile = tmp_path / "lie"
        hostile.write_bytes(text)
        done = run_stream(ours, path.stem.split("-")[0], hostile)
        lines = done.stderr.decode(errors="replace").splitlines()
        assert done.returncode in (0, 1, 2), f"{what}: {done.returncode}: {lines}"
        if done.returncode == 1:
            refusals += 1
            assert len(lines) == 1 and lines[0].startswith("assay: -incoming"), f"{what}: {lines}"
    print(f"{count} streams, {refusals} refused")
