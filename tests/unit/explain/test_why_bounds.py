"""The bounds: groups, packets that are tried, trials; and lines that wait for the end."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from espsim.aead.engines import engine_by_name
from espsim.batch.inbound import sift
from espsim.core.errors import InputError
from espsim.core.layers import Layer
from espsim.core.verdict import Verdict
from espsim.explain import trials as budget
from espsim.explain.causes import FRAGMENT, snap
from espsim.explain.facts import Explanation
from espsim.explain.known import Known
from espsim.explain.lines import VerdictLines
from espsim.explain.parts import Parts
from espsim.explain.trials import Trials
from espsim.explain.watch import GROUPS, FailureGroup, Sample, Watch
from espsim.io.fragments import Settled
from espsim.io.spool import LineSpool
from espsim.text.load import load
from espsim.text.parse import parse_sad
from tests.command import espsim_text
from tests.foreign import OTHER_KEY, Sealer, around, gcm_words, pcap, sa_line
from tests.support import new_sad, usable

PEER, OTHER = Sealer(), Sealer(OTHER_KEY)
WAYS = pytest.mark.parametrize("way", [("--reference",), (), ("--workers", "2")], ids=" ".join)


def why_of(folder: Path, sad: str, packets: list[bytes], *way: str) -> tuple[list[dict[str, Any]], list[Any]]:
    """(why, causes of the lines)."""
    (folder / "sad").write_text(sad)
    lines = folder / "lines"
    words = ("decap", pcap(folder / "in.pcap", packets), "--sad", folder / "sad", "--json", "--verdicts", lines)
    status, out, err = espsim_text(*words, *way)
    assert status == 0, err
    return json.loads(out)["why"], [json.loads(line)["cause"] for line in lines.read_text().splitlines()]


def spi_only(spi: int) -> bytes:
    return around(struct.pack("!II", spi, 1) + bytes(32))


def test_the_kernel_makes_as_many_groups_as_the_collector():
    assert sift.GROUPS == GROUPS


@WAYS
def test_more_groups_than_there_may_be(tmp_path, way):
    """1,024 SPIs have a group, the next 176 have none; one more of the first is counted. First packets go first."""
    packets = [spi_only(0x10000 + n) for n in range(1200)] + [spi_only(0x10000)]
    why, causes = why_of(tmp_path, sa_line(gcm_words()), packets, *way)
    assert [(one["cause"], one["packets"], one["tried"]) for one in why] == [
        ("unknown-spi", 1025, 1024),
        (None, 176, 0),
    ]
    assert why[0]["detail"].endswith("(and 1023 more like it)")
    assert causes == ["unknown-spi"] * 1024 + [None] * 176 + ["unknown-spi"]


@WAYS
def test_no_more_of_a_group_than_32_are_looked_at(tmp_path, way):
    packets = [OTHER.packet(n) for n in range(1, 101)]
    why, causes = why_of(tmp_path, sa_line(gcm_words()), packets, *way)
    assert [(one["cause"], one["packets"], one["tried"]) for one in why] == [("key", 100, 32)]
    assert causes == ["key"] * 100


@WAYS
def test_a_group_of_two_causes_leaves_a_rest_without_one(tmp_path, way):
    """20 of another key's, 20 with a short ICV: of the 32 that are looked at each cause has its own."""
    packets = [OTHER.packet(n) for n in range(1, 21)] + [Sealer(icv=8).packet(n) for n in range(21, 41)]
    why, causes = why_of(tmp_path, sa_line(gcm_words()), packets, *way)
    found = [(one["cause"], one["packets"], one["tried"]) for one in why]
    assert found == [("key", 20, 20), ("icv-length", 12, 12), (None, 8, 0)]
    assert causes == ["key"] * 20 + ["icv-length"] * 12 + [None] * 8
    assert "32 packets" in why[-1]["detail"]


@WAYS
def test_a_budget_that_is_used_up(tmp_path, way, monkeypatch):
    """The first packet of each group may use the second half; a group that may look no more has the cause it has."""
    monkeypatch.setattr(budget, "BUDGET", 500)
    sad = sa_line(gcm_words()) + sa_line(gcm_words(), spi=2)
    packets = [OTHER.packet(n) for n in range(1, 41)] + [Sealer(OTHER_KEY, spi=2).packet(n) for n in range(1, 41)]
    why, _ = why_of(tmp_path, sad, packets, *way)
    tried = {one["sa"]: one["tried"] for one in why}
    assert {one["packets"] for one in why} == {40}
    assert 1 <= tried["0x00000002@192.0.2.2"] < tried["0x00001001@192.0.2.2"] < 32


