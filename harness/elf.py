# SPDX-License-Identifier: MIT
"""Lists the TESTs of a guest kernel from its ELF file, without booting it.

The kernel's section .assay.tests is an array of `struct test` (docs/wire.md): 64 bytes each,
pointers to strings that lie in the loaded segments.  Only what is needed for that is read.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

TEST = struct.Struct("<IIQQQQQQQ")  # version, flags, name, clauses, sentence, needs, run, reserved
TEST_VERSION = 1
FLAG_LIFE = 1
SECTION = b".assay.tests"


class ElfError(Exception):
    pass


@dataclass(frozen=True)
class Test:
    name: str
    clauses: tuple
    sentence: str
    needs: tuple
    life: bool

    __test__ = False  # not a class of tests for pytest


def list_tests(path):
    """The TESTs of the kernel at `path`, in the order in which it runs them."""
    try:
        image = Path(path).read_bytes()
        return _list(image)
    except (struct.error, IndexError, ValueError) as error:
        raise ElfError(f"{path}: not a kernel of ours: {error}") from None


def _list(image):
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    phoff, shoff = struct.unpack_from("<QQ", image, 32)
    phentsize, phnum, shentsize, shnum, shstrndx = struct.unpack_from("<HHHHH", image, 54)
    segments = [_segment(image, phoff + i * phentsize) for i in range(phnum)]
    sections = [_section(image, shoff + i * shentsize) for i in range(shnum)]
    names = sections[shstrndx]["offset"]
    tests = []
    for section in sections:
        if _cstring(image, names + section["name"]) != SECTION:
            continue
        if section["size"] % TEST.size:
            raise ValueError(f"{SECTION.decode()} is not a whole number of {TEST.size}-byte TESTs")
        for at in range(section["offset"], section["offset"] + section["size"], TEST.size):
            tests.append(_test(image, segments, at))
    return tests


def _segment(image, at):
    kind, _flags, offset, vaddr, _paddr, filesz, _memsz, _align = struct.unpack_from(
        "<IIQQQQQQ", image, at
    )
    return kind, offset, vaddr, filesz


def _section(image, at):
    name, _kind, _flags, _addr, offset, size = struct.unpack_from("<IIQQQQ", image, at)
    return {"name": name, "offset": offset, "size": size}


def _test(image, segments, at):
    version, flags, name, clauses, sentence, needs, _run, _r0, _r1 = TEST.unpack_from(image, at)
    if version != TEST_VERSION:
        raise ValueError(f"TEST of version {version}, this harness reads {TEST_VERSION}")
    return Test(
        name=_string(image, segments, name),
        clauses=_words(_string(image, segments, clauses)),
        sentence=_string(image, segments, sentence),
        needs=_words(_string(image, segments, needs)),
        life=bool(flags & FLAG_LIFE),
    )


def _words(text):
    return tuple(text.replace(",", " ").split())


def _string(image, segments, address):
    if not address:
        return ""
    for kind, offset, vaddr, filesz in segments:
        if kind == 1 and vaddr <= address < vaddr + filesz:
            return _cstring(image, offset + address - vaddr).decode("utf-8", "replace")
    raise ValueError(f"a string at {address:#x} that is not in any segment")


def _cstring(image, at):
    return image[at : image.index(b"\0", at)]
