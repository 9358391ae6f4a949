"""Our own programs pass the whole kit. A reference path that is broken in one place fails it at that place."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.analysis.kit.manifest import CaseEntry
from espsim.core.verdict import Verdict
from espsim.reference import inbound, inner
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.window import Window
from espsim.wire import esp, ipv4
from tests.command import espsim, espsim_text
from tests.kits import failures, kit


def decap(*options: str) -> Callable[[Path, Path, Path, Path], None]:
    def program(capture: Path, sad: Path, out: Path, verdicts: Path) -> None:
        ended = espsim("decap", capture, "--sad", sad, "-o", out, "--verdicts", verdicts, *options)
        assert ended.returncode == 0, ended.stderr

    return program


def test_the_reference_path_passes_every_case(tmp_path):
    assert failures(decap("--reference"), kit()[1].cases, tmp_path) == {}


def test_the_batch_path_passes_some_of_every_group(tmp_path):
    """All of them under `long`, as a command."""
    cases = kit()[1].cases
    first = {case.group: case for case in reversed(cases)}
    last = {case.group: case for case in cases}
    assert failures(decap(), [*first.values(), *last.values()], tmp_path) == {}


def command(*options: str) -> str:
    ours = Path(sys.executable).with_name("espsim")
    return " ".join([str(ours), "decap {in} --sad {sad} -o {out}", *options])


@pytest.mark.long
def test_the_command_as_the_readme_has_it():
    folder, _ = kit()
    status, out, err = espsim_text("kit", "run", folder, "--command", command(), "--only", "ttl", "--json")
    assert (status, err) == (0, "")
    assert [case["result"] for case in json.loads(out)["cases"]] == ["pass", "pass"]


@pytest.mark.long
@pytest.mark.parametrize("options", [("--verdicts {verdicts}",), ("--reference", "--verdicts {verdicts}")])
def test_the_command_passes_every_case(options):
    folder, manifest = kit()
    words = ("kit", "run", folder, "--command", command(*options), "--jobs", os.cpu_count() or 1, "--json")
    status, out, err = espsim_text(*words)
    result = json.loads(out)
    assert (status, err, result["passed"]) == (0, "", len(manifest.cases)), result


# -- broken on purpose ------------------------------------------------------------------------------------------------


def no_window(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Window, "check", lambda *_: Verdict.DELIVERED)


def window_one_too_wide(patch: pytest.MonkeyPatch) -> None:
    right = Window.check

    def check(self: Window, seq64: int, seq: int) -> Verdict:
        wider = self.size and self.top - seq64 == self.size and not self.esn
        return Verdict.DELIVERED if wider else right(self, seq64, seq)

    patch.setattr(Window, "check", check)


def window_moved_by_forged_packets(patch: pytest.MonkeyPatch) -> None:
    right = Window.check

    def check(self: Window, seq64: int, seq: int) -> Verdict:
        verdict = right(self, seq64, seq)
        if verdict is Verdict.DELIVERED:
            self.advance(seq64)
        return verdict

    patch.setattr(Window, "check", check)


def high_half_never_inferred(patch: pytest.MonkeyPatch) -> None:
    def infer(self: Window, seq: int) -> int:
        return seq if not self.esn else (self.resume or self.top) >> 32 << 32 | seq

    patch.setattr(Window, "infer", infer)


def icv_compared_but_for_its_last_byte(patch: pytest.MonkeyPatch) -> None:
    right = CryptographyEngine.transform

    class Careless:
        def __init__(self, transform: Any) -> None:
            self._transform = transform

        def open(self, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> bytes | None:
            for last in (body[-1], *range(256)) if body else ():
                plaintext: bytes | None = self._transform.open(header, seq_hi, iv, body[:-1] + bytes((last,)))
                if plaintext is not None:
                    return plaintext
            return None

    patch.setattr(CryptographyEngine, "transform", lambda self, keys: Careless(right(self, keys)))


def padding_left_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(esp, "parse_trailer", lambda plaintext: (len(plaintext) - 2, plaintext[-1]))


def dummies_delivered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbound, "PROTO_NONE", -1)


def mode_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    right = inner.from_tunnel
    patch.setattr(
        inner,
        "from_tunnel",
        lambda sa, outer, payload, *rest, **how: right(sa, outer, payload, *rest, **how) or payload,
    )


def lookup_by_spi_alone(patch: pytest.MonkeyPatch) -> None:
    def newest(self: Sad, _dst: bytes, spi: int, proto: int, *_: object) -> SadEntry | None:
        return next((entry for entry in self if (entry.sa.spi, entry.sa.proto) == (spi, proto)), None)

    patch.setattr(Sad, "input", newest)


def encapsulation_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    right = inbound.Inbound.ready

    def ready(self: inbound.Inbound, entry: Any, outer: Any) -> Verdict:
        verdict = right(self, entry, outer)
        return Verdict.DELIVERED if verdict is Verdict.ENCAP_MISMATCH else verdict

    patch.setattr(inbound.Inbound, "ready", ready)


def congestion_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inner, "_ECN_CE", -1)


def lifetimes_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Sad, "check_expire", lambda *_: False)


def selectors_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(inbound, "selector_refuses", lambda *_: False)


def inner_checksum_not_updated(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ipv4, "set_tos", lambda packet, tos: packet[:1] + bytes((tos,)) + packet[2:])


BROKEN: dict[Callable[[pytest.MonkeyPatch], None], tuple[str, str]] = {
    no_window: ("windows/window-64", "a second time"),
    window_one_too_wide: ("windows/window-1024", "REPLAY_TOO_OLD"),
    window_moved_by_forged_packets: ("icv/gcm", "should be delivered"),
    high_half_never_inferred: ("esn/esn-wrap-64", "should be delivered"),
    icv_compared_but_for_its_last_byte: ("algorithms/rfc4106-gcm-aes-128-128", "INTEGRITY"),
    padding_left_on: ("modes/transport-ipv4", "total length"),
    dummies_delivered: ("malformed/dummies", "TRAILER"),
    mode_not_looked_at: ("malformed/mode", "MODE"),
    lookup_by_spi_alone: ("tunnel-header/two-destinations", "should be delivered"),
    encapsulation_not_looked_at: ("udp/udp-mismatch", "ENCAP_MISMATCH"),
    congestion_forgotten: ("dscp/ecn-ipv4-plain", "TOS: DSCP and ECN"),
    lifetimes_forgotten: ("lifetimes/packet-hard", "EXPIRED"),
    selectors_forgotten: ("malformed/selector", "POLICY"),
    inner_checksum_not_updated: ("dscp/dscp-ipv4-decap-dscp", "header checksum"),
}
"""What is broken: a case that must fail for it, and a word of the first difference."""


def caught(
    broken: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch, work: Path, cases: list[CaseEntry]
) -> dict[str, str]:
    """The cases that such a broken reference path fails, judged without its own verdicts."""

    def program(capture: Path, sad: Path, out: Path, _verdicts: Path) -> None:
        ended = espsim("decap", capture, "--sad", sad, "-o", out, "--reference")
        assert ended.returncode == 0, ended.stderr

    with monkeypatch.context() as patch:
        broken(patch)
        return failures(program, cases, work)


@pytest.mark.parametrize("broken", [window_one_too_wide, lookup_by_spi_alone], ids=lambda broken: broken.__name__)
def test_a_breakage_is_caught(broken, monkeypatch, tmp_path):
    case, said = BROKEN[broken]
    group = case.split("/")[0]
    found = caught(broken, monkeypatch, tmp_path, [each for each in kit()[1].cases if each.group in (group, "df")])
    assert said in found[case]
    assert not any(ident.startswith("df/") for ident in found)


@pytest.mark.long
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_each_breakage_is_caught_and_most_cases_do_not_ask_for_it(broken, monkeypatch, tmp_path):
    case, said = BROKEN[broken]
    cases = kit()[1].cases
    found = caught(broken, monkeypatch, tmp_path, cases)
    assert said in found[case]
    assert len(found) < len(cases) / 2
