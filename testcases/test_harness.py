# SPDX-License-Identifier: MIT
"""The harness tested without a VMM of anybody: a script plays one (fakes.py)."""

from types import SimpleNamespace

import fakes
import pytest

from harness import elf, ktap, machines, probe, tables
from harness import session as sessions
from harness.items import Failed, KernelItem
from harness.session import Session, run_once
from harness.vmm import Vmm


def run_fake(folder, tests, **options):
    vmm = Vmm(fakes.make_vmm(folder / "fake-vmm", tests), "none")
    wanted = options.pop("wanted", tests)
    session = Session(
        "fake", "k.elf", "pc", vmm, wanted, len(tests), folder=folder / "run", **options
    )
    session.run()
    return session


def verdicts(session):
    return {name: outcome.verdict for name, outcome in session.outcomes.items()}


@pytest.mark.parametrize(
    "test, verdict",
    [
        ("passes", "PASS"),
        ("fails", "FAIL"),
        ("skips", "SKIP"),
        ("errs", "ERROR"),
        ("leaks", "LEAK"),
        ("deviates", "DEVIATES"),
        ("crashes_the_vmm", "CRASH"),
        ("hangs", "WEDGED"),
        ("resets", "CRASH"),
        ("chatters", "FAIL"),
    ],
)
def test_verdict_stays_with_its_test(tmp_path, test, verdict):
    tests = ["passes_before", test, "passes_after"]
    session = run_fake(tmp_path, tests, silence=3.0)
    assert verdicts(session) == {"passes_before": "PASS", test: verdict, "passes_after": "PASS"}


def judged(session, name, clauses, ambiguous):
    """The outcome of one TEST as its item makes it of the kernel's verdict and the tables."""
    item = SimpleNamespace(
        config=SimpleNamespace(assay=SimpleNamespace(ambiguous=ambiguous)),
        expected_failure=lambda test: None,
        kernel="fake",
        lacking=None,
        machine="pc",
        missing=None,
        session_of_vm=session,
        test=SimpleNamespace(name=name, clauses=clauses),
        user_properties=[],
        vmm=session.vmm,
    )
    item._judge = lambda outcome: KernelItem._judge(item, outcome)
    try:
        KernelItem.runtest(item)
    except (pytest.xfail.Exception, Failed) as raised:
        return item.verdict, raised
    return item.verdict, None


def test_a_clause_that_contradicts_itself_is_ambiguous(tmp_path):
    table = tmp_path / "ambiguous.tsv"
    table.write_text("# id, one, the other\nA-7\tit is set (1.2)\tit is clear (3.4)\n")
    ambiguous = tables.ambiguous(table)
    assert ambiguous == {"A-7": ["it is set (1.2)", "it is clear (3.4)"]}
    session = run_fake(tmp_path, ["passes", "fails", "deviates", "errs"])
    for name in ("fails", "deviates"):
        verdict, raised = judged(session, name, ("A-1", "A-7"), ambiguous)
        assert verdict == "AMBIGUOUS"
        assert isinstance(raised, pytest.xfail.Exception)  # counted, no failure of the run
        assert "A-7" in str(raised) and "it is set (1.2)" in str(raised)
        assert "it is clear (3.4)" in str(raised)
    # Another clause, a TEST that broke, and one that passed are what they were.
    verdict, raised = judged(session, "fails", ("A-1",), ambiguous)
    assert verdict == "FAIL" and isinstance(raised, Failed)
    assert judged(session, "errs", ("A-7",), ambiguous)[0] == "ERROR"
    assert judged(session, "passes", ("A-7",), ambiguous) == ("PASS", None)


def test_a_failed_vm_is_discarded_and_a_good_one_is_not(tmp_path):
    assert run_fake(tmp_path, ["passes_1", "fails", "passes_2", "skips"]).boots == 2
    assert run_fake(tmp_path, ["passes_1", "passes_2", "skips"]).boots == 1


def test_only_the_wanted_tests_run(tmp_path):
    session = run_fake(tmp_path, ["crashes_the_vmm", "passes_1", "passes_2"], wanted=["passes_2"])
    assert verdicts(session) == {"passes_2": "PASS"}


