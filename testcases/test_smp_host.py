# SPDX-License-Identifier: MIT
"""Several processors as the host sees them: reset, stop and continue while all run, the monitor."""

import pytest

from harness.process import PATIENCE, Running

KERNEL_FILE = "build/kernels/smp.elf"
TRAFFIC = "run=all_to_all turns={}"
ENDLESS = 100000000
MANY = {"soft": 5000}  # turns that take longer than a few commands; elsewhere threads wait for each other
FEW = 60
GOOD = 1  # isa-debug-exit's status when every TEST was good


@pytest.fixture(params=[0, 1], ids=["first", "second"])
def vmm(bench, request):
    """Each engine of the run, for what goes on between threads is not the same in them."""
    if request.param >= len(bench.vmms):
        pytest.skip("one engine alone was asked for")
    if bench.vmms[request.param].missing:
        pytest.skip(bench.vmms[request.param].missing)
    return bench.vmms[request.param]


@pytest.fixture
def start(vmm, tmp_path):
    started = []

    def begin(append, machine="pc", cpus="4", *more):
        path = tmp_path / f"qmp{len(started)}"
        line = vmm.command(["-machine", machine, "-m", "128", "-smp", cpus], qmp=path)
        line.remove("-no-reboot")
        line += ["-kernel", KERNEL_FILE, "-append", append, *more]
        started.append(Running(line, path))
        return started[-1]

    yield begin
    for running in started:
        running.__exit__()


@pytest.mark.parametrize("machine", ["pc", "microvm,acpi=off"])
def test_reset_by_the_guest(start, machine):
    vm = start("run=reset_while_others_run reset=1", machine)
    assert vm.wait() == GOOD, vm.stdout
    assert vm.stdout.count(b"KTAP version 1") == 2
    assert b"ok 1 reset_while_others_run" in vm.stdout


def test_reset_by_the_monitor(start):
    """Each reset finds all processors running, and the machine begins anew."""
    vm = start(TRAFFIC.format(ENDLESS))
    for turn in range(1, 6):
        vm.wait_text(b"# begin all_to_all\n" if turn == 1 else b"", PATIENCE)
        while vm.stdout.replace(b"\r", b"").count(b"# begin all_to_all") < turn:
            vm._read(0.2)
        vm.qmp.command("system_reset")
    while vm.stdout.count(b"# begin all_to_all") < 6:
        vm._read(0.2)
    assert b"not ok" not in vm.stdout
    vm.qmp.command("quit")
    assert vm.wait() == 0


def test_stop_and_cont_amid_traffic(start, vmm):
    """No interrupt between processors is lost or doubled when all are stopped and go on."""
    vm = start(TRAFFIC.format(MANY.get(vmm.accel, FEW)))
    vm.wait_text(b"# begin all_to_all")
    for _ in range(25):
        vm.qmp.command("stop")
        assert vm.qmp.command("query-status")["status"] == "paused"
        vm.qmp.command("cont")
    assert vm.wait(3 * PATIENCE) == GOOD, vm.stdout
    assert b"ok 1 all_to_all" in vm.stdout


def test_quit_while_all_run(start):
    for _ in range(3):
        vm = start(TRAFFIC.format(ENDLESS), "pc", "16")
        vm.wait_text(b"# begin all_to_all")
        vm.qmp.command("quit")
        assert vm.wait() == 0


def test_state_has_all_processors(start, vmm, tmp_path):
    """Saved amid traffic, or while others still start; loaded elsewhere, it goes on to the end."""
    if vmm.is_qemu:
        pytest.skip("about our own states")
    state = f"file:{tmp_path}/state"
    run = f"run=all_to_all,each_starts,nmi_to_one turns={MANY.get(vmm.accel, FEW)}"
    vm = start(run)
    vm.wait_text(b"# begin all_to_all")
    vm.qmp.command("migrate", uri=state)
    while vm.qmp.command("query-migrate")["status"] not in ("completed", "failed"):
        pass
    assert vm.qmp.command("query-migrate")["status"] == "completed"
    vm.qmp.command("quit")
    vm = start(run, "pc", "4", "-incoming", state)
    assert vm.wait(3 * PATIENCE) == GOOD, vm.stdout
    assert b"ok 2 all_to_all" in vm.stdout and b"ok 3 each_starts" in vm.stdout


def test_monitor_lists_all(start, vmm):
    vm = start(TRAFFIC.format(ENDLESS), "pc", "6,sockets=2,cores=3")
    cpus = vm.qmp.command("query-cpus-fast")
    places = [(cpu["props"]["socket-id"], cpu["props"]["core-id"]) for cpu in cpus]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    assert [cpu["cpu-index"] for cpu in cpus] == list(range(6))
    if vmm.accel == "kvm":
        assert len({cpu["thread-id"] for cpu in cpus}) == 6
    text = vm.qmp.command("human-monitor-command", **{"command-line": "info cpus"})
    assert text.count("thread_id=") == 6
    text = vm.qmp.command("human-monitor-command", **{"command-line": "info registers -a"})
    assert text.count("CPU#") == 6 and text.count("IP=") == 6
    places = vm.qmp.command("query-hotpluggable-cpus")
    assert len(places) == 6 and all("qom-path" in place for place in places)


def test_ids_have_gaps(start):
    """Three cores take two bits of the APIC id, so the second socket begins at 4."""
    vm = start("run=each_starts,cpuid_names_each,fixed_to_each", "pc", "6,sockets=2,cores=3")
    assert vm.wait() == GOOD, vm.stdout
    assert vm.stdout.count(b"\nok ") == 3
