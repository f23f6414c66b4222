# SPDX-License-Identifier: MIT
"""Ports of a virtio console that come and go by the monitor: what is refused and how, ids and events, and what
that means for a saved state and for a recorded run.  What the guest sees of it are TESTs of kernel virtio_console."""

import os
import socket

import pytest

from harness import probe
from harness.process import Running
from harness.qmp import QmpError
from harness.session import Session, VirtualMachine

SERIAL = "-device virtio-serial-pci,id=vs,max_ports=4 -device virtconsole,chardev=c0,id=p0"
BACKENDS = "-chardev null,id=c0 -chardev null,id=c1 -chardev null,id=c2"


@pytest.fixture
def start(vmm, tmp_path):
    started = []

    def begin(*more):
        image = tmp_path / f"kernel{len(started)}.elf"
        image.write_bytes(probe.pvh_elf(probe.prints(b"ready") + probe.HALT))
        path = tmp_path / f"qmp{len(started)}"
        cpu = ["-cpu", "qemu64"] if vmm.is_qemu and vmm.accel == "kvm" else []
        line = [vmm.path, "-accel", vmm.accel, *cpu, "-nodefaults", "-display", "none", "-monitor", "none"]
        line += ["-machine", "pc", "-m", "64", "-serial", "stdio", "-kernel", image]
        line += [*BACKENDS.split(), *SERIAL.split(), "-qmp", f"unix:{path},server=on,wait=off", *more]
        started.append(Running(line, path))
        return started[-1]

    yield begin
    for running in started:
        running.__exit__()


@pytest.fixture
def ours(vmm):
    if vmm.is_qemu:
        pytest.skip("each VMM's own: states, recorded runs, lines for people; and where QEMU waits")
    return vmm


def add(qmp, **properties):
    qmp.command("device_add", driver="virtserialport", **properties)


def remove(qmp, name):
    """Waits for the event, which says that id and chardev are free."""
    qmp.command("device_del", id=name)
    assert qmp.wait_event("DEVICE_DELETED")["data"] == {"device": name, "path": f"/machine/peripheral/{name}"}


REFUSED = [
    ({"driver": None}, "Parameter 'driver' is missing"),
    ({"driver": "nonsense"}, "'nonsense' is not a valid device model name"),
    ({"driver": "isa-serial"}, "Bus 'isa.0' does not support hotplugging"),
    ({"bus": "no.0"}, "Bus 'no.0' not found"),
    ({"bus": "pci.0"}, "Device 'virtserialport' can't go on PCI bus"),
    ({"id": "p0"}, "Duplicate device ID 'p0'"),
    ({"id": "9x"}, "Parameter 'id' expects an identifier"),
    ({"foo": 1}, "Property 'virtserialport.foo' not found"),
    ({"chardev": "no"}, "Property 'virtserialport.chardev' can't find value 'no'"),
    ({"chardev": "c0"}, "Device 'c0' is in use"),
    ({"nr": 4}, "virtio-serial-bus: Out-of-range port id specified, max. allowed: 3"),
    ({"nr": 0}, "virtio-serial-bus: A port already exists at id 0"),
    ({"nr": -1}, "Parameter 'nr' expects "),
    ({"nr": 1.5}, "Parameter 'nr' expects "),
    ({"name": "taken"}, "virtio-serial-bus: A port already exists by name taken"),
]


@pytest.mark.parametrize("wrong, text", REFUSED)
def test_what_cannot_be_plugged_in_is_refused(start, wrong, text):
    qmp = start("-device", "virtserialport,name=taken").qmp
    arguments = {"driver": "virtserialport", "id": "x", **wrong}
    arguments = {key: value for key, value in arguments.items() if value is not None}
    with pytest.raises(QmpError, match=text.replace("(", r"\(")) as error:
        qmp.command("device_add", **arguments)
    assert error.value.kind == "GenericError"
    add(qmp, id="x")  # nothing was left of the refused one


