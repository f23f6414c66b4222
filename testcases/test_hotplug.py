# SPDX-License-Identifier: MIT
"""Ports of a virtio console that come and go by the monitor: what is refused and how, ids and events, and what
that means for a saved state and for a recorded run.  What the guest sees of it are TESTs of kernel virtio_console."""


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


@pytest.fixture
def ours(vmm):
    if vmm.is_qemu:
        pytest.skip("states and recorded runs are each VMM's own")
    return vmm


def goes_on(qmp):
    while (status := qmp.command("query-status")["status"]) == "inmigrate":
        pass
    assert status == "running"


def test_a_state_with_a_plugged_port_wants_that_port(ours, start, tmp_path):
    """It fits a machine that has it, from its command line or plugged in, and no other."""
    state, qmp = tmp_path / "state", start().qmp
    add(qmp, id="x", nr=3, name="a")
    qmp.command("migrate", uri=f"file:{state}")
    while qmp.command("query-migrate")["status"] not in ("completed", "failed"):
        pass
    add(qmp, id="y")  # postmigrate: nothing is being saved any more
    port = "virtserialport,id=x,nr=3,name=a"
    goes_on(start("-incoming", f"file:{state}", "-device", port).qmp)
    late = start("-incoming", "defer").qmp
    add(late, id="x", nr=3, name="a")
    late.command("migrate-incoming", uri=f"file:{state}")
    goes_on(late)
    for more, line in (
        ([], "section virtserialport/0: this machine has no such device"),
        (["-device", "virtserialport,id=x,nr=2"], "section virtserialport/0: field nr: 3 is not a value it can have"),
    ):
        running = start("-incoming", f"file:{state}", *more)
        assert running.wait() == 1
        assert line in running.stderr.decode()


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
