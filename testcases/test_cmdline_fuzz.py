# SPDX-License-Identifier: MIT
"""Command lines nobody would write, made from a seed: each is refused in one line or runs to its end.

A kernel that ends the VM at once is always there, so a command line that is good ends with the
kernel's status.  `make check` tries some, `make soak` many; FUZZ_SEED= repeats a run.
"""

import os
import random
import subprocess

import pytest

from harness import probe
from harness.process import PATIENCE
from harness.vmm import paste

GROUPS, PER_GROUP, PER_GROUP_WHOLE = 8, 25, 500
KERNEL_STATUS = 11  # the kernel writes 5
HELP_OR_GOOD = {0, KERNEL_STATUS}

NUMBERS = ["0", "1", "-1", "2", "64", "4096", "0x10", "1e3", "18446744073709551615",
           "18446744073709551616", "9223372036854775808", "00", "", " 1", "1 ", "+1", "0x", "1.5"]  # fmt: skip
SIZES = NUMBERS + ["64M", "128m", "1G", "16k", "1T", "8E", "99999P", "1.5G", "64MB", "M", "64 M"]
WORDS = ["on", "off", "yes", "true", "auto", "none", "help", "?", "a", "d", "nosuch", "", "=", ",",
         ",,", "=,=", "a=b", "%s%n", "../..", "/", "/dev/null", "/dev/zero", "é", "\t", "x" * 300,
         "x" * 9000, "{img}", "{dir}", "{dir}/absent", "stdio", "null", "pc", "microvm"]  # fmt: skip
DEVICES = ["virtio-blk-pci", "virtio-blk-device", "ide-hd", "isa-serial", "isa-debug-exit",
           "pci-testdev", "pc-testdev", "virtio-net-pci", "nosuch", "virtio-blk", "PIIX3"]  # fmt: skip
PROPERTIES = ["drive", "serial", "num-queues", "queue-size", "iobase", "irq", "iosize", "chardev",
              "index", "disable-legacy", "disable-modern", "iothread", "vectors", "addr", "bus",
              "unit", "id", "seg-max", "logical_block_size", "bootindex", "nosuch", ""]  # fmt: skip
DRIVE_KEYS = ["if", "id", "file", "format", "cache", "aio", "readonly", "snapshot", "media", "index",
              "bus", "unit", "nosuch", "file.driver", "driver", "node-name"]  # fmt: skip
DRIVE_VALUES = ["none", "ide", "virtio", "pflash", "raw", "qcow2", "writeback", "directsync",
                "unsafe", "native", "threads", "io_uring", "disk", "cdrom"]  # fmt: skip


