# SPDX-License-Identifier: MIT
"""The monitor's protocol, as QEMU's QMP specification has it, on any VMM that has a -qmp."""

import json
import os
import re
import socket
import subprocess

import pytest

from harness import probe
from harness.process import PATIENCE, Running
from harness.qmp import QmpClosed, QmpError

COMMANDS = {
    "qmp_capabilities", "query-version", "query-commands", "query-qmp-schema", "query-status",
    "stop", "cont", "quit", "system_reset", "inject-nmi", "block_resize",
}  # fmt: skip
# Prints a dot for each turn of a loop that is long enough for a serial port.
TICKS = b"\x66\xba\xf8\x03" + b"\xb0.\xee" + b"\xb9\x00\x10\x00\x00\x49\x75\xfd" + b"\xeb\xf3"


@pytest.fixture
def start(vmm, tmp_path):
    """Starts a VM whose kernel is the given machine code; what was started ends with the test."""
    started = []

    def begin(code=probe.prints(b"ready") + probe.HALT, *more, machine="microvm,acpi=off"):
        image = tmp_path / f"kernel{len(started)}.elf"
        image.write_bytes(probe.pvh_elf(code))
        path = tmp_path / f"qmp{len(started)}"
        cpu = ["-cpu", "qemu64"] if vmm.is_qemu and vmm.accel == "kvm" else []
        line = [vmm.path, "-accel", vmm.accel, *cpu, "-nodefaults", "-display", "none"]
        line += ["-monitor", "none", "-machine", machine, "-m", "64M", "-serial", "stdio"]
        line += ["-kernel", image, "-qmp", f"unix:{path},server=on,wait=off", *more]
        started.append(Running(line, path))
        return started[-1]

    yield begin
    for running in started:
        running.__exit__()


def raw(running):
    """A connection that has only read the greeting."""
    return running.connect(negotiate=False)


def error_class(answer):
    assert set(answer) - {"id"} == {"error"}, answer
    assert set(answer["error"]) == {"class", "desc"}
    assert answer["error"]["desc"]
    return answer["error"]["class"]


def test_greeting(start):
    with raw(start()) as qmp:
        greeting = qmp.greeting["QMP"]
        version = greeting["version"]["qemu"]
        assert all(isinstance(version[part], int) for part in ("major", "minor", "micro"))
        assert isinstance(greeting["version"]["package"], str)
        assert isinstance(greeting["capabilities"], list)


def test_only_capabilities_before_they_are_negotiated(start):
    with raw(start()) as qmp:
        answer = qmp.execute({"execute": "query-status", "id": 1})
        assert error_class(answer) == "CommandNotFound" and answer["id"] == 1
        assert qmp.execute({"execute": "qmp_capabilities"}) == {"return": {}}
        assert "return" in qmp.execute({"execute": "query-status"})
        assert error_class(qmp.execute({"execute": "qmp_capabilities"})) == "CommandNotFound"


def test_which_engine_runs_is_said(start, vmm, bench):
    """QMP's query-status and query-kvm and HMP's `info kvm` name it; QEMU knows only KVM or not."""
    for other in bench.vmms:
        assert other.missing or other.engine == other.accel
    qmp = start().qmp
    status, kvm = qmp.command("query-status"), qmp.command("query-kvm")
    info = qmp.command("human-monitor-command", **{"command-line": "info kvm"})
    support = "enabled" if vmm.accel == "kvm" else "disabled"
    assert kvm["enabled"] is (vmm.accel == "kvm")
    assert info.splitlines()[0] == f"kvm support: {support}"
    if not vmm.is_qemu:
        assert status["engine"] == kvm["engine"] == vmm.accel
        assert info.splitlines()[1] == f"engine: {vmm.accel}"


def test_an_iothread_says_how_long_it_polls(start, vmm):
    """QEMU polls for as long as it is told; ours takes the number and does not poll."""
    given = "iothread,id=io0,poll-max-ns=4096,poll-grow=2,poll-shrink=3"
    qmp = start(probe.HALT, "-object", given).qmp
    (thread,) = qmp.command("query-iothreads")
    assert thread["id"] == "io0" and thread["thread-id"] > 0
    assert thread["poll-max-ns"] == (4096 if vmm.is_qemu else 0)


