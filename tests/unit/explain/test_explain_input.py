"""What explain takes and refuses: hex, files, frames that are not there; hostile bytes; the library's function."""

from __future__ import annotations

import json
import struct

import pytest

from espsim.core.verdict import Verdict
from espsim.explain.dump import explain_dump
from espsim.explain.frames import hex_frame, looks_like_hex
from espsim.explain.packet import open_packet
from espsim.explain.steps import Step
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, Encap, Limits, Mark, Selector
from espsim.text.parse import parse_sa_line
from espsim.text.show import format_dump, format_sa_line
from tests.command import espsim, espsim_text
from tests.support import VECTORS, gcm_sa, ipv4, new_sad, udp

CASES = VECTORS / "cases"
SA = gcm_sa()
SUITES = [
    f"aead rfc4106(gcm(aes)) 0x{'11' * 20} 64",
    f"aead rfc7539esp(chacha20,poly1305) 0x{'22' * 36} 128",
    f"aead rfc4309(ccm(aes)) 0x{'33' * 19} 96",
    f"aead rfc4543(gcm(aes)) 0x{'44' * 20} 128",
    f"enc cbc(aes) 0x{'55' * 16} auth-trunc hmac(sha256) 0x{'66' * 32} 128",
    f"enc cbc(des3_ede) 0x{'55' * 24} auth-trunc hmac(md5) 0x{'66' * 16} 96",
    f"enc ecb(cipher_null) '' auth-trunc hmac(sha1) 0x{'66' * 20} 96",
    f"enc cbc(aes) 0x{'77' * 16}",
]


def wire(payload=b"0123456789", seq=1, sa=SA):
    sad = new_sad(sa)
    (entry,) = sad
    entry.send_next(seq)
    sent = Outbound(sad, bytes).send_with(entry, ipv4(udp(payload)))
    assert sent.packet is not None
    return sent.packet


def pcap(*frames, linktype=101):
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, linktype)
    return head + b"".join(struct.pack("<IIII", 1, n, len(f), len(f)) + f for n, f in enumerate(frames))


@pytest.fixture
def sad(tmp_path):
    path = tmp_path / "sad"
    path.write_text(format_sa_line(SA) + "\n")
    return path


ETHERNET = bytes.fromhex("450000ff0000020000000001") + b"\x08\x00"  # an address that begins like IPv4


class TestHex:
    @pytest.mark.parametrize(
        "written",
        [
            lambda p: p.hex(),
            lambda p: p.hex().upper(),
            lambda p: p.hex(" "),
            lambda p: p.hex(":"),
            lambda p: "0x" + p.hex(),
            lambda p: ", ".join(f"0x{byte:02x}" for byte in p),
            lambda p: p.hex(" ", 2).replace(" 00", "\n00"),
            lambda p: (ETHERNET + p).hex(),
            lambda p: (bytes(12) + b"\x81\x00\x00\x07\x08\x00" + p + bytes(6)).hex(),  # VLAN, padding
        ],
    )
    def test_ways_to_write_it(self, sad, written, tmp_path):
        packet = wire()
        text = written(packet)
        (tmp_path / "hex.txt").write_text(text)
        for source in (text, tmp_path / "hex.txt"):
            ended = espsim("explain", source, "--sad", sad, "--json")
            assert ended.returncode == 0, ended.stderr
            result = json.loads(ended.stdout)
            assert (result["frame"], result["verdict"]) == (1, "DELIVERED")
            start = len(bytes.fromhex(result["bytes"])) - len(packet)
            spi = next(f for s in result["steps"] for f in s["fields"] if f["name"] == "SPI")
            assert spi["offset"] in (20 + start, 20 + 18)
        assert json.loads(espsim("explain", "-", "--sad", sad, "--json", input=text.encode()).stdout)["seq"] == 1

    def test_odd_digits(self, sad):
        status, _, said = espsim_text("explain", wire().hex()[:-1], "--sad", sad)
        assert status == 2
        assert said == "espsim: the digits: 183 hex digits: a byte has two, so one is missing or too many\n"

    def test_a_mistyped_digit(self, sad):
        digits = wire().hex()
        status, _, said = espsim_text("explain", digits[:50] + "g" + digits[51:], "--sad", sad)
        assert status == 2
        assert said == "espsim: the digits: 'g' after 50 hex digits is not a hex digit\n"

    @pytest.mark.parametrize("digits", ["00", "ff" * 20, "0" * 200])
    def test_no_packet(self, sad, digits):
        status, _, said = espsim_text("explain", digits, "--sad", sad)
        assert status == 2
        assert "neither an IP packet nor an Ethernet frame" in said
        assert digits not in said or len(digits) < 4

    def test_what_is_no_hex(self):
        assert not looks_like_hex("esn.pcap")
        assert not looks_like_hex("")
        assert looks_like_hex("45 00")
        assert hex_frame(wire().hex()).frame.ip == wire()

    def test_a_file_of_that_name_wins(self, sad, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "beef").write_bytes(pcap(wire()))
        assert espsim("explain", "beef", "--sad", sad).returncode == 0


