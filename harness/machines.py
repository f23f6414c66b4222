# SPDX-License-Identifier: MIT
"""The machines that kernels run on, as fragments of QEMU's command line.

A test module names a machine by words; each word is a row of FRAGMENTS, with parameters after a
colon: "pc blk-pci:size=16M,serial=assay0".  What QEMU's defaults leave to it is spelled out here,
so that one line means the same machine on every VMM.
"""

import struct
from pathlib import Path

MIB = 1 << 20
SECTOR = 512
UNITS = {"K": 1 << 10, "M": MIB, "G": 1 << 30}


class MachineError(Exception):
    pass


class Build:
    """A machine being put together: the command line, the kernel's arguments, the files."""

    def __init__(self, folder, sockets=None):
        self.folder = Path(folder)
        self.sockets = sockets or folder  # where sockets are: a short path
        self.args = []
        self.append = []
        self.machine = None
        self.disks = {}  # drive id -> path
        self.life = "same"  # where a VM goes on that a TEST saves: "same" engine or "other"
        self.suffix = ""  # ".mb": the Multiboot form of the kernel
        self.legacy = False  # virtio devices have their legacy interface
        self.modern = True  # virtio devices on PCI have their modern interface
        self.packed = False  # virtio devices offer packed rings

    def drive(self, parameters, extra=""):
        """A raw image with its -drive; returns the drive's id."""
        name = parameters.get("id", f"disk{len(self.disks)}")
        path = parameters.get("file")
        if path is None:
            path = self.folder / f"{name}.img"
            if not path.exists():  # a VM started again finds what the last one wrote
                make_image(
                    path, size_of(parameters.get("size", "8M")), parameters.get("fill", "lba")
                )
        self.disks[name] = Path(path)
        text = f"if=none,id={name},format=raw,file={path}{extra}"
        for key in ("cache", "aio", "readonly", "snapshot"):
            if key in parameters:
                text += f",{key}={parameters[key]}"
        if "unmap" in parameters:  # "discard" is a property of the device, too
            text += ",discard=unmap"
        self.args += ["-drive", text]
        return name

    def device(self, name, **properties):
        text = "".join(f",{key}={value}" for key, value in properties.items())
        self.args += ["-device", name + text]


def size_of(text):
    text = str(text)
    return int(text[:-1], 0) * UNITS[text[-1]] if text[-1] in UNITS else int(text, 0)


