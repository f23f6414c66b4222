# SPDX-License-Identifier: MIT
"""The command line: what is refused, how it is said, and what is left behind, which is nothing.

Runs on any VMM that speaks QEMU's command line; where QEMU itself says less than we promise, or says
it in two lines, the row is for ours only.
"""

import os
import pty
import signal
import subprocess
import termios
import time

import pytest

from harness import probe
from harness.process import PATIENCE, Running

OURS = "ours"

# arguments, words that the one line on stderr must have, "" or OURS
REFUSED = [
    ("-frobnicate", ["-frobnicate", "invalid option"], ""),
    ("--frobnicate", ["-frobnicate", "invalid option"], ""),
    ("-m 12Q", ["-m", "12Q"], OURS),
    ("-m -5", ["-m", "-5"], OURS),
    ("-m size=", ["-m"], OURS),
    ("-m 99999999999999999999", ["-m"], OURS),
    ("-m 64k -kernel {elf}", ["-m", "memory"], OURS),
    ("-smp 0", ["-smp"], OURS),
    ("-smp two", ["-smp", "two"], OURS),
    ("-smp 3,sockets=2", ["-smp", "must match maxcpus: sockets (2) * dies (1) * cores (1) * threads (1) != maxcpus (3)"], OURS),
    ("-smp 17 -kernel {elf}", ["-smp", "Invalid SMP CPUs 17. The max CPUs supported by machine", "is 16"], OURS),
    ("-machine microvm -smp 2,dies=2 -kernel {elf}", ["-smp", "dies not supported by this machine's CPU topology"], OURS),
    ("-smp 2 -smp cores=2,threads=2", ["-smp", "sockets (0) * dies (1) * cores (2) * threads (2)"], OURS),
    ("-machine nosuch", ["nosuch"], OURS),
    ("-machine pc,foo=bar", ["foo"], ""),
    ("-accel nosuch", ["-accel", "nosuch"], ""),
    ("-machine pc,accel=nosuch", ["nosuch"], OURS),
    ("-machine pc,accel=", ["accel= names no accelerator"], OURS),
    ("-cpu nosuch", ["nosuch"], ""),
    ("-device nosuch", ["-device", "nosuch"], ""),
    ("-device virtio-blk-pci,foo=1", ["-device", "foo"], ""),
    ("-device virtio-blk-pci,disable-legacy=on", ["-device", "drive"], ""),
    ("-device isa-serial,iobase=foo", ["-device", "iobase"], ""),
    ("-device isa-debug-exit,iosize=maybe", ["-device", "iosize"], ""),
    ("-drive if=none,id=a,file={img},format=raw -device virtio-blk-pci,drive=b", ["-device", "b"], ""),
    ("-drive if=none,id=a,file={dir}/absent,format=raw", ["-drive", "absent", "No such file"], ""),
    ("-drive if=none,id=a,file={img},format=raw,foo=1", ["-drive", "foo"], ""),
    ("-drive if=none,id=a,file={img},format=nosuch", ["-drive", "nosuch"], ""),
    ("-drive if=nosuch,file={img},format=raw", ["-drive", "nosuch"], ""),
    ("-drive if=none,id=a,file={img},format=raw,cache=nosuch", ["-drive", "cache"], ""),
    ("-drive if=none,id=a,file={img},format=raw,aio=nosuch", ["-drive", "aio"], ""),
    ("-drive if=none,id=a,file={dir},format=raw", ["-drive", "{dir}"], ""),
    (
        "-drive if=none,id=a,file={img},format=raw -drive if=none,id=a,file={img},format=raw",
        ["-drive", "a"],
        "",
    ),
    ("-hda {dir}/absent", ["-hda", "absent"], ""),
    ("-kernel {dir}/absent", ["could not open kernel file", "absent"], ""),
    ("-kernel {text}", ["kernel"], ""),
    ("-kernel", ["-kernel", "requires an argument"], ""),
    ("-kernel {elf} -initrd {dir}/absent", ["absent"], ""),
    ("-append foo", ["-append"], ""),
    ("-initrd {text}", ["-initrd"], ""),
    ("-serial nosuch", ["-serial", "nosuch"], OURS),
    ("-serial file:{dir}/absent/x", ["-serial", "absent/x"], OURS),
    ("-serial chardev:absent", ["-serial", "absent"], OURS),
    ("-chardev nosuch,id=a", ["-chardev", "nosuch"], ""),
    ("-chardev null", ["-chardev", "id"], ""),
    ("-chardev file,id=a", ["-chardev", "id=a"], ""),
    ("-qmp nosuch", ["-qmp", "nosuch"], OURS),
    ("-qmp unix:{dir}/absent/q,server=on,wait=off", ["-qmp"], ""),
    ("-mon chardev=absent,mode=control", ["-mon", "absent"], ""),
    ("-object nosuch,id=a", ["-object", "nosuch"], ""),
    ("-object iothread", ["-object", "id"], ""),
    ("-object iothread,id=a,poll-max-ns=much", ["-object", "poll-max-ns"], ""),
    ("-device virtio-blk-pci,drive=a,iothread=absent -drive if=none,id=a,file={img},format=raw",
     ["absent"], OURS),
    ("-boot order=z", ["z"], ""),
    ("-rtc base=foo", ["-rtc", "foo"], OURS),
    ("-pidfile {dir}/absent/p", ["absent/p"], ""),
    ("-d nosuch", ["-d", "nosuch"], OURS),
    ("-L", ["-L", "requires an argument"], ""),
    ("-name", ["-name", "requires an argument"], ""),
    ("{dir}/stray", ["stray"], ""),
    ("-device virtio-blk-pci,drive=a,disable-legacy=on,disable-modern=on "
     "-drive if=none,id=a,file={img},format=raw", ["-device"], OURS),
]  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """Small things that the command lines name, in a folder that is otherwise empty."""
    stock = tmp_path / "stock"
    stock.mkdir()
    (tmp_path / "left").mkdir()
    image = stock / "disk.img"
    image.write_bytes(bytes(1 << 20))
    (stock / "text").write_text("not a kernel\n" * 1000)
    (stock / "ready.elf").write_bytes(probe.pvh_elf(probe.prints(b"ready\n") + probe.HALT))
    (stock / "quits.elf").write_bytes(probe.pvh_elf(probe.exits(5)))
    return {
        "img": image,
        "text": stock / "text",
        "elf": stock / "ready.elf",
        "quits": stock / "quits.elf",
        "dir": tmp_path / "left",
    }