ENGINE_ONLY = {  # what one engine counts and the other does not
    "soft": {"instructions", "irq_injections", "tlb_misses"},
    "kvm": {"signal_exits", "irq_window_exits", "eoi_exits", "outside_ns"},
}


def test_statistics_are_those_of_the_schema_and_of_this_engine(start, vmm):
    """What an engine does not count is left out, and is not 0."""
    if vmm.is_qemu:
        pytest.skip("the names of counters are each VMM's own")
    running = start()
    running.wait_text(b"ready")
    with running.connect() as qmp:
        schemas = {row["target"]: row["stats"] for row in qmp.command("query-stats-schemas")}
        for target in ("vm", "vcpu"):
            (row,) = qmp.command("query-stats", target=target)
            assert row["provider"] == "kvm"
            values = {stat["name"]: stat["value"] for stat in row["stats"]}
            assert list(values) == [stat["name"] for stat in schemas[target]]
            if target == "vcpu":
                assert set(values) >= ENGINE_ONLY[vmm.accel]
                assert not set(values) & ENGINE_ONLY["kvm" if vmm.accel == "soft" else "soft"]
                assert values["io_exits"] == len("ready")  # one each, and then it halts
                if vmm.accel == "soft":
                    assert values["exits"] == values["io_exits"] + values["halt_exits"]
                    assert 0 < values["instructions"] < 1000
            else:
                assert values["dma_bytes"] == values["copied_bytes"] == 0
        few = qmp.command(
            "query-stats", target="vcpu", providers=[{"provider": "kvm", "names": ["io_exits"]}]
        )
        assert [stat["name"] for stat in few[0]["stats"]] == ["io_exits"]


@pytest.mark.parametrize("id_", [7, "text", [1, {"a": None}], {"x": 1.5}, True, None])
def test_any_json_id_comes_back(start, id_):
    qmp = start().qmp
    assert qmp.execute({"execute": "query-status", "id": id_})["id"] == id_
    assert qmp.execute({"execute": "nosuch", "id": id_})["id"] == id_


@pytest.mark.parametrize(
    "message, kind",
    [
        ({"execute": "nosuch"}, "CommandNotFound"),
        ({"execute": 7}, "GenericError"),
        ({"arguments": {}}, "GenericError"),
        ({"execute": "stop", "arguments": {"extra": 1}}, "GenericError"),
        ({"execute": "stop", "arguments": []}, "GenericError"),
        ({"execute": "stop", "surplus": 1}, "GenericError"),
        ({"execute": "block_resize", "arguments": {"device": "a"}}, "GenericError"),
        ({"execute": "block_resize", "arguments": {"device": "a", "size": "big"}}, "GenericError"),
        ([1, 2], "GenericError"),
        ("text", "GenericError"),
    ],
    ids=str,
)
def test_errors_have_a_class_and_leave_the_connection_usable(start, message, kind):
    qmp = start().qmp
    assert error_class(qmp.execute(message)) == kind
    assert qmp.command("query-status")["running"] is True


@pytest.mark.parametrize("text", ["{", "{]", "}", '{"execute": }', "nonsense", '{"a": "\\q"}'])
def test_broken_json_is_an_error(start, text):
    running = start()
    with raw(running) as qmp:
        qmp.command("qmp_capabilities")
        # The rest of the line closes what may still be open.
        qmp.send_raw(text + "\xff}}]\n" if text == "{" else text + "\n")
        answer = qmp.read()
        while "event" in answer:
            answer = qmp.read()
        assert error_class(answer) == "GenericError"
    with raw(running) as qmp:
        assert "QMP" in qmp.greeting


def test_messages_may_be_split_and_joined(start):
    with raw(start()) as qmp:
        qmp.send_raw('{"exec')
        qmp.send_raw('ute": "qmp_capabilities"} {"execute": "query-status", "id": 2}{"execute":')
        assert qmp.read() == {"return": {}}
        assert qmp.read()["id"] == 2
        qmp.send_raw('\r\n"query-version",\n"id": 3}\n')
        assert qmp.read()["id"] == 3


