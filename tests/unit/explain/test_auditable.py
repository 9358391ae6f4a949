"""The auditable events of RFC 4303, as `--audit-log` writes them."""

from __future__ import annotations

import io
import json
from functools import partial

import pytest

from espsim.core.answers import Received
from espsim.core.verdict import Verdict
from espsim.explain.auditable import LIMIT, AuditEvent, AuditLog, Happened, happened, pick
from espsim.explain.outer_facts import OuterFacts
from espsim.io.pcap import file_header, frame_header
from espsim.reference.outer import encap_ports
from espsim.sad.entry import SadEntry
from tests.command import espsim_text
from tests.support import Peer, extension, fragment_header, gcm_sa, ipv4, ipv6, new_sad, udp

V4, V6 = gcm_sa(window=4), gcm_sa("2001:db8::1", "2001:db8::2", 0x6001)
KEY = "07" * 20
WORDS = "src {} dst {} proto esp spi {} mode tunnel replay-window 4 {}aead rfc4106(gcm(aes)) 0x" + KEY + " 128\n"
SAD = WORDS.format("192.0.2.1", "192.0.2.2", "0x1001", "") + WORDS.format("2001:db8::1", "2001:db8::2", "0x6001", "")
INNER = ipv4(udp(b"inner"))
T0 = 1_700_000_000 * 10**9


def capture(path, packets):
    rows = [frame_header(T0 + n * 10**6, len(packet), True) + packet for n, packet in enumerate(packets)]
    path.write_bytes(file_header(101, True) + b"".join(rows))
    return path


def log_of(tmp_path, packets, *options, sad=SAD, command="decap"):
    (tmp_path / "sad").write_text(sad)
    path = capture(tmp_path / "in.pcap", packets)
    words = (command, path, "--sad", tmp_path / "sad", "--json", "--audit-log", tmp_path / "log", *options)
    status, out, err = espsim_text(*words)
    assert status == 0, err
    text = (tmp_path / "log").read_text()
    assert KEY[:8] not in text
    return json.loads(out)["audit"], [json.loads(line) for line in text.splitlines()]


def forged(packet: bytes) -> bytes:
    return packet[:-1] + bytes((packet[-1] ^ 1,))


@pytest.mark.parametrize("way", [("--reference",), ("--batch",), ("--workers", 2)])
def test_each_event_has_the_fields_that_the_rfc_lists(tmp_path, way):
    v4, v6 = Peer(V4), Peer(V6)
    packets = [
        Peer(gcm_sa(spi=0xBEEF)).packet(5, INNER),
        v4.packet(9, INNER),
        v4.packet(9, INNER),
        v4.packet(1, INNER),
        forged(v4.packet(10, INNER)),
        v4.around(v4.esp(11, INNER + b"\1\1\4"), flags=0x2000),
        v4.around(v4.esp(12, INNER + b"\1\1\4"), flags=0x0001),
        forged(v6.around(v6.esp(3, INNER + b"\1\1\4"), flow=0xABCDE)),
    ]
    counts, lines = log_of(tmp_path, packets, "--no-reassemble", *way)
    assert counts == {"events": {"fragment": 2, "icv": 2, "no-sa": 1, "replay": 2}, "left_out": 0}
    said = [(line["event"], line["frame"], line["spi"], line["seq"], line["verdict"]) for line in lines]
    assert said == [
        ("no-sa", 1, 0xBEEF, 5, "NO_SA"),
        ("replay", 3, 0x1001, 9, "REPLAY_DUPLICATE"),
        ("replay", 4, 0x1001, 1, "REPLAY_TOO_OLD"),
        ("icv", 5, 0x1001, 10, "INTEGRITY"),
        ("fragment", 6, 0x1001, 11, "FRAGMENT"),
        ("fragment", 7, None, None, "FRAGMENT"),
        ("icv", 8, 0x6001, 3, "INTEGRITY"),
    ]
    assert lines[0] == {
        "event": "no-sa", "source": "RFC 4303 3.4.2", "date": "2023-11-14T22:13:20+00:00",
        "time": "1700000000.000000000", "frame": 1, "spi": 0xBEEF, "spi_hex": "0x0000beef", "src": "192.0.2.1",
        "dst": "192.0.2.2", "seq": 5, "verdict": "NO_SA", "sa": None,
    }  # fmt: skip
    assert lines[3]["sa"] == "0x00001001@192.0.2.2"
    assert (lines[-1]["src"], lines[-1]["flow"]) == ("2001:db8::1", 0xABCDE)


@pytest.mark.parametrize("way", [("--reference",), ("--batch",), ("--workers", 2)])
def test_overflow_on_the_way_out(tmp_path, way):
    last = WORDS.format("192.0.2.1", "192.0.2.2", "0x1001", "replay-oseq 0xfffffffe ")
    six = WORDS.format("2001:db8::1", "2001:db8::2", "0x6001", "sel src 2001:db8:1::/48 replay-oseq 0xffffffff ")
    inside = ipv6(udp(b"six"), flow=0x12345)
    counts, lines = log_of(
        tmp_path, [INNER, INNER, inside], "-o", tmp_path / "out.pcap", *way, sad=last + six, command="encap"
    )
    assert counts == {"events": {"overflow": 2}, "left_out": 0}
    assert [(line["frame"], line["src"], line["dst"], line["spi_hex"], line["seq"]) for line in lines] == [
        (2, "192.0.2.1", "192.0.2.2", "0x00001001", 0xFFFFFFFF),
        (3, "2001:db8::1", "2001:db8::2", "0x00006001", 0xFFFFFFFF),
    ]
    assert [line.get("flow") for line in lines] == [None, 0x12345]
    assert lines[0]["source"] == "RFC 4303 3.3.3"