def test_ports_come_and_go(start):
    qmp = start().qmp
    add(qmp, id="x", nr=3, chardev="c1", name="a")
    add(qmp, id="y", nr="2", name="b")
    add(qmp)  # a port without an id stays
    with pytest.raises(QmpError, match="Out-of-range|No 'virtio-serial-bus' bus found"):
        add(qmp, id="z")
    with pytest.raises(QmpError, match="virtio-serial-bus: "):
        add(qmp, id="z", bus="vs.0")
    remove(qmp, "x")
    add(qmp, id="x", nr=3, chardev="c1", name="a")
    remove(qmp, "x")
    remove(qmp, "p0")
    qmp.command("device_add", driver="virtconsole", id="p0", chardev="c0", nr=0)


def test_what_cannot_be_unplugged_is_refused(start):
    qmp = start("-device", "isa-debug-exit,id=dbg").qmp
    for name in ("x", "/machine/peripheral/x"):
        with pytest.raises(QmpError, match=f"Device '{name}' not found") as error:
            qmp.command("device_del", id=name)
        assert error.value.kind == "DeviceNotFound"
    with pytest.raises(QmpError, match="Bus 'isa.0' does not support hotplugging"):
        qmp.command("device_del", id="dbg")
    qmp.command("device_del", id="/machine/peripheral/p0")
    qmp.wait_event("DEVICE_DELETED")


def test_people_plug_in_too(start):
    qmp = start().qmp

    def say(line):
        return qmp.command("human-monitor-command", **{"command-line": line})

    assert say("device_add virtserialport,id=h,chardev=c1") == ""
    assert say("device_add virtserialport,id=h").strip() == "Error: Duplicate device ID 'h'"
    assert say("device_del h") == ""
    qmp.wait_event("DEVICE_DELETED")
    assert say("device_del h").strip() == "Error: Device 'h' not found"
    assert say("device_add").strip() == "Error: Parameter 'driver' is missing"
    assert "string expected" in say("device_del")


def test_a_line_may_have_any_letters_but_must_be_utf8(ours, start, tmp_path):
    """Bytes from 0x80 on belong to the line, one letter is rubbed out as one, and no other code has a place in JSON."""
    path = tmp_path / "people"
    running = start("-chardev", f"socket,id=m,path={path},server=on,wait=off", "-mon", "chardev=m,mode=readline")
    running.wait_text(b"ready")
    with socket.socket(socket.AF_UNIX) as people:
        people.settimeout(20)
        people.connect(str(path))
        told = b""

        def say(line):
            nonlocal told
            people.sendall(line + b"\r")
            while told.count(b"(qemu) ") < 2:
                told += people.recv(4096)
            answer, _, told = told.rpartition(b"(qemu) ")
            told = b"(qemu) "
            return answer.split(b"\r\n")[-2]

        while b"(qemu) " not in told:
            told += people.recv(4096)
        told = b"(qemu) "
        utf8 = "id=ö".encode()
        assert say(b"device_del " + utf8) == "Error: Device 'id=ö' not found".encode()
        assert say("device_del xö\x7fy".encode()) == b"Error: Device 'xy' not found"
        assert say("nö".encode() + b"\x15device_del x") == b"Error: Device 'x' not found"
        for line in (b"device_del \xff", b"device_add virtserialport,id=\xe9", b"info st\xc3", b"migrate file:\xe9"):
            assert say(line) == b"Error: the line is not UTF-8"
    for prefix in ("", "info "):  # a long name is not cut in the middle of a letter
        unknown = prefix + "x" * 62 + "ö"
        told = running.qmp.command("human-monitor-command", **{"command-line": unknown})
        assert told == f"unknown command: '{unknown}'\r\n"


def test_character_devices_come_and_go(start, tmp_path):
    qmp = start().qmp

    def make(name, kind, **data):
        qmp.command("chardev-add", id=name, backend={"type": kind, "data": data})

    def there():
        return {entry["label"] for entry in qmp.command("query-chardev")}

    make("n", "null")
    make("r", "ringbuf", size=4096)
    make("s", "socket", addr={"type": "unix", "data": {"path": str(tmp_path / "s")}}, server=True, wait=False)
    make("f", "file", out=str(tmp_path / "f"))
    assert there() >= {"n", "r", "s", "f"} and (tmp_path / "f").exists() and (tmp_path / "s").exists()
    with pytest.raises(QmpError, match="Chardev with id 'n' already exists"):
        make("n", "null")
    with pytest.raises(QmpError, match="Failed to add chardev 'g': "):
        make("g", "file", out=str(tmp_path / "no" / "f"))
    add(qmp, id="x", chardev="n")
    with pytest.raises(QmpError, match="Chardev 'n' is busy"):
        qmp.command("chardev-remove", id="n")
    for name in "rsf":
        qmp.command("chardev-remove", id=name)
    assert not there() & set("rsfg")
    with pytest.raises(QmpError, match="Chardev 'r' not found"):
        qmp.command("chardev-remove", id="r")


