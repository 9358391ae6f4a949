"""Captures that open themselves: encap --secrets, then decap without --sad; and blocks that others wrote."""

from __future__ import annotations

import json
import os
import stat
import struct

import pytest

from espsim.core.address import format_address
from espsim.sad.association import Encap, Mode, SecurityAssociation
from espsim.text.esp_sa_write import secret_rows
from tests.command import espsim, espsim_text
from tests.support import Peer, gcm_sa, ipv4, ipv6, read_raw_capture, suites, udp, write_raw_capture

KEYS = "2122232425262728292a2b2c2d2e2f3031323334"
ROW = f'"IPv4","192.0.2.1","192.0.2.2","0x00001001","AES-GCM with 16 octet ICV [RFC4106]","0x{"07" * 20}","NULL",""'
ENCAPS = (None, *(Encap("espinudp", *ports, bytes(4)) for ports in ((4500, 4500), (4500, 31001), (31003, 31002))))


def address(version, net, number):
    if version == 4:
        return bytes((10, net, number >> 8, number & 255))
    return bytes((0x20, 1, 0xD, 0xB8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, number >> 8, number & 255))


def every_sa():
    """Every suite in every form, and a clear packet of each that its SA alone takes."""
    shapes = [(v, mode, encap) for v in (4, 6) for mode in (Mode.TUNNEL, Mode.TRANSPORT) for encap in ENCAPS]
    for number, algorithms in enumerate(suites().values()):
        for at, (version, mode, encap) in enumerate(shapes):
            if (number + at) % 3:  # a third of the pairs, every suite and every form among them
                continue
            spi = 0x1000 + number * len(shapes) + at
            yield SecurityAssociation(
                address(version, 1, number), address(version, 2 + at, number), spi, mode=mode, algorithms=algorithms,
                window=64, encap=encap,
            )  # fmt: skip


def words(sa):
    src, dst = format_address(sa.src), format_address(sa.dst)
    line = f"ip xfrm state add src {src} dst {dst} proto esp spi {sa.spi:#x} mode {sa.mode.value} replay-window 64"
    for a in sa.algorithms:
        bits = f" {a.bits}" if a.kind in ("aead", "auth-trunc") else ""
        line += f" {a.kind} '{a.name}' {'0x' + a.key.hex() if a.key else chr(39) * 2}{bits}"
    if sa.encap is not None:
        line += f" encap espinudp {sa.encap.sport} {sa.encap.dport} {format_address(bytes(len(sa.dst)))}"
    if sa.mode is Mode.TUNNEL:
        line += f" sel src 0.0.0.0/0 dst {format_address(inner_dst(sa))}/32"
    return line + "\n"


def inner_dst(sa):
    return bytes((172, 16 + (sa.spi >> 16), sa.spi >> 8 & 255, sa.spi & 255))


def clear_packet(sa, size):
    data = udp(bytes(range(size)), 40001, 40002)
    src, dst = format_address(sa.src), format_address(sa.dst)
    if sa.mode is Mode.TUNNEL:
        return ipv4(data, dst=format_address(inner_dst(sa)))
    return ipv4(data, src=src, dst=dst) if len(sa.dst) == 4 else ipv6(data, src=src, dst=dst)


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """A capture of every SA that a row can name, two packets each, its SAD and the notes about the other SAs."""
    folder = tmp_path_factory.mktemp("secrets")
    sas = list(every_sa())
    (folder / "sad").write_text("".join(map(words, sas)))
    write_raw_capture(folder / "clear.pcap", [clear_packet(sa, size) for size in (33, 90) for sa in sas])
    code, stdout, stderr = espsim_text(
        "encap", folder / "clear.pcap", "-o", folder / "esp.pcapng", "--sad", folder / "sad", "--secrets", "--json",
        "--insecure", "null,ctr",
    )  # fmt: skip
    assert code == 0
    assert json.loads(stdout)["sealed"] == 2 * len(sas)
    return folder, sas, stderr


def test_encap_says_of_which_suites_there_is_no_row(sealed):
    _, sas, stderr = sealed
    named = {sa.name for sa in sas if secret_rows([(sa, [0])]).rows}
    assert 100 < len(named) < len(sas)
    said = secret_rows([(sa, [0]) for sa in sas]).notes
    for note, names in said.items():
        assert f"--secrets: {note}{': ' if names else ''}{', '.join(names[:5])}" in stderr
    assert stderr.count("--secrets: Wireshark has no ") == len(said) - 1
    assert "--secrets: ESP in UDP on port 31002: Wireshark looks on 4500 only" in stderr
    assert not any(sa.algorithms[0].key.hex() in stderr for sa in sas if sa.algorithms[0].key)