class TestFrames:
    def test_not_there(self, sad, tmp_path):
        (tmp_path / "two.pcap").write_bytes(pcap(wire(), wire(seq=2)))
        status, _, said = espsim_text("explain", tmp_path / "two.pcap", "--sad", sad, "--frame", 3)
        assert (status, "there is no frame 3: it has 2" in said) == (2, True)

    @pytest.mark.parametrize(
        ("frame", "kind"), [(ipv4(udp(b"x")), "udp"), (ipv4(b"x" * 8, proto=47), "gre"), (b"\0" * 40, "other")]
    )
    def test_not_esp(self, sad, tmp_path, frame, kind):
        (tmp_path / "c.pcap").write_bytes(pcap(frame, wire()))
        status, _, said = espsim_text("explain", tmp_path / "c.pcap", "--sad", sad, "--frame", 1)
        assert (status, f"frame 1: is not ESP, but {kind}" in said) == (2, True)
        assert json.loads(espsim("explain", tmp_path / "c.pcap", "--sad", sad, "--json").stdout)["frame"] == 2

    def test_no_esp_at_all(self, sad, tmp_path):
        (tmp_path / "c.pcap").write_bytes(pcap(ipv4(udp(b"x"))))
        status, _, said = espsim_text("explain", tmp_path / "c.pcap", "--sad", sad)
        assert (status, "frame 1: is not ESP, but udp" in said) == (2, True)
        (tmp_path / "c.pcap").write_bytes(pcap(*[ipv4(udp(b"x"))] * 2))
        status, _, said = espsim_text("explain", tmp_path / "c.pcap", "--sad", sad)
        assert (status, "no ESP packet in its 2 frames" in said) == (2, True)

    @pytest.mark.parametrize("more", [(), ("--frame", "2")])
    def test_nothing_behind_the_frame_is_read(self, sad, tmp_path, more):
        rest = struct.pack("<IIII", 1, 3, 0xFFFFFFFF, 0xFFFFFFFF) + b"damaged"
        (tmp_path / "c.pcap").write_bytes(pcap(wire(), wire(seq=2)) + rest)
        assert espsim("explain", tmp_path / "c.pcap", "--sad", sad, *more).returncode == 0
        assert espsim("explain", tmp_path / "c.pcap", "--sad", sad, "--frame", 3).returncode == 2

    def test_a_pcapng_is_not_looked_through(self, sad, tmp_path):
        def block(kind, body):
            body += bytes(-len(body) % 4)
            size = struct.pack("<I", 12 + len(body))
            return struct.pack("<I", kind) + size + body + size

        packet = wire()
        section = block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
        packets = block(6, struct.pack("<IIIII", 0, 0, 0, len(packet), len(packet)) + packet)
        damaged = struct.pack("<II", 6, 3) + b"damaged"
        (tmp_path / "c.pcapng").write_bytes(section + block(1, struct.pack("<HHI", 101, 0, 0)) + packets + damaged)
        words = ("explain", tmp_path / "c.pcapng", "--sad", sad, "--json")
        assert json.loads(espsim(*words).stdout)["verdict"] == "DELIVERED"
        assert espsim("explain", tmp_path / "c.pcapng", "--sad", sad, "--frame", 2).returncode == 2

    def test_frames_before_it_are_run(self, sad, tmp_path):
        (tmp_path / "c.pcap").write_bytes(pcap(wire(seq=7), wire(seq=7)))
        result = json.loads(espsim("explain", tmp_path / "c.pcap", "--sad", sad, "--frame", 2, "--json").stdout)
        assert (result["verdict"], result["linux_counter"]) == ("REPLAY_DUPLICATE", "XfrmInStateSeqError")
        assert result["nonce"] is None
        window = next(step for step in result["steps"] if step["step"] == "window")
        assert {f["name"]: f["value"] for f in window["fields"]}["top"] == 7

    def test_the_frame_of_a_device(self, sad, tmp_path):
        (tmp_path / "c.pcap").write_bytes(pcap(wire()))
        words = ("explain", tmp_path / "c.pcap", "--sad", sad, "--model", "marvell-cn10k-linux-v5", "--assume", "model")
        result = json.loads(espsim(*words, "--json").stdout)
        told = next(step for step in result["steps"] if step["step"] == "device")
        facts = {field["name"]: field["value"] for field in told["fields"]}
        assert facts["model"] == result["model"] == "marvell-cn10k-linux-v5"
        assert "0x00001001@192.0.2.2" in facts.values()

    def test_needs_sas(self, tmp_path):
        (tmp_path / "c.pcap").write_bytes(pcap(wire()))
        status, _, said = espsim_text("explain", tmp_path / "c.pcap")
        assert (status, "--sad FILE" in said) == (2, True)

    def test_options_of_the_other_way(self, sad, tmp_path):
        (tmp_path / "c.pcap").write_bytes(pcap(ipv4(udp(b"x"))))
        status, _, said = espsim_text("explain", tmp_path / "c.pcap", "--sad", sad, "--seal", "--keep-window")
        assert (status, "--keep-window" in said) == (2, True)