def goes_on(running):
    running.wait_for(lambda: running.qmp.command("query-status")["status"] != "inmigrate")
    assert running.qmp.command("query-status")["status"] == "running"


def test_a_state_with_a_plugged_port_wants_that_port(ours, start, tmp_path):
    """It fits a machine that has it, from its command line or plugged in, and no other."""
    state, first = tmp_path / "state", start()
    qmp = first.qmp
    add(qmp, id="x", nr=3, name="a")
    qmp.command("migrate", uri=f"file:{state}")
    first.wait_for(lambda: qmp.command("query-migrate")["status"] in ("completed", "failed"))
    assert qmp.command("query-migrate")["status"] == "completed"
    add(qmp, id="y")  # postmigrate: nothing is being saved any more
    port = "virtserialport,id=x,nr=3,name=a"
    goes_on(start("-incoming", f"file:{state}", "-device", port))
    late = start("-incoming", "defer")
    add(late.qmp, id="x", nr=3, name="a")
    late.qmp.command("migrate-incoming", uri=f"file:{state}")
    goes_on(late)
    for more, line in (
        ([], "section virtserialport/0: this machine has no such device"),
        (["-device", "virtserialport,id=x,nr=2"], "section virtserialport/0: field nr: 3 is not a value it can have"),
    ):
        running = start("-incoming", f"file:{state}", *more)
        assert running.wait() == 1
        assert line in running.stderr.decode()


def unix(path="/tmp/never", **more):
    return {"addr": {"type": "unix", "data": {"path": path, **more}}}


def inet(port, **more):
    return {"addr": {"type": "inet", "data": {"host": "127.0.0.1", "port": str(port), **more}}}


WRONG_DATA = [
    ("socket", {**unix(), "server": "on"}, "Invalid parameter type for '(.*)server', expected: boolean"),
    ("socket", {**unix(), "wait": 1}, "Invalid parameter type for '(.*)wait', expected: boolean"),
    ("socket", unix(wait="on"), "Parameter '(.*)wait' is unexpected"),
    ("socket", unix(server="on"), "Parameter '(.*)server' is unexpected"),
    ("socket", unix(host="h"), "Parameter '(.*)host' is unexpected"),
    ("socket", inet(0, path="p"), "Parameter '(.*)path' is unexpected"),
    ("socket", inet(0, ipv4="on"), "Invalid parameter type for '(.*)ipv4', expected: boolean"),
    ("socket", {"addr": {"type": "unix", "data": {}}}, "Parameter '(.*)path' is missing"),
    ("socket", {"addr": 1}, "Invalid parameter type for '(.*)addr', expected: object"),
    ("socket", {"path": "/tmp/never"}, "Parameter '(.*)(addr|path)' is (missing|unexpected)"),
    ("socket", {**unix(), "reconnect": "1"}, "Invalid parameter type for '(.*)reconnect', expected: integer"),
    ("file", {"path": "/tmp/never"}, "Parameter '(.*)(out|path)' is (missing|unexpected)"),
    ("file", {"out": "/tmp/never", "append": "on"}, "Invalid parameter type for '(.*)append', expected: boolean"),
    ("pipe", {"device": "/tmp/never", "path": "/tmp/never"}, "Parameter '(.*)path' is unexpected"),
    ("ringbuf", {"size": "4096"}, "Invalid parameter type for '(.*)size', expected: integer"),
    ("null", {"id": "other"}, "Parameter '(.*)id' is unexpected"),
    ("null", {"backend": "file"}, "Parameter '(.*)backend' is unexpected"),
    ("null", {"mux": True}, "Parameter '(.*)mux' is unexpected"),
    ("null", {"logappend": "on"}, "Invalid parameter type for '(.*)logappend', expected: boolean"),
    ("null", [], "Invalid parameter type for 'backend.data', expected: object"),
]


