# SPDX-License-Identifier: MIT
"""A VMM that is a script, and a kernel that is only a list, to test the harness itself.

The fake VMM reads run=, from= and seed= from -append and plays each TEST by its name:
passes, fails, skips, deviates, leaks, errs, crashes_the_vmm, hangs, resets, chatters, asks_control.
"""

import stat
import struct
import sys
from pathlib import Path

FAKE = r'''
import os, random, signal, socket, sys, time
tests = TESTS
args = sys.argv[1:]
if "-version" in args:
    print("Fake emulator version 1.2.3")
    sys.exit(0)
append = args[args.index("-append") + 1] if "-append" in args else ""
words = dict(word.split("=", 1) for word in append.split() if "=" in word)
if "run" in words:
    tests = [test for test in tests if test in words["run"].split(",")]
if "seed" in words:
    random.Random(int(words["seed"])).shuffle(tests)
if "from" in words:
    tests = tests[tests.index(words["from"]):]
def say(text):
    os.write(1, text.encode() + b"\r\n")
os.write(1, b"\x1b[2J\x1b[1;1HSeaBIOS says \xff\xfe hello KTAP version 1\r\n")
say("1..%d" % len(tests))
failed = 0
for number, test in enumerate(tests, 1):
    say("# begin " + test)
    good = "ok %d %s" % (number, test)
    if test.startswith("passes"):
        say("# clause A-1"); say("# metric exits_per_op 1.03"); say(good)
    elif test == "fails":
        say("# expected 1, got 2 at k.c:7"); say("not " + good); failed = 1
    elif test == "skips":
        say(good + " # SKIP needs smp>=2")
    elif test == "errs":
        say("not " + good + " # ERROR no device"); failed = 1
    elif test == "leaks":
        say("# verdict LEAK byte 513 of a 512-byte buffer"); say("not " + good); failed = 1
    elif test == "deviates":
        say("# verdict DEVIATES a SHOULD"); say("not " + good); failed = 1
    elif test == "crashes_the_vmm":
        os.write(2, b"fake: something bad\n"); os.kill(os.getpid(), signal.SIGSEGV)
    elif test == "hangs":
        time.sleep(60)
    elif test == "resets":
        sys.exit(0)
    elif test == "chatters":
        os.write(2, b"fake: a warning\n"); time.sleep(0.1); say(good)
    elif test == "asks_control":
        path = [arg for arg in args if arg.startswith("socket,id=ctl")][0].split("path=")[1]
        peer = socket.socket(socket.AF_UNIX); peer.connect(path)
        peer.sendall(b"garbage\nREQ 1 hello\nREQ 2 fly\n")
        answers = b""
        while answers.count(b"\n") < 2:
            answers += peer.recv(100)
        for line in answers.decode().splitlines():
            say("# " + line)
        say(good)
sys.exit(3 if failed else 1)
'''


def make_vmm(path, tests):
    path = Path(path)
    path.write_text(f"#!{sys.executable}\n" + FAKE.replace("TESTS", repr(list(tests)), 1))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def make_kernel(path, tests):
    """An ELF file whose .assay.tests lists `tests`: (name, clauses, sentence, needs, flags)."""
    base = 0x100000
    strings, at = b"\0", {}
    for test in tests:
        for text in test[:4]:
            at.setdefault(text, base + len(strings))
            if at[text] == base + len(strings):
                strings += text.encode() + b"\0"
    strings = strings.ljust((len(strings) + 7) & ~7, b"\0")
    table = b""
    for name, clauses, sentence, needs, flags in tests:
        table += struct.pack(
            "<IIQQQQQQQ", 1, flags, at[name], at[clauses], at[sentence], at[needs], base, 0, 0
        )
    names = b"\0.assay.tests\0.shstrtab\0"
    body = 0x1000
    sections = body + len(strings) + len(table) + len(names)
    size = len(strings) + len(table)
    elf = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, base, 64, sections, 0, 64, 56, 1, 64, 3, 2
    )
    elf += struct.pack("<IIQQQQQQ", 1, 7, body, base, base, size, size, 0x1000)
    elf = elf.ljust(body, b"\0") + strings + table + names
    elf += bytes(64)
    elf += struct.pack(
        "<IIQQQQIIQQ", 1, 1, 2, base + len(strings), body + len(strings), len(table), 0, 0, 8, 64
    )
    elf += struct.pack("<IIQQQQIIQQ", 14, 3, 0, 0, body + size, len(names), 0, 0, 1, 0)
    Path(path).write_bytes(elf)
