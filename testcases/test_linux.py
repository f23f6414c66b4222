# SPDX-License-Identifier: MIT
"""Debian's kernel, unmodified, with busybox: finds its disks with its own drivers, copies through them,
keeps time, powers off, reboots, and serves a shell on a serial port.

The kernel is test data: ci/guests.sh fetches it. A KVM that interprets kernel code cannot boot it.
"""

import errno
import hashlib
import os
import re
import socket
import subprocess

import pytest

from harness import linux, probe
from harness.process import PATIENCE, Running

GUESTS = "build/guests"
MIB = 1 << 20
DATA = 32 * MIB

COPY = """
mount -t ext4 /dev/sda /ata && mount -t ext4 /dev/vda /virtio || echo "init: no disks"
cp /ata/data /virtio/data
cp /virtio/data /ata/back
sync
umount /ata /virtio
mount -t ext4 /dev/sda /ata
mount -t ext4 /dev/vda /virtio
echo "ata $(sha256sum < /ata/back)"
echo "virtio $(sha256sum < /virtio/data)"
umount /ata /virtio
echo "processors $(grep -c ^processor /proc/cpuinfo)"
now=$(cat /sys/class/rtc/rtc0/since_epoch) up=$(cut -d. -f1 /proc/uptime)
sleep 5
echo "rtc $(( $(cat /sys/class/rtc/rtc0/since_epoch) - now ))"
echo "uptime $(( $(cut -d. -f1 /proc/uptime) - up ))"
echo "complaints: $(dmesg -l warn,err,crit,alert,emerg | grep -iE 'acpi|firmware|bios|msr|tsc')"
echo "init: done"
poweroff -f
"""

REBOOT = """
mount -t ext4 /dev/vda /virtio
if [ -e /virtio/mark ]; then umount /virtio; echo "init: again"; poweroff -f; fi
touch /virtio/mark
umount /virtio
reboot -f
"""

PORTS = """
echo "hwrng $(cat /sys/class/misc/hw_random/rng_current) $(head -c 32 /dev/hwrng | wc -c)"
echo "size $(stty -F /dev/hvc0 size)"
echo "name $(cat /sys/class/virtio-ports/vport0p1/name)"
echo "this is hvc0" > /dev/hvc0
exec 3<> /dev/vport0p1
echo "this is the port" >&3
read line <&3
echo "line $line"
poweroff -f
"""

SHELL = """
setsid cttyhack sh
"""


@pytest.fixture
def kernel(vmm):
    if not os.path.exists(f"{GUESTS}/vmlinux"):
        pytest.skip("Debian's kernel could not be fetched")
    if vmm.accel == "kvm" and probe.interprets(vmm.path, "kvm"):
        pytest.skip("the host's KVM interprets kernel code and does not do INT3 and XRSTOR there")
    return GUESTS


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("linux")
    (folder / "root").mkdir()
    (folder / "root/data").write_bytes(os.urandom(DATA))
    return folder


def ext4(path, root=None):
    with open(path, "wb") as image:
        image.truncate(96 * MIB)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", *(["-d", root] if root else []), path], check=True)
    return path


def line_of(vmm, tmp_path, kernel, body, *more, serial="stdio"):
    ram_disk = tmp_path / "initrd"
    ram_disk.write_bytes(linux.initrd(kernel, body))
    line = [vmm.path, "-accel", vmm.accel, "-nodefaults", "-display", "none", "-monitor", "none"]
    line += ["-m", "256", "-serial", serial, "-initrd", ram_disk, *more]
    return line + ["-append", "console=ttyS0 panic=-1"]


# Linux takes the modern interface of a transitional disk, and the legacy one where there is no other.
INTERFACES = {"transitional": "", "legacy": ",disable-modern=on", "virtio": ",disable-legacy=on"}


def disk(kind, path):
    if kind == "ata":
        return ["-drive", f"if=ide,file={path},format=raw"]
    device = f"virtio-blk-pci,drive=v{INTERFACES[kind]}"
    return ["-drive", f"if=none,id=v,file={path},format=raw", "-device", device]