def make_image(path, size, fill):
    """fill=lba: each 512-byte sector is its own number, as 64-bit little-endian words;
    fill=zero: a sparse file."""
    with open(path, "wb") as image:
        if fill == "lba":
            for start in range(0, size // SECTOR, 2048):
                stop = min(start + 2048, size // SECTOR)
                image.write(b"".join(struct.pack("<Q", n) * 64 for n in range(start, stop)))
        elif fill != "zero":
            raise MachineError(f"fill={fill}: lba or zero")
        image.truncate(size)


def common_properties(parameters, *names):
    return {name: parameters[name] for name in names if name in parameters}


def pc(build, parameters):
    build.machine = "pc"
    build.args += ["-machine", "pc"]


def microvm(build, parameters):
    build.machine = "microvm"
    build.args += ["-machine", "microvm,acpi=off", "-global", "virtio-mmio.force-legacy=false"]


def legacy(build, parameters):
    """After pc or microvm: virtio devices are transitional on PCI, version 1 on MMIO, and kernels drive
    the legacy interface."""
    build.legacy = True
    build.append.append("interface=legacy")
    modern = "virtio-mmio.force-legacy=false"
    if modern in build.args:
        build.args[build.args.index(modern)] = "virtio-mmio.force-legacy=true"


def legacy_only(build, parameters):
    """With "legacy": devices on PCI have no other interface."""
    build.modern = False


def transitional(build, parameters):
    """Devices on PCI have both interfaces, and kernels drive the modern one."""
    build.legacy = True


def packed(build, parameters):
    """Virtio devices behind this word offer packed rings."""
    build.packed = True


def memory(build, parameters):
    build.args += ["-m", parameters["size"]]


def smp(build, parameters):
    build.args += ["-smp", parameters["cpus"]]


def cpu(build, parameters):
    build.args += ["-cpu", parameters["model"]]


def iothread(build, parameters):
    build.args += ["-object", "iothread,id=" + parameters.get("id", "io0")]


BLK = ("serial", "iothread", "num-queues", "queue-size", "event_idx", "indirect_desc", "packed")
BLK += ("in_order", "iommu_platform", "order_platform", "notification_data", "notif_config_data")
BLK += ("discard", "write-zeroes", "seg-max", "logical_block_size", "config-wce")
BLK += ("physical_block_size", "max-discard-sectors", "max-write-zeroes-sectors")
BLK += ("secure-erase", "pre-eol-info", "lifetime-type-a", "lifetime-type-b", "size-max")  # ours only


DOORBELLS = ("page-per-vq", "modern-pio-notify")


def virtio(build, name, **properties):
    """A virtio device with the interfaces and rings that the machine's words ask for."""
    if name.endswith("-pci"):
        properties.setdefault("disable-legacy", "off" if build.legacy else "on")
        properties.setdefault("disable-modern", "off" if build.modern else "on")
    if build.packed:
        properties.setdefault("packed", "on")
    build.device(name, **properties)


def blk_pci(build, parameters):
    drive = build.drive(parameters)
    more = common_properties(parameters, *BLK, "vectors", "addr", "bootindex", *DOORBELLS)
    virtio(build, "virtio-blk-pci", drive=drive, **more)


def blk_mmio(build, parameters):
    drive = build.drive(parameters)
    virtio(build, "virtio-blk-device", drive=drive, **common_properties(parameters, *BLK))


RING = ("event_idx", "indirect_desc", "packed", "in_order", "queue_reset", "vectors", "addr")


def entropy(build, parameters):
    """Properties of a virtio-rng; its limit stands on the kernel's command line too."""
    for key, word in (("max-bytes", "rng_max"), ("period", "rng_period")):
        if key in parameters:
            build.append.append(f"{word}={parameters[key]}")
    return common_properties(parameters, "max-bytes", "period", *RING)


def rng_pci(build, parameters):
    virtio(build, "virtio-rng-pci", **entropy(build, parameters))


def rng_mmio(build, parameters):
    virtio(build, "virtio-rng-device", **entropy(build, parameters))


def ports(build, parameters):
    """console=N (1) consoles, plain=N (2) other ports behind the last virtio-serial; their other ends are
    sockets con0, con1, ... for the control port's verbs.  Two more are free, for ports that are plugged in."""
    consoles, plain = int(parameters.get("console", "1")), int(parameters.get("plain", "2"))
    for number in range(consoles + plain + 2):
        path = f"{build.sockets}/con{number}"
        build.args += ["-chardev", f"socket,id=con{number},path={path},server=on,wait=off"]
        if number >= consoles + plain:
            continue
        kind = "virtconsole" if number < consoles else f"virtserialport,name=assay.{number}"
        build.args += ["-device", f"{kind},chardev=con{number}"]


def serial_pci(build, parameters):
    """A virtio-serial with max_ports=, emergency-write=; `ports` puts something on it."""
    virtio(build, "virtio-serial-pci", **serial_properties(parameters))
    ports(build, parameters)


def serial_mmio(build, parameters):
    virtio(build, "virtio-serial-device", **serial_properties(parameters))
    ports(build, parameters)


def serial_properties(parameters):
    return common_properties(parameters, "max_ports", "emergency-write", *RING)


def ide_hd(build, parameters):
    """bus=ide.0|ide.1, unit=0|1"""
    drive = build.drive(parameters)
    more = common_properties(parameters, "serial", "model", "ver")
    bus, unit = parameters.get("bus", "ide.0"), parameters.get("unit", "0")
    build.device("ide-hd", drive=drive, bus=bus, unit=unit, **more)


def device(build, parameters):
    """Any device, with its properties: device:driver=pci-testdev"""
    properties = {key: value for key, value in parameters.items() if key != "driver"}
    build.device(parameters["driver"], **properties)


def fw_cfg(build, parameters):
    """A file for the guest: fw_cfg:name=opt/word,string=text"""
    build.args += ["-fw_cfg", ",".join(f"{key}={value}" for key, value in parameters.items())]


def multiboot(build, parameters):
    build.suffix = ".mb"


def module(build, parameters):
    """Modules (-initrd) of `size` bytes: byte i of module n is (i * 7 + n) & 255; the command
    line of module n is "module n"."""
    paths = []
    for number in range(int(parameters.get("count", "1"))):
        path = build.folder / f"module{number}.bin"
        size = size_of(parameters.get("size", "5000"))
        path.write_bytes(bytes((i * 7 + number) & 255 for i in range(size)))
        paths.append(f"{path} module {number}" if build.suffix else str(path))
    build.args += ["-initrd", ",".join(paths)]


def append(build, parameters):
    build.append += [f"{key}={value}" for key, value in parameters.items()]


def uart3(build, parameters):
    """COM3, with nothing behind it"""
    build.args += ["-chardev", "null,id=uart3", "-device", "isa-serial,index=2,chardev=uart3"]


def life(build, parameters):
    """life:to=other: what is saved goes on under Assay's other engine, and back; at=N: each TEST is
    saved at its N-th checkpoint"""
    build.life = parameters.get("to", "same")
    if "at" in parameters:
        build.append.append(f"life={parameters['at']}")


FRAGMENTS = {
    "life": life,
    "uart3": uart3,
    "pc": pc,
    "microvm": microvm,
    "mem": memory,
    "legacy": legacy,
    "legacy-only": legacy_only,
    "transitional": transitional,
    "packed": packed,
    "smp": smp,
    "cpu": cpu,
    "iothread": iothread,
    "blk-pci": blk_pci,
    "blk-mmio": blk_mmio,
    "serial-pci": serial_pci,
    "serial-mmio": serial_mmio,
    "rng-pci": rng_pci,
    "rng-mmio": rng_mmio,
    "ide-hd": ide_hd,
    "device": device,
    "fw_cfg": fw_cfg,
    "multiboot": multiboot,
    "module": module,
    "append": append,
}


VIRTIO = ("blk-", "rng-", "console-", "serial-", "device:driver=virtio-")


def virtio_interface(words):
    """(transport, ring) of the virtio devices of a machine: "pci", "legacy", "mmio" or "mmio-legacy",
    and "split" or "packed"; None if it has no such device."""
    listed = words.split()
    if not any(word.startswith(VIRTIO) for word in listed):
        return None
    transport = "mmio" if "microvm" in listed else "pci"
    if "legacy" in listed:
        transport = "mmio-legacy" if transport == "mmio" else "legacy"
    return transport, "packed" if "packed" in listed or "packed=on" in words else "split"


def put_together(words, folder, sockets=None):
    """The machine that `words` describe, with its images in `folder`."""
    build = Build(folder, sockets)
    for word in words.split():
        name, _, rest = word.partition(":")
        parameters = dict(pair.split("=", 1) for pair in rest.split(",") if pair)
        if name not in FRAGMENTS:
            raise MachineError(f"'{word}': no such part of a machine; there are {sorted(FRAGMENTS)}")
        FRAGMENTS[name](build, parameters)
    if build.machine is None:
        raise MachineError(f"'{words}': neither pc nor microvm")
    if "-m" not in build.args:
        build.args += ["-m", "128M"]
    return build
