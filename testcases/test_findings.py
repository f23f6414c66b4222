# SPDX-License-Identifier: MIT
"""docs/findings/: each command shows its finding, as it stands in the file."""

import re
import subprocess
from pathlib import Path

import pytest

from harness import tables

ROOT = Path(__file__).resolve().parent.parent
FOUND = sorted((ROOT / "docs" / "findings").glob("[0-9]*.md"))


def commands(path):
    """(the VMM's words, the TEST it runs) of each block"""
    text = path.read_text().replace("\\\n", " ")
    for line in re.findall(r"^    (qemu-system-.*)$", text, re.MULTILINE):
        words = line.split()
        yield words, words[words.index("-append") + 1].removeprefix("run=")


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_the_command_shows_the_finding(path, qemu, tmp_path):
    if not tables.version_in(qemu.version, "7.2"):
        pytest.skip("written about QEMU 7.2")
    (tmp_path / "build").symlink_to(ROOT / "build")
    found = list(commands(path))
    assert found
    for words, test in found:
        (tmp_path / "disk.img").write_bytes(bytes(4 << 20))
        done = subprocess.run(
            words, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300
        )
        assert re.search(rf"^not ok 1 {test}", done.stdout, re.MULTILINE), done.stdout + done.stderr
        assert done.returncode == 3


def test_each_is_known_to_the_table_of_expected_failures():
    """The links of the table lead to files, and no finding is left out of it."""
    linked = set()
    for row in tables.expected_failures("qemu"):
        name, _, anchor = row.link.partition("#")
        assert (ROOT / name).exists(), row
        if anchor:
            assert f'id="{anchor}"' in (ROOT / name).read_text(), row
        linked.add(Path(name).name)
    deviating = {path.name for path in FOUND if "DEVIATES" in path.read_text()}
    assert {path.name for path in FOUND} - linked - deviating == set()


def test_each_has_a_number_of_its_own():
    numbers = [path.name[:3] for path in FOUND]
    assert len(set(numbers)) == len(numbers)
    for path in FOUND:
        assert path.read_text().startswith(f"# {path.name[:3]}: "), path