class TestSeal:
    def test_the_wire(self, sad, tmp_path):
        inner = ipv4(udp(b"hello"))
        (tmp_path / "c.pcap").write_bytes(pcap(inner + bytes(9), inner))
        words = ("explain", tmp_path / "c.pcap", "--sad", sad, "--seal", "--frame", 2, "--json")
        result = json.loads(espsim(*words).stdout)
        assert (result["verdict"], result["seq"], result["inner"]) == ("SEALED", 2, inner.hex())
        packet = bytes.fromhex(result["packet"])
        opened = json.loads(espsim("explain", result["packet"], "--sad", sad, "--json").stdout)
        for key in ("nonce", "aad", "icv", "icv_expected", "plaintext", "inner", "seq", "seq64", "sa", "spi"):
            assert opened[key] == result[key], key
        for step in result["steps"]:
            for field in step["fields"]:
                if field["offset"] is not None:
                    assert packet[field["offset"] :][: field["length"]].hex() == field["hex"], field

    def test_refused(self, tmp_path):
        (tmp_path / "sad").write_text(format_sa_line(gcm_sa(dir=Direction.IN)) + "\n")
        ended = espsim("explain", ipv4(udp(b"x")).hex(), "--sad", tmp_path / "sad", "--seal", "--json")
        assert ended.returncode == 0
        result = json.loads(ended.stdout)
        assert (result["verdict"], result["packet"], result["nonce"]) == ("NO_SA", None, None)
        assert result["linux_counter"] == "XfrmOutNoStates"


