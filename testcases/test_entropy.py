# SPDX-License-Identifier: MIT
"""Where the bytes of virtio-rng come from: the seed under virtual time, a file's bytes in their order,
and a request that waits for them."""

import os
import re

import pytest

from harness.process import Running

RUN = "fills_a_buffer"


def line_of(vmm, *more, run=RUN, device=""):
    line = [vmm.path, "-nodefaults", "-display", "none", "-no-reboot", "-monitor", "none", "-serial", "stdio"]
    line += ["-accel", vmm.accel, *more, "-device", f"virtio-rng-pci,disable-legacy=on{device}"]
    line += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-m", "64"]
    return line + ["-kernel", "build/kernels/virtio_rng.elf", "-append", f"run={run} rng_max=256 rng_period=20"]


def entropy_of(line):
    with Running(line) as vm:
        assert vm.wait() in (0, 1), vm.stderr
        return re.search(rb"# entropy (\w+)", vm.stdout).group(1).decode()


def test_the_seed_decides_in_virtual_time(vmm):
    if vmm.accel != "soft":
        pytest.skip("only soft has virtual time")
    seeds = [entropy_of(line_of(vmm, "-seed", str(seed))) for seed in (1, 1, 2)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_a_period_is_exact_in_virtual_time(vmm):
    if vmm.accel != "soft":
        pytest.skip("only soft has virtual time")
    with Running(line_of(vmm, run="limit_holds", device=",max-bytes=256,period=20")) as vm:
        assert vm.wait() in (0, 1), vm.stderr
        took = int(re.search(rb"# metric least_us (\d+)", vm.stdout).group(1))
    assert abs(took - 20000) <= 100


def test_each_run_has_its_own_bytes(vmm):
    clock = ",clock=host" if vmm.accel == "soft" else ""
    line = line_of(vmm)
    line[line.index("-accel") + 1] += clock
    assert entropy_of(line) != entropy_of(line)


def test_bytes_of_a_file_are_waited_for(vmm, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    line = line_of(vmm, "-object", f"rng-random,id=r,filename={fifo}", device=",rng=r")
    if vmm.accel == "soft":
        line[line.index("-accel") + 1] += ",clock=host"
    with Running(line) as vm:
        vm.wait_text(b"# begin fills_a_buffer")
        with open(fifo, "wb") as writer:
            writer.write(bytes(range(0x40, 0x80)))
            writer.flush()
            assert vm.wait() in (0, 1), vm.stderr
        assert b"# entropy 40414243" in vm.stdout


def test_what_is_refused(vmm):
    for device, words in (
        (",rng=nobody", b"can't find value 'nobody'"),
        (",period=0", b"'period' parameter expects a positive integer"),
        (",max-bytes=9223372036854775808", b"'max-bytes' parameter must be non-negative"),
    ):
        with Running(line_of(vmm, device=device)) as vm:
            assert vm.wait() == 1
            assert words in vm.stderr