@pytest.mark.parametrize(
    "image, cpus, kind", [("vmlinux", 1, "legacy"), ("bzImage", 4, "transitional")]
)
def test_it_boots_and_copies(vmm, kernel, data, tmp_path, image, cpus, kind):
    ata = ext4(tmp_path / "ata.img", data / "root")
    virtio = ext4(tmp_path / "virtio.img")
    line = line_of(vmm, tmp_path, kernel, COPY, "-kernel", f"{kernel}/{image}", "-smp", str(cpus))
    line = [*line, *disk("ata", ata), *disk(kind, virtio), "-no-reboot"]
    with Running(line) as vm:
        assert vm.wait(5 * PATIENCE) == 0, vm.stderr
        text = vm.stdout.decode(errors="replace").replace("\r", "")
    said = dict(re.findall(r"^(\w+) (\w+)", text, re.M))
    digest = hashlib.sha256((data / "root/data").read_bytes()).hexdigest()
    assert said["ata"] == digest, text[-2000:]
    assert said["virtio"] == digest
    assert said["processors"] == str(cpus)
    assert abs(int(said["rtc"]) - 5) <= 1 and abs(int(said["uptime"]) - 5) <= 1
    assert "\ncomplaints: \ninit: done" in text, text[-2000:]
    assert "Power down" in text
    for path in (ata, virtio):
        subprocess.run(["e2fsck", "-fn", path], check=True, capture_output=True)


def test_it_reboots(vmm, kernel, tmp_path):
    virtio = ext4(tmp_path / "virtio.img")
    line = line_of(vmm, tmp_path, kernel, REBOOT, "-kernel", f"{kernel}/vmlinux")
    with Running([*line, *disk("virtio", virtio)]) as vm:
        assert vm.wait(5 * PATIENCE) == 0, vm.stderr
        assert vm.stdout.count(b"init: reached") == 2
        assert b"init: again" in vm.stdout


def test_a_shell_on_a_pty(vmm, kernel, tmp_path):
    line = line_of(vmm, tmp_path, kernel, SHELL, "-kernel", f"{kernel}/vmlinux", serial="pty")
    line += ["-accel", "soft,clock=host"] if vmm.accel == "soft" else []  # a person is at the port
    with Running([*line, "-no-reboot"]) as vm:
        vm.wait_text(b"(label serial0)")
        path = re.search(rb"char device redirected to (\S+)", vm.stdout).group(1)
        terminal = os.open(path, os.O_RDWR | os.O_NOCTTY)
        with os.fdopen(terminal, "r+b", buffering=0) as port:
            seen = read_until(port, b"# ")
            port.write(b"echo $((6 * 7))\n")
            assert b"\n42" in read_until(port, b"42\r\n"), seen
            read_until(port, b"# ")
            port.write(b"poweroff -f\n")
        assert vm.wait() == 0


def test_consoles_and_entropy(vmm, kernel, tmp_path):
    line = line_of(vmm, tmp_path, kernel, PORTS, "-kernel", f"{kernel}/vmlinux")
    line += ["-device", "virtio-serial-pci,disable-legacy=on", "-device", "virtio-rng-pci,disable-legacy=on"]
    line += ["-chardev", f"file,id=c0,path={tmp_path}/hvc0", "-device", "virtconsole,chardev=c0"]
    line += ["-chardev", f"socket,id=c1,path={tmp_path}/port,server=on,wait=off"]
    line += ["-device", "virtserialport,chardev=c1,name=org.assay.test", "-no-reboot"]
    with Running(line) as vm, socket.socket(socket.AF_UNIX) as port:
        vm.wait_text(b"init: reached", 5 * PATIENCE)
        port.connect(str(tmp_path / "port"))
        port.sendall(b"from the host\n")
        assert vm.wait(5 * PATIENCE) == 0, vm.stderr
        assert port.recv(100) == b"this is the port\n"
        text = vm.stdout.decode(errors="replace").replace("\r", "")
    said = dict(re.findall(r"^(hwrng|size|name|line) (.*)$", text, re.M))
    wanted = {"hwrng": "virtio_rng.0 32", "size": "25 80", "name": "org.assay.test", "line": "from the host"}
    assert said == wanted, text[-2000:]
    assert (tmp_path / "hvc0").read_bytes() == b"this is hvc0\r\n"


def read_until(port, text):
    seen = b""
    while text not in seen:
        try:
            seen += port.read(4096)
        except OSError as error:  # the other end is closed, and all that it sent was read
            assert error.errno == errno.EIO and text in seen, seen
    return seen
