"""`espsim window`: what it says of a window is what that window does."""

from __future__ import annotations

import json
import struct

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.analysis.window import WINDOWS, Configured, EspStream, EspStreams, device_windows, summary
from espsim.cli.main import main
from espsim.core.verdict import Verdict
from espsim.io.capture import CaptureWriter
from espsim.sad.window import Window
from espsim.wire import ipv4
from tests.examples import examples

DST = bytes((192, 0, 2, 1))


def stream_of(seqs):
    stream = EspStream(0x100, DST)
    for seq in seqs:
        stream.add(seq & 0xFFFFFFFF)
    stream.finish()
    return stream


def refused(seqs, size):
    """(too old, duplicates) of a real window that sees these numbers, all of them authentic."""
    window, old, twice = Window(size, top=seqs[0] - 1), 0, 0
    for seq in seqs:
        verdict = window.check(seq, seq)
        old += verdict is Verdict.REPLAY_TOO_OLD
        twice += verdict is Verdict.REPLAY_DUPLICATE
        if verdict is Verdict.DELIVERED:
            window.advance(seq)
    return old, twice


@st.composite
def reordered(draw):
    """Numbers from 1000 on, some missing, each displaced by up to 300: no beginning anew among them."""
    numbers = [1000, *sorted(draw(st.sets(st.integers(1001, 1600), max_size=60)))]
    return [numbers[0], *sorted(numbers[1:], key=lambda n: n + draw(st.integers(0, 300)))]


@settings(max_examples=examples(40), deadline=None)
@given(reordered(), st.sampled_from([1, 7, 32, 64, 256]))
def test_it_counts_what_a_window_refuses(seqs, size):
    stream = stream_of(seqs)
    assert stream.lost(size) == refused(seqs, size)[0]
    assert stream.lost(stream.smallest) == 0
    assert stream.smallest == 1 or stream.lost(stream.smallest - 1) > 0
    assert stream.gaps == max(seqs) - min(seqs) + 1 - len(set(seqs))
    assert stream.duplicates == 0


@settings(max_examples=examples(40), deadline=None)
@given(reordered(), st.data())
def test_duplicates_are_apart(seqs, data):
    twice = data.draw(st.lists(st.sampled_from(seqs), max_size=5))
    stream = stream_of([*seqs, *twice])
    assert stream.duplicates == len(twice)
    assert stream.late == stream_of(seqs).late
    assert refused([*seqs, *twice], 4096)[1] == len(twice)


def test_across_2_32():
    seqs = [2**32 - 3, 2**32 - 2, 2**32, 2**32 - 1, 2**32 + 1]
    stream = stream_of(seqs)
    assert (stream.gaps, stream.restarts, dict(stream.late)) == (0, 0, {1: 1})


def test_a_sender_that_begins_anew_is_told_apart():
    stream = stream_of([7000, 7001, 7002, 1, 2, 3, 5, 4])
    assert (stream.restarts, dict(stream.late), stream.gaps, stream.duplicates) == (1, {1: 1}, 0, 0)
    late = stream_of([7000, 7001, 3, 7002, 7003])  # one low number alone is a late one
    assert (late.restarts, dict(late.late)) == (0, {6998: 1})
    assert stream_of([1, 2, 3, 1, 2, 3]).restarts == 0  # duplicates within a window


def test_distances():
    stream = stream_of([100, 99, 97, 120, 101, 110])
    assert dict(stream.late) == {1: 1, 3: 1, 19: 1, 10: 1}
    assert [stream.distance(share) for share in (0.5, 0.99)] == [3, 19]


def test_the_counter_is_known_with_the_sad():
    streams = EspStreams()
    for seq in (1, 2, 200, 3):
        streams.add(0x100, DST, seq)
    streams.finish()
    for esn, counter in ((False, "XfrmInStateSeqError"), (True, "XfrmInStateProtoError")):
        (row,) = summary(streams, {(0x100, DST): Configured(32, esn)}, {"x": 128})["streams"]
        assert (row["linux_counter"], row["configured"]) == (counter, {"window": 32, "lost": 1})
        assert row["devices"] == {"x": {"window": 128, "lost": 1}}
    assert summary(streams, {}, {})["streams"][0]["linux_counter"] is None


def test_devices_have_the_windows_of_their_models():
    windows = device_windows()
    assert windows["nvidia-mlx5-linux-packet"] == 256
    assert "sw-linux-xfrm" not in windows


class TestTheCommand:
    @pytest.fixture
    def capture(self, tmp_path):
        path = tmp_path / "in.pcap"
        with CaptureWriter(str(path)) as writer:
            for n, (spi, seq) in enumerate([(0x100, s) for s in (1, 2, 100, 40, 101, 40)] + [(0x200, 7)]):
                payload = struct.pack(">II", spi, seq) + bytes(32)
                header = ipv4.emit(
                    tos=0, payload_length=len(payload), ident=0, flags=0, ttl=64, proto=50,
                    src=bytes((198, 51, 100, 1)), dst=DST,
                )  # fmt: skip
                writer.write(header + payload, n)
            writer.commit()
        return path

    def run(self, *args):
        return CliRunner().invoke(main, ["window", *map(str, args)], catch_exceptions=False)

    def test_json(self, capture):
        report = json.loads(self.run(capture, "--json").stdout)
        first = report["streams"][0]
        assert (report["packets"], report["smallest"], first["spi_hex"]) == (7, 61, "0x00000100")
        assert (first["gaps"], first["duplicates"], first["late"]) == (96, 1, 1)
        assert first["lost"] == {str(w): int(w <= 60) for w in WINDOWS}
        assert first["reorder"] == {"median": 60, "p99": 60, "largest": 60}

    def test_text_fits(self, capture):
        text = self.run(capture, "--width", "80").output
        assert "a window of 61 loses none of them" in text
        assert max(map(len, text.splitlines())) <= 80

    def test_a_plot_never_replaces_the_capture(self, capture):
        from espsim.core.errors import InputError

        pytest.importorskip("matplotlib")
        before = capture.read_bytes()
        assert self.run(capture, "--plot", capture.with_suffix(".svg")).exit_code == 0
        assert capture.with_suffix(".svg").read_bytes().startswith(b"<?xml")
        link = capture.with_name("link.svg")
        link.symlink_to(capture)
        with pytest.raises(InputError):
            self.run(capture, "--plot", link)
        assert capture.read_bytes() == before

    def test_nothing_in_it(self, tmp_path):
        path = tmp_path / "empty.pcap"
        with CaptureWriter(str(path)) as writer:
            writer.commit()
        assert self.run(path).output == "no ESP in it\n"
        assert json.loads(self.run(path, "--json").stdout)["smallest"] is None