def test_no_budget_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "BUDGET", -1)
    why, causes = why_of(tmp_path, sa_line(gcm_words()), [OTHER.packet(1)])
    assert [(one["cause"], one["packets"], one["tried"]) for one in why] == [(None, 1, 0)]
    assert causes == [None]


class Spied:
    """An engine that remembers the memory in which its openers worked."""

    def __init__(self, name: str) -> None:
        self.engine, self.arenas = usable(name), list[Any]()

    def opener(self, slots: Any) -> Any:
        self.real = self.engine.opener(slots)
        return self

    def open(self, arena: Any, *columns: Any) -> None:
        self.arenas.append(arena)
        self.real.open(arena, *columns)


@pytest.mark.parametrize("engine", ["cryptography", "libcrypto", "ipsec-mb"])
def test_what_opens_in_a_trial_does_not_stay(engine):
    """The memory in which a packet opened under another number is zeros afterwards."""
    sad, spied = new_sad(), Spied(engine)
    load(sad, parse_sad(sa_line(gcm_words(), more="replay-window 32 flag esn")).sas)
    (entry,) = sad
    assert Trials(spied).high_half(entry, Sealer(hi=5).esp(1), np.arange(9, dtype=np.uint64)) == 5  # type: ignore[arg-type]
    (arena,) = spied.arenas
    assert len(arena) > 50
    assert not arena.any()


class TestLines:
    def lines(self, tmp_path):
        out = io.StringIO()
        return out, VerdictLines(out, str(tmp_path / "lines"))

    def line(self, frame: int) -> dict[str, Any]:
        return {"frame": frame, "verdict": "INTEGRITY", "cause": None}

    def test_nothing_waits_where_all_is_known(self, tmp_path):
        out, lines = self.lines(tmp_path)
        lines.write(self.line(1), None)
        lines.write(self.line(2), Sample(Explanation("late", ""), None))
        assert [json.loads(text)["cause"] for text in out.getvalue().splitlines()] == [None, "late"]
        assert list(tmp_path.iterdir()) == []
        lines.finish()

    def test_order_is_kept_from_the_first_that_waits(self, tmp_path):
        out, lines = self.lines(tmp_path)
        sample, group = Sample(Explanation("key", ""), None), FailureGroup(Verdict.INTEGRITY, None)
        for frame, token in enumerate((None, sample, None, group, sample), 1):
            lines.write(self.line(frame), token)
        assert out.getvalue().count("\n") == 1
        sample.answer = Explanation("damaged", "")
        group.samples.append(sample)
        lines.finish()
        told = [json.loads(text) for text in out.getvalue().splitlines()]
        assert [(line["frame"], line["cause"]) for line in told] == [
            (1, None), (2, "damaged"), (3, None), (4, "damaged"), (5, "damaged")
        ]  # fmt: skip

    def test_parts_of_datagrams(self, tmp_path):
        """Completed, never completed, cut by the capture, and of something that is not ESP; settled out of order."""
        out, lines = self.lines(tmp_path)
        watch = Watch(Known(new_sad()), engine_by_name("cryptography"), frozenset())
        parts = Parts(watch, lines)
        parts.settle([Settled((1, 2), 7, None)])  # before its rows have come, as with several workers
        for frame in range(1, 7):
            parts.part(
                frame, 60, 90 if frame == 4 else 60, {"frame": frame, "verdict": "ignored", "kind": "", "cause": None}
            )
        parts.settle([Settled((6,), 9, Layer.UDP), Settled((3,), None, None), Settled((4, 5), None, None)])
        lines.finish()
        told = [json.loads(text) for text in out.getvalue().splitlines()]
        assert [(line["verdict"], line.get("datagram", "-"), line.get("kind"), line["cause"]) for line in told] == [
            ("FRAGMENT", 7, None, None), ("FRAGMENT", 7, None, None), ("FRAGMENT", None, None, "fragment"),
            ("FRAGMENT", None, None, "snap"), ("FRAGMENT", None, None, "snap"), ("ignored", "-", "udp", None),
        ]  # fmt: skip
        assert [(g.whole, g.packets) for g in watch.groups] == [(FRAGMENT, 1), (snap(60, 90), 1)]

    def test_a_spool_that_fails_names_the_output(self, tmp_path):
        spool = LineSpool(str(tmp_path / "lines"))
        spool.write("a line")
        spool.close()
        spool.close()
        path = str(tmp_path / "nowhere" / "lines")
        with (
            LineSpool(path) as other,
            pytest.raises(InputError, match="lines that wait for the end cannot be") as caught,
        ):
            other.renumber(-1, 1, 1)
        assert caught.value.where == path