def test_a_seed_shuffles_and_every_test_still_runs(tmp_path):
    tests = [f"passes_{number}" for number in range(9)] + ["fails"]
    session = run_fake(tmp_path, tests, seed=5)
    assert set(session.outcomes) == set(tests)
    assert list(session.outcomes) != tests


def test_a_test_the_kernel_leaves_out_is_an_error(tmp_path):
    session = run_fake(tmp_path, ["passes"], wanted=["passes", "absent"])
    assert verdicts(session) == {"passes": "PASS", "absent": "ERROR"}


def test_what_was_said_is_kept(tmp_path):
    session = run_fake(tmp_path, ["passes", "fails", "crashes_the_vmm"])
    assert session.outcomes["passes"].clauses == ["A-1"]
    assert session.outcomes["passes"].metrics == {"exits_per_op": "1.03"}
    assert "# expected 1, got 2 at k.c:7" in session.outcomes["fails"].text
    assert "run=fails" in session.outcomes["fails"].command
    crash = session.outcomes["crashes_the_vmm"]
    assert "SIGSEGV" in crash.reason
    assert "    fake: something bad" in crash.text


def test_the_control_port_answers(tmp_path):
    session = run_fake(tmp_path, ["asks_control"], control=True)
    text = session.outcomes["asks_control"].text
    assert "# OK 1 assay-harness 1" in text
    assert "# NO 2 no verb fly" in text


def test_a_vmm_that_is_not_there_is_an_error_and_not_a_hang(tmp_path):
    session = Session(
        "fake", "k.elf", "pc", Vmm("/nonexistent/vmm", "none"), ["a"], 1, folder=tmp_path / "run"
    )
    session.run()
    assert session.outcomes["a"].verdict == "ERROR"


def test_the_elf_lists_its_tests(tmp_path):
    fakes.make_kernel(
        tmp_path / "k.elf",
        [
            ("one", "A-1,A-2", "one is one", "pci ctl", 1),
            ("two", "", "two is two", "", 0),
        ],
    )
    one, two = elf.list_tests(tmp_path / "k.elf")
    assert one.name == "one" and one.clauses == ("A-1", "A-2") and one.life
    assert one.needs == ("pci", "ctl") and one.sentence == "one is one"
    assert two.name == "two" and two.clauses == () and not two.life


@pytest.mark.parametrize("cut", [0, 3, 63, 100, 0x1000, 0x1020])
def test_a_broken_elf_is_said_to_be_broken(tmp_path, cut):
    fakes.make_kernel(tmp_path / "k.elf", [("one", "A", "s", "", 0)])
    whole = (tmp_path / "k.elf").read_bytes()
    (tmp_path / "k.elf").write_bytes(whole[:cut])
    with pytest.raises(elf.ElfError):
        elf.list_tests(tmp_path / "k.elf")


def test_ktap_survives_garbage_and_any_splitting():
    stream = b"\xff\0junk\r\n\x1b[2JKTAP version 1\r\n1..2\n# begin a\n# x\xfe\nok 1 a\n"
    stream += b"ok 2 b # SKIP no disk\n" + b"z" * 9000 + b"\nnot ok 3 c"
    for step in (1, 7, len(stream)):
        reader, events = ktap.Reader(), []
        for at in range(0, len(stream), step):
            events += reader.feed(stream[at : at + step])
        events += reader.end()
        results = [what for kind, what in events if kind == "result"]
        assert [(r.name, r.verdict) for r in results] == [("a", "PASS"), ("b", "SKIP"), ("c", "FAIL")]
        assert results[1].reason == "no disk"


def test_versions_of_expected_failures():
    assert tables.version_in((7, 2, 9), "-")
    assert tables.version_in((7, 2, 9), "7.2")
    assert tables.version_in((7, 2, 9), "7.0-8.1")
    assert tables.version_in((9, 0, 0), "9-")
    assert not tables.version_in((8, 2, 0), "7.0-8.1")
    assert not tables.version_in((6, 2), "7-")