@pytest.mark.parametrize("way", [("--reference",), (), ("--workers", 2)], ids=["reference", "batch", "workers"])
def test_decap_without_a_sad_delivers_what_it_does_with_one(sealed, way):
    folder, sas, _ = sealed
    reports = {}
    for name, sad in (("with", ("--sad", folder / "sad")), ("without", ())):
        args = "decap", folder / "esp.pcapng", "-o", folder / name, "--verdicts", folder / f"{name}.verdicts"
        code, stdout, stderr = espsim_text(*args, *sad, *way, "--json")
        assert code == 0, stderr
        reports[name] = json.loads(stdout)
    without = {name for names in secret_rows([(sa, [0]) for sa in sas]).notes.values() for name in names}
    checked = {sa.name for sa in sas} - without
    lines = [[json.loads(line) for line in (folder / f"{n}.verdicts").read_text().splitlines()] for n in reports]
    for (one, other), sa in zip(zip(*lines, strict=True), sas * 2, strict=True):
        assert one["verdict"] == "DELIVERED"
        if sa.name in checked:
            assert other == one
        else:
            assert other["verdict"] in ("NO_SA", "ignored")
    want = [p for p, sa in zip(read_raw_capture(folder / "with"), sas * 2, strict=True) if sa.name in checked]
    assert read_raw_capture(folder / "without") == want
    assert {sa.split("@")[0] for sa in checked} == {f"0x{e['spi']:08x}" for e in reports["without"]["by_sa"]}


def test_the_file_is_its_owner_s_alone_and_holds_the_rows_of_the_sas_that_were_used(tmp_path):
    unused = f"src 192.0.2.1 dst 192.0.2.9 proto esp spi 9 mode transport aead 'rfc4106(gcm(aes))' 0x{KEYS} 128\n"
    (tmp_path / "sad").write_text(unused + words(gcm_sa()).replace("172.16.16.1", "10.2.0.1"))
    write_raw_capture(tmp_path / "clear.pcap", [ipv4(udp(b"x"))])
    (tmp_path / "out.pcapng").write_text("someone could read this")
    os.chmod(tmp_path / "out.pcapng", 0o644)
    args = "encap", tmp_path / "clear.pcap", "--sad", tmp_path / "sad", "--secrets"
    code, stdout, stderr = espsim_text(*args, "-o", tmp_path / "out.pcapng")
    assert (code, stderr) == (0, "")
    assert stat.S_IMODE((tmp_path / "out.pcapng").stat().st_mode) == 0o600
    data = (tmp_path / "out.pcapng").read_bytes()
    row = f"{ROW}\n".encode()
    length = 20 + len(row) + -len(row) % 4
    assert data[28 + 20 :].startswith(struct.pack("<IIII", 10, length, 0x45535053, len(row)) + row)
    assert "07070707" not in stdout
    piped = espsim(*args, "-o", "-")
    assert piped.returncode == 0
    assert piped.stdout[:100] == data[:100]
    opened = espsim("decap", "-", "-o", "-", "--workers", "1", input=piped.stdout)
    assert opened.returncode == 0
    assert opened.stdout[24 + 16 :] == ipv4(udp(b"x"))


def test_esn_and_a_second_epoch(tmp_path):
    """A row for each high half; a number is taken for the nearest, and no window refuses one."""
    text = words(gcm_sa()).replace("172.16.16.1", "10.2.0.1").strip()
    (tmp_path / "sad").write_text(f"{text} flag esn replay-oseq 0xfffffffd replay-oseq-hi 7\n")
    write_raw_capture(tmp_path / "clear.pcap", [ipv4(udp(bytes((n,)))) for n in range(6)])
    out = tmp_path / "out.pcapng"
    for way in ("--reference",), ():
        args = "encap", tmp_path / "clear.pcap", "-o", out, "--sad", tmp_path / "sad", "--secrets", *way
        assert espsim_text(*args)[0] == 0
        data = out.read_bytes()
        assert data.count(b'"64-bit","00000007"\n') == data.count(b'"64-bit","00000008"\n') == 1
        first = data.index(struct.pack("<I", 6))
        out.write_bytes(data + data[data.index(b"\x06\0\0\0" + data[first + 4 : first + 8]) :])  # all of it twice
        for other in ("--reference",), (), ("--workers", 2):
            code, stdout, stderr = espsim_text("decap", out, "-o", tmp_path / "inner.pcap", "--json", *other)
            assert (code, json.loads(stdout)["delivered"]) == (0, 12)
            assert "replays are not refused" in stderr
            assert [p for _, p in read_raw_capture(tmp_path / "inner.pcap")] == [
                ipv4(udp(bytes((n,)))) for n in [*range(6), *range(6)]
            ]