def test_deep_and_long_input_does_not_end_the_vm(start):
    running = start()
    for text in ("[" * 200000, '{"execute": "' + "x" * 300000 + '"}\n'):
        with raw(running) as qmp:
            try:
                qmp.send_raw(text)
                qmp.socket.settimeout(1)
                qmp.read()
            except (QmpClosed, OSError):
                pass
    with raw(running) as qmp:
        qmp.command("qmp_capabilities")
        assert qmp.command("query-status")["running"] is True


def test_one_client_after_another(start):
    running = start()
    for _ in range(3):
        with running.connect() as qmp:
            assert qmp.command("query-status")["running"] is True


def test_query_version(start):
    version = start().qmp.command("query-version")
    assert set(version) == {"qemu", "package"}
    assert set(version["qemu"]) == {"major", "minor", "micro"}


def test_the_schema_has_the_commands_and_only_them(start):
    qmp = start().qmp
    commands = {command["name"] for command in qmp.command("query-commands")}
    assert COMMANDS <= commands
    schema = qmp.command("query-qmp-schema")
    assert {entry["name"] for entry in schema if entry["meta-type"] == "command"} == commands
    events = {entry["name"] for entry in schema if entry["meta-type"] == "event"}
    assert {"STOP", "RESUME", "RESET", "SHUTDOWN"} <= events


def test_the_schema_is_closed(start):
    """Each type that is referred to is there, once, and each entry has its kind's members."""
    schema = start().qmp.command("query-qmp-schema")
    names = [entry["name"] for entry in schema]
    assert len(names) == len(set(names))
    used = set()
    for entry in schema:
        kind = entry["meta-type"]
        if kind == "command":
            used |= {entry["arg-type"], entry["ret-type"]}
        elif kind == "event":
            used.add(entry["arg-type"])
        elif kind == "array":
            used.add(entry["element-type"])
        elif kind == "object":
            used |= {member["type"] for member in entry["members"]}
            used |= {variant["type"] for variant in entry.get("variants", [])}
        elif kind == "alternate":
            used |= {member["type"] for member in entry["members"]}
        elif kind == "enum":
            assert entry["values"]
        else:
            assert kind == "builtin" and entry["json-type"]
    assert used <= set(names), used - set(names)


def test_commands_take_the_arguments_of_the_schema(start):
    qmp = start().qmp
    schema = {entry["name"]: entry for entry in qmp.command("query-qmp-schema")}
    members = schema[schema["block_resize"]["arg-type"]]["members"]
    assert {"device", "node-name", "size"} <= {member["name"] for member in members}
    optional = {member["name"] for member in members if "default" in member}
    assert "size" not in optional and "device" in optional


def test_stop_and_cont(start):
    running = start(TICKS)
    qmp = running.qmp
    running.wait_text(b"....")
    assert qmp.command("stop") == {}
    stopped = qmp.wait_event("STOP")
    assert stopped["timestamp"]["seconds"] > 0 and "microseconds" in stopped["timestamp"]
    status = qmp.command("query-status")
    assert status["status"] == "paused" and status["running"] is False
    running._read(0.3)
    while True:  # what was on its way
        before = len(running.stdout)
        running._read(0.3)
        if len(running.stdout) == before:
            break
    assert qmp.command("cont") == {}
    qmp.wait_event("RESUME")
    assert qmp.command("query-status")["status"] == "running"
    running.wait_text(running.stdout + b"....")


def test_stopping_twice_is_no_error(start):
    qmp = start().qmp
    for command in ("stop", "stop", "cont", "cont"):
        assert qmp.command(command) == {}


def test_started_stopped_with_S(start):
    running = start(probe.prints(b"ready") + probe.HALT, "-S")
    qmp = running.qmp
    assert qmp.command("query-status")["status"] == "prelaunch"
    running._read(0.3)
    assert running.stdout == b""
    qmp.command("cont")
    running.wait_text(b"ready")


def test_system_reset_starts_the_kernel_again(start):
    running = start()
    running.wait_text(b"ready")
    running.qmp.command("system_reset")
    running.qmp.wait_event("RESET")
    running.wait_text(b"readyready")


