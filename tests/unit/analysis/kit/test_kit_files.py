"""A kit as files: equal every time, whole or not at all, and no case that an idle program passes."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from espsim.analysis.kit import answers, export
from espsim.analysis.kit.groups import GROUPS
from espsim.analysis.kit.judge import read_lines
from espsim.analysis.kit.known import known_vectors
from espsim.analysis.kit.manifest import paths_of, read_manifest, schema
from espsim.core.errors import InputError
from tests.command import espsim, espsim_text
from tests.kits import failures, kit
from tests.support import read_raw_capture


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_exports_are_equal(tmp_path):
    folder, manifest = kit()
    status, out, err = espsim_text("kit", "export", tmp_path / "kit", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == manifest.model_dump()
    assert files_of(tmp_path / "kit") == files_of(folder)


def test_every_file_is_named_with_its_digest():
    folder, manifest = kit()
    files = files_of(folder)
    assert {**manifest.files, "manifest.json": ""}.keys() == files.keys()
    assert all(hashlib.sha256(files[name]).hexdigest() == digest for name, digest in manifest.files.items())
    named = {name for case in manifest.cases for name in paths_of(case)}
    assert named | {"README.md", "manifest.schema.json"} == manifest.files.keys()
    assert json.loads(files["manifest.schema.json"]) == schema()


def test_the_numbers_of_the_manifest_are_those_of_the_files():
    folder, manifest = kit()
    for case in manifest.cases:
        lines = [json.loads(line) for line in (folder / case.verdicts).read_text().splitlines()]
        delivered = [line for line in lines if line["verdict"] in answers.WRITTEN]
        assert case.delivered == len(delivered) == len(read_raw_capture(folder / case.out)), case.id
        assert case.frames >= len(lines) >= len(delivered)
        for device in case.devices:
            if device.unknown is None:
                assert device.verdicts is not None
                rows = [json.loads(line) for line in (folder / device.verdicts).read_text().splitlines()]
                assert len(rows) == len(lines)
                assert all(row["device"] for row in rows)


def idle(_capture: Path, _sad: Path, out: Path, _verdicts: Path) -> None:
    out.write_bytes(b"")


def test_no_case_is_passed_by_who_delivers_nothing_or_too_little(tmp_path):
    """Otherwise a program that does nothing would pass the cases about refusals."""
    _, manifest = kit()
    assert all(case.delivered for case in manifest.cases)
    empty = failures(idle, manifest.cases, tmp_path)
    assert len(empty) == len(manifest.cases)
    nothing = failures(lambda *_: None, manifest.cases, tmp_path / "none")
    assert set(nothing.values()) == {"the program wrote no {out}"}


def test_no_case_hangs_on_a_duplicate_that_linux_lets_pass():
    """A window whose size does not divide 2^32 is a ring in Linux, and lets one duplicate pass."""
    folder, manifest = kit()
    sizes = set()
    for case in manifest.cases:
        if case.group in ("windows", "esn"):
            text = (folder / case.sad).read_text()
            sizes.add(case.id)
            strict = answers.software(str(folder / case.capture), text, strict_windows=True)
            assert strict.lines == read_lines(str(folder / case.verdicts)), case.id
    assert "windows/window-33" in sizes


def test_every_kind_of_refusal_is_asked_for():
    folder, manifest = kit()
    verdicts: Counter[str] = Counter()
    for case in manifest.cases:
        verdicts.update(json.loads(line)["verdict"] for line in (folder / case.verdicts).read_text().splitlines())
    wanted = {
        "HEADER",
        "NO_SA",
        "ENCAP_MISMATCH",
        "REPLAY_DUPLICATE",
        "REPLAY_TOO_OLD",
        "REPLAY_ZERO",
        "EXPIRED",
        "TRUNCATED",
        "INTEGRITY",
        "TRAILER",
        "MODE",
        "POLICY",
    }
    assert wanted <= verdicts.keys()


def test_the_groups_are_those_of_the_issue_and_named():
    assert len({group.ident for group in GROUPS}) == len(GROUPS)
    names = {case.name for group in GROUPS for case in group.cases()}
    assert {
        "UDP encapsulation ports verification test",
        "Tunnel header copy DF (inner 1)",
        "Duplicate SPI",
        "Antireplay with window size 2048",
        "SA hard expiry with byte limit",
        "Delete of a twin",
    } <= names


def test_a_known_answer_that_the_reference_path_misses_stops_the_export():
    case = next(known_vectors())
    wrong = answers.Answers([{"frame": 1, "verdict": "DELIVERED"}], [(0, b"something else")])
    with pytest.raises(ValueError, match="is not what RFC 3602"):
        answers.check_known(case, wrong)


def test_it_never_overwrites(tmp_path):
    there = tmp_path / "there"
    there.mkdir()
    (there / "mine").write_text("x")
    for path in (there, there / "mine"):
        status, out, err = espsim_text("kit", "export", path)
        assert (status, out) == (2, "")
        assert err.count("\n") == 1
        assert "name a new one" in err
    assert files_of(there) == {"mine": b"x"}
    assert espsim("kit", "export", tmp_path / "no" / "such").returncode == 2


def test_an_empty_folder_and_a_failure_on_the_way(tmp_path, monkeypatch):
    """What fails half way leaves the folder as it was."""
    there = tmp_path / "there"
    there.mkdir()
    few = tuple(group for group in GROUPS if group.ident in ("df", "ttl"))
    monkeypatch.setattr(export, "GROUPS", few)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export._Writer, "_file", full)
        with pytest.raises(InputError, match="No space left"):
            export.export(str(there))
    assert os.listdir(there) == []
    assert sorted(os.listdir(tmp_path)) == ["there"]
    export.export(str(there))
    assert {"df", "ttl", "manifest.json", "README.md", "manifest.schema.json"} == set(os.listdir(there))
    read_manifest(str(there))


# -- a kit that is not one --------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "GROUPS", tuple(group for group in GROUPS if group.ident == "df"))
    folder = tmp_path / "kit"
    export.export(str(folder))
    return folder


def change(folder: Path, **values: object) -> None:
    raw = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**raw, **values}))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda kit: (kit / "df/outer-0-inner-0/out.pcap").write_bytes(b""), "was changed since"),
        (lambda kit: (kit / "df/outer-0-inner-0/in.pcap").unlink(), "cannot be read"),
        (lambda kit: change(kit, kit=2), "is a manifest of version 2; this espsim reads 1"),
        (lambda kit: change(kit, kit="1"), "is a manifest of version '1'"),
        (lambda kit: change(kit, cases=[{"id": 1}]), "cases.0"),
        (lambda kit: change(kit, files={"../x": "0"}), "is not among its files"),
        (lambda kit: change(kit, files={"../x": "0"}, cases=[]), "lies outside the kit"),
        (lambda kit: change(kit, more=1), "more: "),
        (lambda kit: (kit / "manifest.json").write_text("{"), "is not JSON"),
        (lambda kit: (kit / "manifest.json").write_text("[" * 100_000), "is not JSON"),
        (lambda kit: (kit / "manifest.json").unlink(), "it has no manifest.json"),
    ],
)
def test_a_damaged_kit_is_one_line(small, harm, said):
    harm(small)
    status, out, err = espsim_text("kit", "run", small, "--command", "true {in} {sad} {out}")
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("verdicts.jsonl", b"[]\n", "verdicts.jsonl:1: "),
        ("verdicts.jsonl", b'{"frame": 1, "verdict": "DELIVERED", "spi": "x"}\n', "verdicts.jsonl:1: spi: "),
        ("verdicts.jsonl", b'{"frame": 1, "verdict": "DELIVERED"}\n', "has 2 packets, and its verdicts say 1"),
        ("verdicts.jsonl", b"\xff\n", "verdicts.jsonl:1: "),
        ("out.pcap", b"nothing", "out.pcap: "),
    ],
)
def test_a_kit_of_others_that_contradicts_itself_is_one_line(small, name, data, said):
    """Its digests are right: whoever wrote it made the mistake."""
    path = f"df/outer-0-inner-0/{name}"
    (small / path).write_bytes(data)
    files = json.loads((small / "manifest.json").read_text())["files"]
    change(small, files={**files, path: hashlib.sha256(data).hexdigest()})
    program = "sh -c 'cp {in} {out}; : {sad}'"
    status, out, err = espsim_text("kit", "run", small, "--command", program, "--only", "df/outer-0-inner-0")
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_no_such_folder(tmp_path):
    status, _out, err = espsim_text("kit", "run", tmp_path / "none", "--command", "true {in} {sad} {out}")
    assert status == 2
    assert "there is no such folder" in err