# -- other people's blocks --------------------------------------------------------------------------------------------


def block(kind, body):
    body += bytes(-len(body) % 4)
    total = struct.pack("<I", 12 + len(body))
    return struct.pack("<I", kind) + total + body + total


START = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1)) + block(1, struct.pack("<HHI", 101, 0, 0))


def secrets(text, kind=0x45535053, length=None):
    data = text.encode("utf-8", "surrogateescape")
    return block(10, struct.pack("<II", kind, len(data) if length is None else length) + data)


def frame(data):
    return block(6, struct.pack("<IIIII", 0, 0, 0, len(data), len(data)) + data)


ESP = frame(Peer(gcm_sa()).packet(1, ipv4(udp(b"inside"))))


def decapped(tmp_path, data, *options):
    (tmp_path / "in.pcapng").write_bytes(data)
    code, stdout, stderr = espsim_text("decap", tmp_path / "in.pcapng", "--json", *options)
    assert "Traceback" not in stderr
    assert "0707" not in stderr + stdout
    lines = [line.removeprefix("espsim: ").replace(f"{tmp_path}/", "") for line in stderr.splitlines()]
    return code, json.loads(stdout) if stdout else {}, lines


WAYS = pytest.mark.parametrize("way", [("--reference",), ()], ids=["reference", "batch"])


@WAYS
def test_duplicates_are_delivered_and_a_note_says_why(tmp_path, way):
    code, report, lines = decapped(tmp_path, START + secrets(ROW) + ESP + ESP, *way)
    assert (code, report["delivered"]) == (0, 2)
    assert lines == [
        "note: in.pcapng: secrets block: 1 SA, without a mode (each packet shows it), an encapsulation"
        " and a replay window: replays are not refused"
    ]


@WAYS
def test_the_next_header_says_the_mode_and_udp_may_be_there_or_not(tmp_path, way):
    peers = Peer(gcm_sa()), Peer(gcm_sa(encap=ENCAPS[1]))
    data = START + secrets(ROW)
    inner = ipv4(udp(b"inside"))
    for peer in peers:
        data += frame(peer.packet(1, inner)) + frame(peer.packet(2, ipv6(udp(b"six")), 41))
        data += frame(peer.packet(3, udp(b"payload"), 17)) + frame(peer.packet(4, inner[:19], 4))
    code, report, _ = decapped(tmp_path, data, *way, "-o", tmp_path / "inner.pcap")
    assert (code, report["verdicts"]) == (0, {"DELIVERED": 6, "MODE": 2})
    transport = ipv4(udp(b"payload"), src="192.0.2.1", dst="192.0.2.2")
    assert [p for _, p in read_raw_capture(tmp_path / "inner.pcap")] == [inner, ipv6(udp(b"six")), transport] * 2


@WAYS
def test_blocks_of_other_types_two_blocks_and_late_ones(tmp_path, way):
    other = gcm_sa(spi=0x1002, key_byte=8)
    row = ROW.replace("0x00001001", "0x00001002").replace("07" * 20, "08" * 20)
    late = secrets(ROW.replace("0x00001001", "0x00001003"))
    data = START + secrets("CLIENT_RANDOM 0 0\n", 0x544C534B) + secrets(ROW) + secrets(row + "\n") + ESP
    data += late + frame(Peer(other).packet(1, ipv4(udp(b"inside"))))
    code, report, lines = decapped(tmp_path, data, *way)
    assert (code, report["verdicts"]) == (0, {"DELIVERED": 2})
    assert "2 SAs" in lines[0]
    assert lines[1] == "note: in.pcapng: 1 secrets block after the first frame is not used, only those before it"


@WAYS
def test_a_sad_wins(tmp_path, way):
    (tmp_path / "sad").write_text(words(gcm_sa(key_byte=8)))
    code, report, lines = decapped(tmp_path, START + secrets(ROW) + ESP, "--sad", tmp_path / "sad", *way)
    assert (code, report["verdicts"]) == (0, {"INTEGRITY": 1})
    assert lines == ["note: in.pcapng: 1 secrets block is not used, because --sad is given"]