class Maker:
    """Makes command lines from one source of randomness."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, *lists):
        return self.random.choice(self.random.choice(lists))

    def pairs(self, keys, *values):
        count = self.random.randrange(0, 5)
        made = [f"{self.pick(keys)}={self.pick(*values)}" for _ in range(count)]
        return self.random.choice([",", ",", ",", ",,"]).join(made)

    def drive(self):
        return self.random.choice(["if=none,id=d,file={img},format=raw,", ""]) + self.pairs(
            DRIVE_KEYS, DRIVE_VALUES, WORDS, NUMBERS
        )

    def device(self):
        return self.pick(DEVICES) + "," + self.pairs(PROPERTIES, ["d", "a", "io0"], NUMBERS, WORDS)

    def chardev(self):
        kind = self.pick(["null", "file", "socket", "pty", "pipe", "stdio", "nosuch", "ringbuf"])
        return kind + "," + self.pairs(["id", "path", "server", "wait", "host", "port"], WORDS, NUMBERS)

    def option(self):
        """One option with its value, if it takes one."""
        valued = {
            "-m": lambda: self.pick(SIZES, WORDS),
            "-smp": lambda: self.pick(NUMBERS, ["cpus=1", "1,sockets=1", "cores=2"]),
            "-machine": lambda: self.pick(["pc", "microvm", "q35"]) + "," + self.pairs(
                ["accel", "acpi", "type", "nosuch", "dump-guest-core"], WORDS, NUMBERS),
            "-cpu": lambda: self.pick(["qemu64", "host", "max", "qemu64,+x2apic", "nosuch"], WORDS),
            "-device": self.device,
            "-drive": self.drive,
            "-hda": lambda: self.pick(["{img}", "{dir}/absent", "{dir}", "/dev/null", ""]),
            "-blockdev": lambda: self.pick(
                ["driver=raw,node-name=n,file.driver=file,file.filename={img}", '{{"driver":"raw"',
                 "driver=file,node-name=n", "{{}}"], WORDS),
            "-chardev": self.chardev,
            "-serial": lambda: self.pick(["null", "none", "file:{dir}/log", "chardev:a", "vc"], WORDS),
            "-qmp": lambda: self.pick(["none", "unix:", "tcp:", "tcp:nohost.invalid:x,server=on"], WORDS),
            "-object": lambda: self.pick(["iothread,id=io0", "iothread", "iothread,id=", ""], WORDS),
            "-global": lambda: self.pick(["virtio-mmio.force-legacy=off", "a.b=c", "x", "=", "."]),
            "-append": lambda: self.pick(WORDS),
            "-initrd": lambda: self.pick(["{img}", "{dir}/absent", "{img},{img}", "", ","]),
            "-rtc": lambda: self.pick(["base=utc", "base=localtime", "clock=vm"], WORDS),
            "-boot": lambda: self.pick(["c", "order=c,menu=off", "n", "order=zz"], WORDS),
            "-name": lambda: self.pick(WORDS),
            "-d": lambda: self.pick(["guest_errors", "help", "nosuch"], WORDS),
            "-L": lambda: self.pick(WORDS),
            "-vnc": lambda: self.pick(["none", ":99999", "nosuch"]),
            "-accel": lambda: self.pick(["kvm", "tcg", "help", "kvm,x=y", "xen"], WORDS),
        }  # fmt: skip
        plain = ["-nodefaults", "-no-shutdown", "-no-reboot", "-h", "-version", "-nosuch", "-", "--"]
        if self.random.random() < 0.15:
            return [self.pick(plain, WORDS)]
        name = self.random.choice(sorted(valued))
        return [name] if self.random.random() < 0.03 else [name, valued[name]()]

    def line(self, files):
        made = []
        for _ in range(self.random.randrange(1, 5)):
            made += self.option()
        return [
            word.format(**files).replace("\0", "") if "{" in word else word for word in made
        ]


@pytest.mark.parametrize("group", range(GROUPS))
def test_refused_in_one_line_or_run_to_the_end(bench, vmm, tmp_path, group):
    if vmm.is_qemu:
        pytest.skip("what QEMU makes of nonsense is its own affair")
    (tmp_path / "left").mkdir()
    image, kernel = tmp_path / "disk.img", tmp_path / "kernel.elf"
    image.write_bytes(bytes(1 << 20))
    kernel.write_bytes(probe.pvh_elf(probe.exits(5)))
    files = {"img": image, "dir": tmp_path / "left"}
    seed = int(os.environ.get("FUZZ_SEED", bench.seed))
    maker = Maker(f"{seed} {group}")
    fixed = [vmm.path, "-nodefaults", "-display", "none", "-no-reboot", "-kernel", str(kernel)]
    fixed += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-accel", vmm.accel]
    for _ in range(PER_GROUP_WHOLE if bench.whole else PER_GROUP):
        line = fixed + maker.line(files)
        told = f"FUZZ_SEED={seed}: {paste(line)}"
        try:
            done = subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, cwd=tmp_path
            )
        except subprocess.TimeoutExpired:
            pytest.fail(f"does not end: {told}", pytrace=False)
        said = done.stderr.decode(errors="replace").splitlines()
        if done.returncode == 1:
            assert len(said) == 1 and said[0], f"{said}: {told}"
            assert len(said[0]) < 2000, told
        else:
            assert done.returncode in HELP_OR_GOOD, f"status {done.returncode}, {said}: {told}"
