#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checks what no compiler does: the order of the rooms, the licence line, the length of files and functions.

A file of host/ includes headers of its own room and of rooms below it, never above.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# From the top down; rooms of one row do not include each other.
FLOORS = [
    ["options"],
    ["monitor", "debug"],
    ["migration"],
    ["board"],
    ["devices"],
    ["virtio"],
    ["bus"],
    ["cpu"],
    ["machine"],
    ["block", "net", "chardev", "ui"],
    ["base"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
CODE = {".c", ".h", ".py", ".mk", ".sh", ".asm", ".S", ".ld", ".inc"}
MAX_LINES = 800
MAX_FUNCTION = 60
# Spelt apart, so that this file passes its own check.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")


def main():
    complaints = []
    for path in tracked():
        if path.suffix not in CODE and path.name != "Makefile":
            continue
        text = path.read_text(errors="replace")
        lines = text.splitlines()
        name = path.relative_to(ROOT)
        if text and not any("SPDX-License-Identifier: MIT" in line for line in lines[:2]):
            complaints.append(f"{name}:1: no SPDX line")
        if len(lines) > MAX_LINES:
            complaints.append(f"{name}: {len(lines)} lines; {MAX_LINES} at most")
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                complaints.append(f"{name}:{number}: unfinished work is not marked, it is done")
        if path.suffix == ".c":
            complaints += functions(name, lines)
        if name.parts[0] == "host" and path.suffix in (".c", ".h"):
            complaints += includes(name, text)
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


def functions(name, lines):
    """A function's braces stand alone at the start of their lines."""
    found, start = [], None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            if number - start - 1 > MAX_FUNCTION:
                found.append(
                    f"{name}:{start}: a function of {number - start - 1} lines;"
                    f" {MAX_FUNCTION} at most"
                )
            start = None
    return found


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


def includes(name, text):
    room = name.parts[1]
    if room == "main.c":
        room, own = "options", -1  # main stands above all rooms
    elif room not in FLOOR:
        return [f"{name}: host/{room} is not a room of ci/rooms.py"]
    else:
        own = FLOOR[room]
    found = []
    for included in INCLUDE.findall(text):
        other = included.split("/")[0]
        if "/" not in included or other not in FLOOR:
            found.append(f'{name}: "{included}" is not written from host/')
        elif other != room and FLOOR[other] <= own:
            found.append(f'{name}: {room} may not include "{included}", which is not below it')
    return found


if __name__ == "__main__":
    sys.exit(main())