@pytest.mark.parametrize(
    ("data", "last"),
    [
        (START + ESP, "in.pcapng: no secrets block for ESP before its first frame, and no --sad"),
        (START + ESP + secrets(ROW), "in.pcapng: no secrets block for ESP before its first frame, and no --sad"),
        (START + secrets("x", 0x544C534B) + ESP, "in.pcapng: no secrets block for ESP before its first frame"),
        (START + secrets("") + ESP, "in.pcapng: no usable secrets, and no --sad"),
        (START + secrets(ROW, length=9999) + ESP, "in.pcapng: no usable secrets, and no --sad"),
        (START + secrets("what is this?\n") + ESP, "in.pcapng: secrets block: no SA in it (line 1: a line that is"),
        (START + secrets("\0") + ESP, "in.pcapng: secrets block:1: a NUL byte: this is not text"),
        (START + secrets(ROW + "\n" + ROW.replace("07" * 20, "0x07")) + ESP, None),
        (START + secrets(ROW + "\n" + ROW.replace("07" * 20, "09" * 20)) + ESP,
         "in.pcapng: secrets block:2: 0x00001001@192.0.2.2 is on line 1 already, with another key"),
        (START + secrets(ROW.replace("07" * 20, "07" * 19 + "7")) + ESP,
         "in.pcapng: secrets block:1: a key of odd hex length"),
        ((START + secrets(ROW))[:-30], "in.pcapng: frame 1: capture is cut at byte"),
        (b"", "in.pcapng: no secrets block for ESP before its first frame, and no --sad"),
        (struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 0, 101), "in.pcapng: no secrets block for ESP before its"),
    ],
)  # fmt: skip
def test_no_secrets_is_one_line(tmp_path, data, last):
    code, report, lines = decapped(tmp_path, data)
    if last is None:
        assert (code, report["delivered"]) == (0, 1)
        return
    assert (code, report) == (2, {})
    assert lines[-1].startswith(last), lines
    assert len(lines) <= 2


def test_what_a_row_lacks_is_told_as_of_any_table(tmp_path):
    rows = [
        ROW, "junk", ROW.replace("AES-GCM with 16 octet ICV", "TWOFISH-CBC").replace("1001", "1002"), '"IPv4","*"',
        ROW.replace("07" * 20, "...").replace("1001", "1004").replace('"0x...', '"...'),
        ROW.replace('"NULL",""', '"ANY 128 bit authentication [no checking]",""').replace(
            "AES-GCM with 16 octet ICV [RFC4106]", "AES-CBC [RFC3602]").replace("1001", "1005"),
    ]  # fmt: skip
    code, report, lines = decapped(tmp_path, START + secrets("\r\n".join(rows) + "\udcff\n") + ESP)
    assert (code, report["delivered"]) == (0, 1)
    assert {one["line"] for one in report["unused"]} >= {3, 5, 6}
    assert all(line.startswith(("in.pcapng: secrets block: line", "note: in.pcapng: secrets block")) for line in lines)


@pytest.mark.parametrize(
    ("option", "words_"), [("--keep-window", "--keep-window needs --sad"), ("--model", "--model needs --sad")]
)
def test_what_a_block_cannot_answer(tmp_path, option, words_):
    value = ("mlx5",) if option == "--model" else ()
    code, _, lines = decapped(tmp_path, START + secrets(ROW) + ESP, option, *value)
    assert code == 2
    assert words_ in lines[-1]


def test_window_passes_over_secrets(tmp_path):
    (tmp_path / "in.pcapng").write_bytes(START + secrets(ROW) + ESP + secrets(ROW) + ESP)
    code, stdout, stderr = espsim_text("window", tmp_path / "in.pcapng", "--json")
    assert (code, stderr) == (0, "")
    assert "0707" not in stdout


def test_explain_opens_them_too(tmp_path):
    (tmp_path / "in.pcapng").write_bytes(START + secrets(ROW) + ESP + frame(Peer(gcm_sa()).packet(2, udp(b"x"), 17)))
    for number, mode in ((1, "tunnel"), (2, "transport")):
        ended = espsim("explain", "-", "--frame", number, "--json", input=(tmp_path / "in.pcapng").read_bytes())
        assert ended.returncode == 0, ended.stderr
        told = json.loads(ended.stdout)
        assert (told["verdict"], told["seq"]) == ("DELIVERED", number)
        assert any(step["says"].startswith(f"{mode} mode: ") for step in told["steps"])
    code, stdout, stderr = espsim_text("explain", tmp_path / "in.pcapng")
    assert code == 0
    assert "070707" not in stdout + stderr
    (tmp_path / "sad").write_text(words(gcm_sa()))
    assert (
        json.loads(espsim("explain", tmp_path / "in.pcapng", "--sad", tmp_path / "sad", "--json").stdout)["frame"] == 1
    )
    (tmp_path / "none.pcapng").write_bytes(START + ESP)
    code, _, stderr = espsim_text("explain", tmp_path / "none.pcapng")
    assert (code, stderr.count("\n")) == (2, 1)
    assert "--sad FILE" in stderr