def test_a_backends_members_are_qapis(start):
    """Each wrong one is refused, at once, and nothing is left of it."""
    qmp = start().qmp
    for kind, data, text in WRONG_DATA:
        with pytest.raises(QmpError, match=text):
            qmp.command("chardev-add", id="x", backend={"type": kind, "data": data})
    assert "x" not in {entry["label"] for entry in qmp.command("query-chardev")}


def test_a_server_that_is_added_waits_for_nobody(ours, start, tmp_path):
    running = start()
    for name, data in (("a", {}), ("b", {"server": True}), ("c", {"server": True, "wait": False})):
        data.update(unix(str(tmp_path / name)))
        running.qmp.command("chardev-add", id=name, backend={"type": "socket", "data": data})
    with pytest.raises(QmpError, match="'wait' is for the command line"):
        data = {**unix(str(tmp_path / "w")), "wait": True}
        running.qmp.command("chardev-add", id="w", backend={"type": "socket", "data": data})
    assert running.end() == 0


def test_a_fifo_that_nobody_reads_is_refused(ours, start, tmp_path):
    running, fifo = start(), tmp_path / "fifo"
    os.mkfifo(fifo)
    for kind, data in (("file", {"out": str(fifo)}), ("null", {"logfile": str(fifo)})):
        with pytest.raises(QmpError, match="Failed to add chardev 'x': .*fifo'?: No such device or address"):
            running.qmp.command("chardev-add", id="x", backend={"type": kind, "data": data})
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    running.qmp.command("chardev-add", id="x", backend={"type": "file", "data": {"out": str(fifo)}})
    os.close(reader)
    assert running.end() == 0


def full_listener():
    """A port that lets nobody more in, and those who fill it: the next one's connection does not come about."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(3):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(listener.getsockname())
    return listener, waiting


def test_a_client_that_is_added_waits_for_nobody(ours, start):
    """It is connected when the peer lets it in; a refusal that is there at once is the command's."""
    running = start()

    def filename():
        return {entry["label"]: entry["filename"] for entry in running.qmp.command("query-chardev")}["x"]

    listener, waiting = full_listener()
    port = listener.getsockname()[1]
    data = {**inet(port), "server": False}
    running.qmp.socket.settimeout(20)
    running.qmp.command("chardev-add", id="x", backend={"type": "socket", "data": data})
    assert filename() == f"disconnected:tcp:127.0.0.1:{port}"
    running.qmp.command("chardev-remove", id="x")
    running.qmp.command("chardev-add", id="x", backend={"type": "socket", "data": data})
    listener.setblocking(False)

    def let_in():
        try:
            waiting.append(listener.accept()[0])
        except BlockingIOError:
            pass
        return not filename().startswith("disconnected")

    running.wait_for(let_in)
    assert filename() == f"tcp:127.0.0.1:{port}"
    running.qmp.command("chardev-remove", id="x")
    for end in (*waiting, listener):
        end.close()
    with pytest.raises(QmpError, match=f"Failed to connect to '127.0.0.1:{port}': Connection refused"):
        running.qmp.command("chardev-add", id="x", backend={"type": "socket", "data": data})
    assert running.end() == 0


WAITING = "removal_waits_for_a_buffer"
CHECKPOINT = 11  # of that TEST: before it there are one after set-up and one for each message that it sends


def test_an_end_that_was_not_told_is_saved(ours, tmp_path):
    """The port has gone, its number is the driver's still: the other engine tells it."""
    words = f"pc life:at={CHECKPOINT},to=other serial-pci"
    image = "build/kernels/virtio_console.elf"
    session = Session("virtio_console", image, words, ours, [WAITING], 99, tmp_path / "run", control=True)
    (tmp_path / "run").mkdir()
    vm = VirtualMachine(session, tmp_path / "run", [WAITING])
    vm.run()
    outcome = session.outcomes[WAITING]
    assert outcome.verdict == "PASS", outcome
    assert vm._lives == 1, "the checkpoint has another number now"
