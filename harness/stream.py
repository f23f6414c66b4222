# SPDX-License-Identifier: MIT
"""A saved state as bytes: its parts with their places, and its checksum (docs/migration.md).

    python3 -m harness.stream FILE      prints sections, fields and their values
"""

import struct
import sys
from dataclasses import dataclass

SUBSECTION = 0xFF


@dataclass
class Field:
    section: str
    name: str
    at: int  # of its name's length
    size: int
    count: int  # of elements; of a subsection: its version
    values: int  # where the elements begin

    @property
    def end(self):
        return self.values + (0 if self.size == SUBSECTION else self.size * self.count)


def _name(data, at):
    length = data[at]
    return data[at + 1 : at + 1 + length].decode("ascii"), at + 1 + length


def _number(data, at, size):
    return int.from_bytes(data[at : at + size], "little"), at + size


def _fields(data, section, at, end):
    while at < end:
        start = at
        name, at = _name(data, at)
        size, at = _number(data, at, 1)
        count, at = _number(data, at, 4)
        yield Field(section, name, start, size, count, at)
        at += 0 if size == SUBSECTION else size * count


def fields(data):
    """All fields, in order.  The stream is a good one."""
    assert data[:8] == b"ASSAYVM\x1a"
    at = 12
    _, at = _name(data, at)
    at += 4
    blocks, at = _number(data, at, 4)
    at += 16 * blocks
    while data[at]:
        kind, at = data[at], at + 1
        if kind == 1:
            name, at = _name(data, at)
            instance, at = _number(data, at, 4)
            _, at = _number(data, at, 4)
            length, at = _number(data, at, 4)
            yield from _fields(data, f"{name}/{instance}", at, at + length)
            at += length
        else:
            at += 4
            while data[at]:
                run, at = data[at], at + 1
                pages, at = _number(data, at, 4)
                at += 4096 * pages if run == 1 else 0
            at += 1


def _table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ 0x82F63B78 if byte & 1 else byte >> 1
        table.append(byte)
    return table


TABLE = _table()


def sealed(data):
    """The stream with the checksum that belongs to it."""
    crc = 0xFFFFFFFF
    for byte in data[:-4]:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return bytes(data[:-4]) + struct.pack("<I", crc)


def with_part(data, section, part, values):
    """The stream with one more subsection, at the end of a section: {field: value of a byte}."""
    found = [field for field in fields(data) if field.section == section]
    start, end = found[0].at, found[-1].end

    def name(text):
        return bytes([len(text)]) + text.encode()

    more = name(f"{part}.") + bytes([SUBSECTION]) + struct.pack("<I", 1)
    for field, value in values.items():
        more += name(f"{part}.{field}") + b"\1" + struct.pack("<I", 1) + bytes([value])
    length = struct.pack("<I", end - start + len(more))
    return sealed(data[: start - 4] + length + data[start:end] + more + data[end:])


def main():
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    section = None
    for field in fields(data):
        if field.section != section:
            section = field.section
            print(section)
        if field.size == SUBSECTION:
            print(f"    {field.name} version {field.count}")
            continue
        values = [
            int.from_bytes(data[at : at + field.size], "little")
            for at in range(field.values, field.end, field.size)
        ]
        text = " ".join(f"{value:x}" for value in values[:32])
        print(f"    {field.name} = {text}{' ...' if len(values) > 32 else ''}")


if __name__ == "__main__":
    main()