def plain(vmm, *args):
    """A small machine; only what stands in `args` is beside it."""
    cpu = ["-cpu", "qemu64"] if vmm.is_qemu and vmm.accel == "kvm" else []
    return [vmm.path, *cpu, "-nodefaults", "-display", "none", "-no-reboot", *map(str, args)]


def accel(vmm):
    return ["-accel", vmm.accel]


def run(line, **options):
    return subprocess.run(
        line, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, **options
    )


@pytest.mark.parametrize("text, words, whose", REFUSED, ids=[row[0] for row in REFUSED])
def test_refused_in_one_line(vmm, files, text, words, whose):
    if whose == OURS and vmm.is_qemu:
        pytest.skip("QEMU accepts it or says it otherwise")
    args = text.format(**files).split()
    before = sorted(files["dir"].iterdir())
    done = run(plain(vmm, *([] if "accel" in text else accel(vmm)), *args))
    lines = done.stderr.splitlines()
    assert done.returncode == 1, done.stderr
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word.format(**files) in lines[0], lines[0]
    assert done.stdout == ""
    assert sorted(files["dir"].iterdir()) == before


def test_a_refused_command_line_leaves_nothing_behind(vmm, files):
    """A socket and a pid file were asked for before the option that is wrong."""
    if vmm.is_qemu:
        pytest.skip("QEMU leaves the socket of its monitor")
    folder = files["dir"]
    args = ["-qmp", f"unix:{folder}/q,server=on,wait=off", "-pidfile", f"{folder}/pid"]
    done = run(plain(vmm, *accel(vmm), *args, "-device", "nosuch"))
    assert done.returncode == 1
    assert [path.name for path in folder.iterdir()] == []


@pytest.mark.parametrize("option", ["-h", "-help", "--help"])
def test_help(vmm, option):
    done = run([vmm.path, option])
    assert done.returncode == 0 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert "version" in lines[0]
    assert any(line.startswith("usage: ") for line in lines)
    for name in ("-machine", "-kernel", "-append", "-device", "-drive", "-qmp", "-accel"):
        assert any(line.startswith(name) for line in lines), name


@pytest.mark.parametrize("option", ["-version", "--version"])
def test_version(vmm, option):
    done = run([vmm.path, option])
    assert done.returncode == 0 and done.stderr == ""
    assert "emulator version " in done.stdout or " version " in done.stdout.splitlines()[0]


@pytest.mark.parametrize("question", ["help", "?"])
def test_lists(vmm, question):
    """In QEMU's form, because runners written for it look there for what a VMM can do."""
    machines = run([vmm.path, "-machine", question])
    assert machines.returncode == 0 and machines.stderr == ""
    assert machines.stdout.startswith("Supported machines are:\n")
    names = [line.split()[0] for line in machines.stdout.splitlines()[1:]]
    assert "pc" in names and "microvm" in names
    devices = run([vmm.path, "-device", question])
    assert devices.returncode == 0 and devices.stderr == ""
    for name in ("virtio-blk-pci", "virtio-blk-device", "ide-hd", "isa-debug-exit", "isa-serial"):
        assert f'name "{name}", bus ' in devices.stdout, name
    cpus = run([vmm.path, "-cpu", question])
    assert cpus.returncode == 0 and cpus.stderr == ""
    assert "qemu64" in cpus.stdout or "host" in cpus.stdout