def test_the_tables_of_the_tree_can_be_read():
    tables.faults()
    tables.ambiguous()
    assert len(tables.clauses()) > 100
    for path in (tables.HERE / "expected").glob("*.tsv"):
        tables.expected_failures(path.stem)


def test_a_kernel_of_five_instructions_runs_on_qemu(qemu, tmp_path):
    """What the harness takes for the wire is what a real VMM makes of it."""
    image = tmp_path / "hello.elf"
    text = b"KTAP version 1\n1..1\n# begin a\nok 1 a\n"
    image.write_bytes(probe.pvh_elf(probe.prints(text) + probe.exits(0)))
    results, status, stderr, _, _ = run_once(image, "microvm", qemu)
    assert status == 1
    assert results["a"].verdict == "PASS"
    assert [line for line in stderr.splitlines() if not qemu.is_chatter(line)] == []


def test_a_guest_that_spins_is_wedged_and_its_registers_are_shown(qemu, tmp_path):
    image = tmp_path / "spin.elf"
    image.write_bytes(probe.pvh_elf(probe.prints(b"KTAP version 1\n1..1\n# begin a\n") + probe.SPIN))
    session = Session(
        "spin", image, "microvm", qemu, ["a"], 1, folder=tmp_path / "run", silence=1.0
    )
    session.run()  # it returns: that the VM is silent is noticed
    outcome = session.outcomes["a"]
    # An NMI without a handler is a triple fault: the VMM ends, or stays silent.
    assert outcome.verdict in ("WEDGED", "CRASH")


def test_time_without_a_processor_is_not_silence(monkeypatch):
    """Of each half second that passes here the VM waits for a processor `share`."""

    def seconds_until_silent(limit, share):
        now = [100.0]
        monkeypatch.setattr(sessions.time, "monotonic", lambda: now[0])
        monkeypatch.setattr(sessions, "waited_for_processor", lambda pid: now[0] * share)
        silence = sessions.Silence(1)
        while not silence.longer_than(limit):
            now[0] += sessions.TURN
        return now[0] - 100.0

    assert seconds_until_silent(30, 0) == 30
    assert 119 <= seconds_until_silent(30, 0.75) <= 120
    assert seconds_until_silent(30, 3) == 300  # for ever is too long


@pytest.mark.parametrize(
    "words, interface",
    [
        ("pc ide-hd", None),
        ("pc blk-pci:size=1M", ("pci", "split")),
        ("pc packed blk-pci", ("pci", "packed")),
        ("pc blk-pci:packed=on", ("pci", "packed")),
        ("pc legacy blk-pci", ("legacy", "split")),
        ("microvm blk-mmio", ("mmio", "split")),
        ("microvm legacy blk-mmio", ("mmio-legacy", "split")),
    ],
)
def test_the_interface_of_a_machine_is_known_from_its_words(words, interface):
    assert machines.virtio_interface(words) == interface


def test_legacy_and_packed_are_words_of_a_machine(tmp_path):
    build = machines.put_together("pc legacy packed blk-pci:size=1M", tmp_path)
    device = build.args[build.args.index("-device") + 1]
    assert "disable-legacy=off" in device and device.endswith("packed=on")
    assert build.append == ["interface=legacy"]
    build = machines.put_together("microvm legacy blk-mmio:size=1M", tmp_path)
    assert "virtio-mmio.force-legacy=true" in build.args


def test_what_a_silent_guest_was_doing_is_in_its_failure(bench, tmp_path):
    vmm = next((vmm for vmm in bench.vmms if not vmm.is_qemu and not vmm.missing), None)
    if not vmm:
        pytest.skip("Assay is not among the VMMs of this run")
    image = tmp_path / "spin.elf"
    image.write_bytes(probe.pvh_elf(probe.prints(b"KTAP version 1\n1..1\n# begin a\n") + probe.SPIN))
    session = Session("spin", image, "microvm", vmm, ["a"], 1, folder=tmp_path / "run", silence=1.0)
    session.run()
    text = "\n".join(session.outcomes["a"].text)
    assert "silent; the guest then:\n      vCPU 0: 32-bit protected mode" in text
    assert "eb fe" in text.split("=>")[1].splitlines()[0]
