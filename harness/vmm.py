# SPDX-License-Identifier: MIT
"""The VMMs that kernels run on: Assay and QEMU speak one command line, so an adapter is little.

A Vmm is a program with one accelerator.  Its label stands in the name of each item: "kvm" is
Assay's, "tcg-qemu" QEMU's.
"""

import fcntl
import functools
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

# What QEMU says on stderr though nothing is wrong.
ROOT = Path(__file__).resolve().parent.parent
KVM_GET_API_VERSION = 0xAE00
QEMU_CHATTER = re.compile(
    r"warning: (TCG doesn't support requested feature|host doesn't support requested feature)"
    r"|terminating on signal 15"
    # What it says of rings that TESTs break on purpose.
    r"|: (Cannot map indirect|Desc next is|Guest says index|Guest moved (used|avail) index|Incorrect order for|Invalid size for)"
    r"|: (Cannot map desc|wrong value for queue_enable|warning: Blocked re-entrant IO)"
    r"|: (Looped descriptor|Virtqueue size exceeded|virtio-blk .*(short|headers)|virtio: )"
    r"|virtio-serial-bus: (Unexpected port id|Guest failure in adding)"
)


class Vmm:
    def __init__(self, path, accel, host_clock=False):
        """host_clock: its time is the host's, also on `soft`, whose time is virtual by itself."""
        self.path = str(path)
        self.accel = accel
        self.host_clock = host_clock
        self.is_qemu = Path(self.path).name.startswith("qemu-system")
        self.kind = "qemu" if self.is_qemu else "assay"
        self.label = f"{accel}-qemu" if self.is_qemu else accel

    @functools.cached_property
    def version(self):
        """(7, 2, 9), from what -version prints."""
        try:
            text = subprocess.run(
                [self.path, "-version"], capture_output=True, text=True, timeout=60
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            return (0,)
        found = re.search(r"version (\d+(?:\.\d+)*)", text)
        return tuple(int(part) for part in found.group(1).split(".")) if found else (0,)

    @functools.cached_property
    def missing(self):
        """Why this VMM cannot run here, or None."""
        if not shutil.which(self.path):
            return f"no {self.path}"
        if self.accel == "kvm":
            return kvm_missing()
        return None

    @functools.cached_property
    def engine(self):
        """What executes guest code, as the VMM itself says: "kvm", "soft", "tcg"; None if it does
        not come so far."""
        words = [{"execute": name} for name in ("qmp_capabilities", "query-status", "query-kvm", "quit")]
        line = [self.path, "-accel", self.accel, "-machine", "microvm,acpi=off", "-m", "16M", "-S"]
        line += ["-nodefaults", "-display", "none", "-qmp", "stdio"]
        line += ["-cpu", "qemu64"] if self.is_qemu and self.accel == "kvm" else []
        try:
            done = subprocess.run(
                line,
                input="\n".join(map(json.dumps, words)) + "\n",
                capture_output=True,
                text=True,
                timeout=60,
            )
            answers = [json.loads(text) for text in done.stdout.splitlines()]
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
        said = {}
        for answer in answers:
            if isinstance(answer.get("return"), dict):
                said.update(answer["return"])
        if "enabled" not in said:
            return None
        return said.get("engine") or ("kvm" if said["enabled"] else "tcg")

    def command(self, machine_args, qmp=None, control=None):
        """The command line but for -kernel and -append."""
        # Who waits for the host (by the control port) must not wait in virtual time.
        clock = ",clock=host" if self.accel == "soft" and (control or self.host_clock) else ""
        accel = ["-accel", self.accel + clock]
        cpu = []
        if self.is_qemu:
            # Some hosts refuse the MSRs of QEMU's newer models.
            cpu = ["-cpu", "qemu64" if self.accel == "kvm" else "max"]
        line = [self.path, *accel, *cpu, "-nodefaults", "-display", "none", "-no-reboot"]
        line += ["-monitor", "none", "-serial", "stdio", *machine_args]
        line += ["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]
        if control:
            line += ["-chardev", f"socket,id=ctl,path={control}"]
            line += ["-device", "isa-serial,iobase=0x2f8,irq=3,chardev=ctl,index=1"]
        if qmp:
            line += ["-qmp", f"unix:{qmp},server=on,wait=off"]
        return line

    def is_chatter(self, line):
        return self.is_qemu and QEMU_CHATTER.search(line) is not None


@functools.lru_cache(maxsize=None)
def kvm_missing():
    if not os.path.exists("/dev/kvm"):
        return "no /dev/kvm"
    try:
        fd = os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    try:
        version = fcntl.ioctl(fd, KVM_GET_API_VERSION)
        return None if version == 12 else f"/dev/kvm has version {version}, not 12"
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    finally:
        os.close(fd)


def paste(line):
    """A command line as a person can paste it, at the top of the tree."""
    return " ".join(shlex.quote(str(word)) for word in line).replace(f"{ROOT}/", "")