@pytest.mark.parametrize(
    "model, missing",
    [
        ("qemu64", []),
        ("max", []),
        ("qemu64,+popcnt,-sse3", []),
        (
            "qemu64,+avx,+sse4_2,+sha-ni",
            ["CPUID.01H:ECX.avx [bit 28]", "CPUID.07H:EBX.sha-ni [bit 29]"],
        ),
    ],
)
def test_features_that_are_not_there_are_named(vmm, files, model, missing):
    if vmm.is_qemu or vmm.accel != "soft":
        pytest.skip("what QEMU's processor and KVM's have depends on their version and host")
    exits = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    done = run(plain(vmm, *accel(vmm), *exits, "-cpu", model, "-kernel", files["quits"]))
    assert done.stderr.splitlines() == [
        f"assay: warning: soft doesn't support requested feature: {feature}" for feature in missing
    ]


def test_an_accelerator_lists_its_properties(vmm):
    if vmm.is_qemu:
        pytest.skip("QEMU does not")
    done = run([vmm.path, "-accel", "soft,help"])
    assert done.returncode == 0 and done.stderr == ""
    assert "  seed=" in done.stdout and "  clock=" in done.stdout


def test_a_device_lists_its_properties(vmm):
    done = run([vmm.path, "-device", "virtio-blk-pci,help"])
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("virtio-blk-pci options:\n")
    for name in ("drive", "serial", "num-queues", "disable-legacy", "iothread"):
        assert f"  {name}=<" in done.stdout, name


def test_exit_status_of_the_debug_exit(vmm, files):
    exits = ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
    for machine in ("pc", "microvm,acpi=off"):
        args = ["-machine", machine, "-m", "64M", *exits, "-kernel", files["quits"]]
        done = run(plain(vmm, *accel(vmm), *args))
        assert done.returncode == 5 * 2 + 1
        if not vmm.is_qemu:
            assert done.stderr == "" and done.stdout == ""


def halted(vmm, files, *args, machine="microvm,acpi=off"):
    """A machine whose kernel says it is ready and halts."""
    fixed = ["-machine", machine, "-m", "64M", "-monitor", "none", "-kernel", files["elf"]]
    return plain(vmm, *accel(vmm), *fixed, *args)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_cleanly(vmm, files, number):
    folder = files["dir"]
    more = ["-serial", "stdio", "-pidfile", f"{folder}/pid"]
    more += ["-qmp", f"unix:{folder}/q,server=on,wait=off"]
    with Running(halted(vmm, files, *more)) as running:
        running.wait_text(b"ready")
        assert (folder / "pid").read_text().strip() == str(running.process.pid)
        assert (folder / "q").is_socket()
        running.signal(number)
        assert running.wait() == 0
        said = [line for line in running.error_lines() if not vmm.is_chatter(line)]
        assert [line for line in said if "terminating on signal" not in line] == []
    assert not (folder / "pid").exists()
    assert not (folder / "q").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_restores_the_terminal(vmm, files, number):
    master, slave = pty.openpty()
    try:
        before = termios.tcgetattr(slave)
        with Running(halted(vmm, files, "-serial", "stdio"), stdin=slave) as running:
            running.wait_text(b"ready")
            assert termios.tcgetattr(slave)[3] & termios.ICANON == 0, "stdio is raw while it runs"
            running.signal(number)
            assert running.wait() == 0
        assert termios.tcgetattr(slave) == before
    finally:
        os.close(master)
        os.close(slave)


def test_nographic_ctrl_a_x_ends_it(vmm, files):
    args = ["-machine", "microvm,acpi=off", "-m", "64M", "-kernel", files["elf"], "-nographic"]
    line = [vmm.path, *accel(vmm), "-nodefaults", "-no-reboot", *map(str, args)]
    line += ["-serial", "mon:stdio"]
    with Running(line, stdin=subprocess.PIPE) as running:
        running.wait_text(b"ready")
        running.process.stdin.write(b"\x01x")
        running.process.stdin.flush()
        assert running.wait() == 0
        running.process.stdin.close()


def test_serial_to_a_file(vmm, files):
    log = files["dir"] / "log"
    with Running(halted(vmm, files, "-serial", f"file:{log}")) as running:
        deadline = time.monotonic() + PATIENCE
        while not (log.exists() and b"ready" in log.read_bytes()):
            assert time.monotonic() < deadline and running.process.poll() is None
            time.sleep(0.02)
        running.end()
    assert log.read_bytes() == b"ready\n"


def test_serial_to_a_chardev(vmm, files):
    chardev = ["-chardev", "stdio,id=c,signal=off", "-serial", "chardev:c"]
    with Running(halted(vmm, files, *chardev)) as running:
        running.wait_text(b"ready")


def test_options_that_change_nothing_are_accepted(vmm, files):
    args = "-display none -vnc none -monitor none -no-shutdown -name bench -rtc base=utc -boot c"
    with Running(halted(vmm, files, "-serial", "stdio", *args.split())) as running:
        running.wait_text(b"ready")
        assert [line for line in running.error_lines() if not vmm.is_chatter(line)] == []


def test_the_first_accelerator_that_works_is_taken(vmm, files):
    if vmm.is_qemu:
        pytest.skip("QEMU warns of those that do not")
    with Running(
        plain(vmm, "-machine", "microvm,acpi=off", "-accel", "xen", "-accel", vmm.accel,
              "-m", "64M", "-serial", "stdio", "-monitor", "none", "-kernel", files["elf"])
    ) as running:  # fmt: skip
        running.wait_text(b"ready")
