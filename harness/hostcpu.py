# SPDX-License-Identifier: MIT
"""What a VM costs its host, read from /proc and from the VM's own counters.

CPU time, in microseconds:
  vcpu_us   the vCPU threads' time inside KVM_RUN
  vmm_us    everything else of the process: the other threads (main loop, iothreads, workers, and the
            kernel's io_uring workers), and the vCPU threads' time outside KVM_RUN
  total_us  both
Run time is /proc/PID/task/*/schedstat, exact to the nanosecond.  The vCPU threads' time outside KVM_RUN
is what the VM says itself (query-stats, outside_ns); where it does not (QEMU) it is the threads' user
mode outside the guest, in ticks, which leaves out the system calls they make for I/O.  Where the guest
is translated (TCG) the vCPU thread is the guest, so only total_us means something.
"""

import os
import re
import statistics
import time
from pathlib import Path

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def thread_times(pid):
    """{thread id: (run time in us, user mode outside the guest in us)}"""
    result = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            run_ns = int((task / "schedstat").read_text().split()[0])
            stat = (task / "stat").read_text().rsplit(")", 1)[1].split()
        except (OSError, IndexError):
            continue  # it ended meanwhile
        user, guest = int(stat[11]), int(stat[40])
        result[int(task.name)] = (run_ns / 1e3, (user - guest) * TICK_US)
    return result


def counters(qmp):
    """Exits and kicks as the VM counts them; None where it does not."""
    found = {"exits": None, "kicks": None, "outside_ns": None}
    for target in ("vcpu", "vm"):
        for row in qmp.command("query-stats", target=target):
            for stat in row["stats"]:
                if stat["name"] in found and isinstance(stat["value"], int):
                    found[stat["name"]] = (found[stat["name"]] or 0) + stat["value"]
    return found


def snapshot(pid, vcpus, qmp):
    return {
        "time": time.monotonic(),
        "threads": thread_times(pid),
        "vcpus": set(vcpus),
        "one_thread": pid in vcpus,  # guest and devices are one thread: all of it is the vCPU's
        **counters(qmp),
    }


def difference(before, after):
    vcpu_run = vcpu_user = other = 0.0
    for tid, (run, user) in after["threads"].items():
        was_run, was_user = before["threads"].get(tid, (0.0, 0.0))
        if tid in after["vcpus"]:
            vcpu_run += run - was_run
            vcpu_user += user - was_user
        else:
            other += run - was_run
    if after.get("one_thread"):
        vcpu_user = 0.0
    elif before["outside_ns"] is not None and after["outside_ns"] is not None:
        vcpu_user = (after["outside_ns"] - before["outside_ns"]) / 1e3
    vcpu_user = min(vcpu_user, vcpu_run)
    result = {
        "vcpu_us": vcpu_run - vcpu_user,
        "vmm_us": other + vcpu_user,
        "total_us": vcpu_run + other,
    }
    for key in ("exits", "kicks"):
        known = before[key] is not None and after[key] is not None
        result[key] = after[key] - before[key] if known else None
    return result


def median_of(rows):
    return {
        key: None if any(row[key] is None for row in rows) else statistics.median(row[key] for row in rows)
        for key in rows[0]
    }


MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ (\d+) *(.*)$")


def mappings(pid):
    """(size, is it unnamed, anonymous bytes, file bytes) of each mapping"""
    row = None
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as smaps:
        for line in smaps:
            start = MAPPING.match(line)
            if start:
                if row:
                    yield tuple(row)
                size = int(start.group(2), 16) - int(start.group(1), 16)
                row = [size, not start.group(5), 0, 0]
                rss = 0
            elif line.startswith("Rss:"):
                rss = int(line.split()[1]) * 1024
            elif line.startswith("Anonymous:"):
                row[2] = int(line.split()[1]) * 1024
                row[3] = rss - row[2]
    if row:
        yield tuple(row)


def private_memory(pid, ram):
    """RssAnon less what the guest touched of its RAM above 1 MiB.

    That RAM is the unnamed mapping of about its size: the first 1 MiB may be a mapping of its own, and
    the kernel merges neighbours, so up to 2 MiB either way."""
    try:
        return sum(
            anonymous
            for size, unnamed, anonymous, _ in mappings(pid)
            if not (unnamed and abs(size - ram) <= 2 << 20)
        )
    except OSError:
        return 0


def file_memory(pid):
    """Pages of the program and its libraries, shared with whoever else runs them."""
    return sum(shared for _, _, _, shared in mappings(pid))