@pytest.mark.parametrize("way", [("--reference",), ("--batch",), ("--workers", 2)])
def test_a_flood_of_overflows_in_the_last_second_is_counted(tmp_path, way):
    last = WORDS.format("192.0.2.1", "192.0.2.2", "0x1001", "replay-oseq 0xffffffff ")
    counts, lines = log_of(tmp_path, [INNER] * 20, "-o", tmp_path / "out.pcap", *way, sad=last, command="encap")
    assert counts == {"events": {"overflow": 20}, "left_out": 20 - LIMIT}
    assert [line["event"] for line in lines] == [*["overflow"] * LIMIT, "left-out"]
    assert lines[-1]["count"] == 20 - LIMIT


def test_a_flood_is_ten_lines_a_second_and_a_count(tmp_path):
    packets = [forged(Peer(V4).packet(n, INNER)) for n in range(1, 1501)]
    counts, lines = log_of(tmp_path, packets, "--batch")
    assert counts == {"events": {"icv": 1500}, "left_out": 1500 - 2 * LIMIT}
    assert [line["event"] for line in lines] == [*["icv"] * LIMIT, "left-out", *["icv"] * LIMIT, "left-out"]
    assert lines[LIMIT] == {
        "event": "left-out", "of": "icv", "count": 1000 - LIMIT, "from": "1700000000.010000000",
        "to": "1700000000.999000000",
    }  # fmt: skip
    assert log_of(tmp_path, packets, "--reference") == (counts, lines)


def test_an_empty_log_is_a_file(tmp_path):
    assert log_of(tmp_path, [Peer(V4).packet(1, INNER)]) == ({"events": {}, "left_out": 0}, [])


def test_what_this_host_sent_is_no_event():
    own: Received[SadEntry] = Received(Verdict.INTEGRITY, None, 1, 1, own=True)
    assert happened(own, lambda: INNER, 1, 0, frozenset()) == []


def test_picking_changes_nothing():
    """Cut anywhere, what is picked gives the lines that one after the other gives, also where the clock goes back."""
    times = [0, 1, 2, 10**9, 3, 4, 5, 10**9 + 1, *range(10**9, 10**9 + 30), 7, 8, -1, -(10**9)]
    events = [Happened("icv" if n % 3 else "replay", t, partial(dict, n=n)) for n, t in enumerate(times)]

    def written(size: int) -> tuple[str, dict[str, object]]:
        log = AuditLog(out := io.StringIO())
        for at in range(0, len(events), size):
            log.take(pick(events[at : at + size]))
        log.finish()
        return out.getvalue(), log.as_dict()

    want = written(1)
    assert want[1]["left_out"] == 11
    assert all(written(size) == want for size in (2, 3, 7, 11, 12, 40, 100))


def test_a_date_that_no_calendar_has_is_null():
    (event,) = happened(Received(Verdict.NO_SA, None, 1, 1), lambda: b"", 1, 1 << 90, frozenset())
    line = event.line()
    assert (line["date"], line["src"], line["dst"]) == (None, None, None)
    assert isinstance(pick([event])[0], AuditEvent)


@pytest.mark.parametrize(
    ("packet", "spi"),
    [
        (ipv6(fragment_header(50, 0, more=True) + bytes([0, 0, 0, 7]) + bytes(20), next_header=44), 7),
        (ipv6(fragment_header(50, 2, more=True) + bytes([0, 0, 0, 7]) + bytes(20), next_header=44), None),
        (ipv6(extension(44) + fragment_header(50, 1, more=False) + bytes(24), next_header=0), None),
        (ipv4(udp(bytes([0, 0, 0, 9]) + bytes(20), 4500, 4500), flags=0x2000), 9),
        (ipv4(bytes(4), proto=50, flags=0x2000), None),
        (b"\x45", None),
        (b"", None),
    ],
)
def test_the_spi_of_a_fragment_is_in_the_first(packet, spi):
    assert OuterFacts.of(packet, encap_ports(new_sad())).spi == spi


@pytest.mark.parametrize("way", [("--reference",), ("--batch",)])
def test_a_layer_inside_has_its_own_sas_addresses(tmp_path, way):
    inner = gcm_sa("198.51.100.1", "198.51.100.2", 0x2002, window=4)
    sad = SAD + WORDS.format("198.51.100.1", "198.51.100.2", "0x2002", "")
    nested = Peer(V4).packet(1, forged(Peer(inner).packet(7, INNER)))
    _, lines = log_of(tmp_path, [nested], *way, sad=sad)
    assert [(line["event"], line["spi"], line["seq"], line["src"], line["dst"]) for line in lines] == [
        ("icv", 0x2002, 7, "198.51.100.1", "198.51.100.2")
    ]