class TestHostile:
    def test_names_are_escaped(self, sad, tmp_path):
        name = tmp_path / "a\x1b[31mb.pcap"
        name.write_bytes(pcap(wire()))
        status, text, said = espsim_text("explain", name, "--sad", sad)
        assert status == 0
        assert "\x1b" not in text + said
        assert r"a\x1b[31mb.pcap" in text.replace("\n", "")

    @pytest.mark.parametrize("length", range(9))
    def test_short_esp(self, sad, length, tmp_path):
        packet = ipv4(wire()[20 : 20 + length], src="192.0.2.1", dst="192.0.2.2", proto=50)
        ended = espsim("explain", packet.hex(), "--sad", sad, "--json")
        assert ended.returncode == 0, ended.stderr
        result = json.loads(ended.stdout)
        assert result["verdict"] == ("TRUNCATED" if length == 8 else "HEADER")
        assert result["plaintext"] is None

    @pytest.mark.parametrize("words", SUITES, ids=lambda words: words.split()[1])
    def test_any_cut_and_many_bits(self, words):
        head = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel replay-window 64 flag esn "
        sa = parse_sa_line(head + words)
        packet, sad = wire(sa=sa), new_sad(sa)
        for end in range(len(packet)):
            open_packet(sad, packet[:end], trace=list[Step]().append)
            shorter = packet[:2] + end.to_bytes(2) + packet[4:end]  # the header says so too
            open_packet(sad, shorter, trace=list[Step]().append)
        for at in range(0, len(packet) * 8, 5):
            flipped = bytearray(packet)
            flipped[at // 8] ^= 1 << at % 8
            steps: list[Step] = []
            received = open_packet(sad, bytes(flipped), trace=steps.append)
            assert (received is None) == (not steps)
            if received is not None and received.verdict is Verdict.INTEGRITY:
                assert not any(step.step in ("decryption", "trailer") for step in steps)


class TestLibrary:
    def test_the_same_steps(self, sad):
        steps: list[Step] = []
        received = open_packet(new_sad(SA), wire(), trace=steps.append)
        assert received is not None
        assert received.verdict is Verdict.DELIVERED
        told = json.loads(espsim("explain", wire().hex(), "--sad", sad, "--json").stdout)["steps"]
        assert [step.as_dict() for step in steps] == told
        assert "07070707" not in repr(steps)  # the key

    def test_without_a_trace(self):
        sad = new_sad(SA)
        assert open_packet(sad, ipv4(udp(b"x"))) is None
        first, second = open_packet(sad, wire()), open_packet(sad, wire())
        assert first is not None
        assert second is not None
        assert (first.verdict, second.verdict) == (Verdict.DELIVERED, Verdict.REPLAY_DUPLICATE)


class TestDump:
    @pytest.mark.parametrize("path", sorted(CASES.glob("c*.txt")), ids=lambda p: p.name)
    def test_every_line(self, path):
        text = path.read_text()
        told = explain_dump(text, str(path))
        assert [line.line for line in told] == [n for n, line in enumerate(text.split("\n"), 1) if line.strip()]
        policies = text.split("\n").index("") + 1 if "priority" in text else 1 << 30
        for line in told:
            assert line.words, line.text
            if line.line < policies:
                assert all(word.changes != "passed over" for word in line.words), line
            else:
                assert all(word.changes == "passed over" for word in line.words), line
        keys = [word for word in text.split() if word.startswith("0x") and len(word) > 20]
        assert not any(key[2:] in json.dumps([line.as_dict() for line in told]) for key in keys)

    def test_the_command(self):
        status, text, _ = espsim_text("explain", CASES / "c04-iptfs.txt", "--width", 80)
        assert status == 0
        assert max(map(len, text.splitlines())) <= 80
        assert "000102030405" not in text
        assert json.loads(espsim("explain", CASES / "c04-iptfs.txt", "--json").stdout)["lines"][0]["line"] == 1

    def test_what_ip_s_prints(self):
        sa = gcm_sa(
            flags=frozenset({"esn", "af-unspec"}), encap=Encap("espinudp", 4500, 4500, bytes(4)), mark=Mark(1, 255),
            output_mark=Mark(2, 255), selector=Selector(bytes(4), 8, bytes(4), 32, 17, 5, 65535, 6, 65535), if_id=5,
            tfcpad=100, dir=Direction.IN, limits=Limits(hard_bytes=5), label="a:b",
        )  # fmt: skip
        told = explain_dump(format_dump(sa, stats=True) + format_dump(SA) + "$ ip xfrm policy\n")
        passed = [word.word for line in told for word in line.words if word.changes == "passed over"]
        assert passed == ["policy"]

    @pytest.mark.parametrize(("mode", "changes"), [("beet", "selector's"), ("iptfs", "IP-TFS"), ("5", "IP-TFS"),
                                                   ("ro", "not modelled")])  # fmt: skip
    def test_modes(self, mode, changes):
        told = explain_dump(format_dump(SA).replace("mode tunnel", f"mode {mode}"))
        (word,) = (word for line in told for word in line.words if word.reads == "mode")
        assert changes in word.changes

    def test_an_sa_that_is_not_used_says_so(self):
        bad = format_dump(SA).replace("rfc4106(gcm(aes))", "rfc9999(unheard)")
        first, second = (line for line in explain_dump(format_dump(SA) + bad) if line.text.startswith("src"))
        assert (first.words[0].word, second.words[0].word) == ("src 192.0.2.1", "this SA")
        assert "no packet runs under aead rfc9999(unheard)" in second.words[0].changes

    @pytest.mark.parametrize("form", ["utf-8", "utf-8-sig", "utf-16"])
    def test_encodings(self, form, tmp_path):
        text = (CASES / "c19-packet-on-crypto-only.txt").read_text()
        (tmp_path / "text").write_bytes(text.encode(form))
        lines = json.loads(espsim("explain", tmp_path / "text", "--json").stdout)["lines"]
        assert len(lines) == len(text.splitlines())

    def test_no_dump(self, tmp_path):
        (tmp_path / "text").write_text("hello\n")
        status, _, said = espsim_text("explain", tmp_path / "text")
        assert (status, "no SA in it" in said) == (2, True)