def test_system_reset_with_no_reboot_ends_it(start):
    running = start(probe.prints(b"ready") + probe.HALT, "-no-reboot")
    running.wait_text(b"ready")
    running.qmp.command("system_reset")
    assert running.qmp.wait_event("SHUTDOWN")["data"]["guest"] is False
    assert running.wait() == 0


def test_quit(start):
    running = start()
    running.wait_text(b"ready")
    assert running.qmp.command("quit") == {}
    event = running.qmp.wait_event("SHUTDOWN")
    assert event["data"] == {"guest": False, "reason": "host-qmp-quit"}
    assert running.wait() == 0
    assert not os.path.exists(running.qmp_path)


def test_the_guests_own_end_is_told(start):
    exits = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-S"]
    running = start(probe.exits(0), *exits)
    try:
        running.qmp.command("cont")
    except QmpClosed:
        pass  # the guest was faster than the answer
    assert running.wait() == 1


def test_inject_nmi_answers(start):
    """What an NMI does is for a kernel to see; the local APIC of this one masks it."""
    running = start(probe.prints(b"ready") + probe.SPIN)
    running.wait_text(b"ready")
    assert running.qmp.command("inject-nmi") == {}
    assert running.qmp.command("query-status")["status"] == "running"


def test_block_resize(start, tmp_path):
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    drive = ["-drive", f"if=none,id=d,format=raw,file={image}"]
    drive += ["-global", "virtio-mmio.force-legacy=false"]
    running = start(
        probe.prints(b"ready") + probe.HALT, *drive, "-device", "virtio-blk-device,drive=d"
    )
    qmp = running.qmp
    running.wait_text(b"ready")
    assert qmp.command("block_resize", device="d", size=2 << 20) == {}
    assert image.stat().st_size == 2 << 20
    assert qmp.command("block_resize", device="d", size=1 << 19) == {}
    assert image.stat().st_size == 1 << 19
    for arguments in ({"device": "absent", "size": 512}, {"device": "d", "size": -512}, {"size": 512}):
        with pytest.raises(QmpError) as caught:
            qmp.command("block_resize", **arguments)
        assert caught.value.kind in ("GenericError", "DeviceNotFound")


def test_a_monitor_on_tcp(start):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = start(
        probe.prints(b"ready") + probe.HALT, "-qmp", f"tcp:127.0.0.1:{port},server=on,wait=off"
    )
    running.wait_text(b"ready")
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as peer:
        assert "QMP" in json.loads(peer.makefile().readline())


def test_a_monitor_on_stdio(vmm, tmp_path):
    image = tmp_path / "halt.elf"
    image.write_bytes(probe.pvh_elf(probe.HALT))
    line = [vmm.path, "-accel", vmm.accel, "-nodefaults", "-display", "none", "-m", "64M"]
    line += ["-machine", "microvm,acpi=off", "-kernel", str(image), "-qmp", "stdio"]
    if vmm.is_qemu and vmm.accel == "kvm":
        line += ["-cpu", "qemu64"]
    text = '{"execute": "qmp_capabilities"}\n{"execute": "quit", "id": 9}\n'
    done = subprocess.run(line, input=text, capture_output=True, text=True, timeout=PATIENCE)
    answers = [json.loads(message) for message in done.stdout.splitlines()]
    assert "QMP" in answers[0]
    assert {"return": {}, "id": 9} in answers
    assert done.returncode == 0


def test_a_machine_stopped_by_a_socket_that_goes_away_runs_on(start):
    running = start(TICKS)
    with running.connect() as qmp:
        qmp.send_raw('{"execute": "query-st')
    running.wait_text(running.stdout + b"....")


def test_events_have_their_form(start):
    running = start(probe.prints(b"ready") + probe.SPIN)
    qmp = running.qmp
    qmp.command("stop")
    qmp.command("cont")
    qmp.command("system_reset")
    for name in ("STOP", "RESUME", "RESET"):
        event = qmp.wait_event(name)
        assert set(event) <= {"event", "data", "timestamp"}
        assert re.fullmatch(r"[A-Z_]+", event["event"])
