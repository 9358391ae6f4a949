"""Windows as commands show them: Linux's rings and `--option strict-windows`, and numbers near 2^64."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.io.capture import CaptureWriter
from espsim.text.parse import parse_sa_line
from tests.support import Peer, ipv4, udp

CASES = Path(__file__).parents[2] / "vectors" / "cases"
WAYS = [[], ["--reference"], ["--engine", "cryptography"]]
SA = (
    "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 mode tunnel replay-window {window}"
    " aead rfc4106(gcm(aes)) 0x{key} 128"
)
KEY = "07" * 20
ADD = f"ip xfrm state add {SA.format(window=33, key=KEY)}\n"
NOTE = "--option strict-windows refuses every duplicate: 0x00001001@192.0.2.2"


def decap(tmp_path: Path, capture: Path, sad: Path, *more: str) -> tuple[Result, list[str]]:
    out, verdicts = tmp_path / "out.pcap", tmp_path / "verdicts.jsonl"
    args = ["decap", capture, "-o", out, "--sad", sad, "--json", "--verdicts", verdicts, *more]
    result = CliRunner().invoke(main, [str(arg) for arg in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result, [json.loads(line)["verdict"] for line in verdicts.read_text().splitlines()]


def captured(tmp_path: Path, line: str, numbers: Sequence[int]) -> Path:
    peer = Peer(parse_sa_line(line))
    path = tmp_path / "in.pcap"
    with CaptureWriter(str(path), nanosecond=False) as writer:
        for n, number in enumerate(numbers):
            writer.write(peer.packet(number, ipv4(udp(b"x"))), n * 1_000_000)
        writer.commit()
    return path


@pytest.mark.parametrize("way", WAYS)
class TestTheRingInDecap:
    def run(self, tmp_path: Path, way: list[str], *more: str, window: int = 33) -> tuple[Result, list[str]]:
        line = SA.format(window=window, key=KEY)
        sad = tmp_path / "sad.txt"
        sad.write_text(f"ip xfrm state add {line}\n")
        return decap(tmp_path, captured(tmp_path, line, [1, 1, 1]), sad, *way, *more)

    def test_one_duplicate_of_the_first_packet_passes_and_is_noted(self, tmp_path, way):
        for more in ([], ["--option", "ring-windows"]):
            result, verdicts = self.run(tmp_path, way, *more)
            assert verdicts == ["DELIVERED", "DELIVERED", "REPLAY_DUPLICATE"]
            assert NOTE in result.stderr
            assert len(result.stderr.splitlines()) == 1
            json.loads(result.stdout)

    def test_strict_windows_refuse_it(self, tmp_path, way):
        result, verdicts = self.run(tmp_path, way, "--option", "strict-windows")
        assert verdicts == ["DELIVERED", "REPLAY_DUPLICATE", "REPLAY_DUPLICATE"]
        assert result.stderr == ""

    @pytest.mark.parametrize("window", [20, 64])
    def test_a_legacy_bitmap_and_a_power_of_two_need_no_note(self, tmp_path, way, window):
        result, verdicts = self.run(tmp_path, way, window=window)
        assert verdicts == ["DELIVERED", "REPLAY_DUPLICATE", "REPLAY_DUPLICATE"]
        assert result.stderr == ""


@pytest.mark.parametrize("way", [*WAYS, ["--workers", "2"]])
class TestPast2To64:
    def test_the_high_half_is_0_again(self, tmp_path, way):
        capture, sad = CASES / "a1-esn-wrap.pcap", CASES / "a1-esn-wrap.sad"
        result, verdicts = decap(tmp_path, capture, sad, "--keep-window", *way)
        assert verdicts == ["DELIVERED"] * 5
        assert json.loads(result.stdout)["delivered"] == 5
        lines = (tmp_path / "verdicts.jsonl").read_text().splitlines()
        assert [json.loads(line)["seq64"] for line in lines] == [(1 << 64) - 2, (1 << 64) - 1, 0, 1, 2]

    def test_without_keep_window_the_dump_says_the_high_half(self, tmp_path, way):
        _, verdicts = decap(tmp_path, CASES / "a1-esn-wrap.pcap", CASES / "a1-esn-wrap.sad", *way)
        assert verdicts == ["DELIVERED"] * 5


def xfrm(*args: str, text: str) -> str:
    result = CliRunner().invoke(main, ["xfrm", *args, "-"], input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


class TestTheStateOfXfrm:
    RX = "RX src=10.7.0.1 dst=10.7.1.1 spi=0x1000 seq={}"
    NEW = "NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 flags={} esn={{{}}} aead=rfc4106(gcm(aes))\n"

    def answers(self, state: Path, text: str, *more: str) -> list[str]:
        lines = xfrm("--requests", "--state", str(state), *more, text=text).splitlines()
        return [json.loads(line)["result"] for line in lines]

    @pytest.mark.parametrize("options", [(), ("--option", "ring-windows")])
    def test_a_ring_goes_on_after_a_reload(self, tmp_path, options):
        state = tmp_path / "state"
        rx = self.RX.format(1) + "\n"
        new = self.NEW.format("", "bmp_len:2,replay_window:33")
        assert self.answers(state, new + rx, *options) == ["OK", "delivered"]
        assert [self.answers(state, rx) for _ in range(3)] == [["delivered"], ["dropped"], ["dropped"]]

    def test_strict_windows_are_kept_strict(self, tmp_path):
        state = tmp_path / "state"
        rx = self.RX.format(1) + "\n"
        new = self.NEW.format("", "bmp_len:2,replay_window:33")
        assert self.answers(state, new + rx, "--option", "strict-windows") == ["OK", "delivered"]
        assert self.answers(state, rx) == ["dropped"]

    def test_a_saved_state_with_a_wrong_value_is_one_line_and_stays(self, tmp_path):
        state = tmp_path / "state"
        state.write_bytes((CASES / "a10-state-mode.state").read_bytes())
        before = state.read_bytes()
        args = ["xfrm", "--state", str(state), "-"]
        with pytest.raises(InputError, match=r"not a saved state of this version of espsim: [a-z0-9_.]+: ") as refused:
            CliRunner().invoke(main, args, input="xfrm state count\n", catch_exceptions=False)
        assert len(str(refused.value).splitlines()) == 1
        assert "0102030405" not in str(refused.value)
        assert state.read_bytes() == before

    def test_one_wrong_field_of_a_state_of_this_version(self, tmp_path):
        """The digest is right: whoever changed the file knew how."""
        state = tmp_path / "state"
        self.answers(state, self.NEW.format("", "bmp_len:2,replay_window:33"))
        head, body = state.read_bytes().split(b"\n", 1)
        for old, new, field in (
            (b'"value": "transport"', b'"value": "tranquil"', "states.0.sa.mode"),
            (b'"size": 33', b'"size": 34', "states.0.window"),
            (b'"listening": false', b'"listening": 0', "listening"),
        ):
            changed = body.replace(old, new)
            assert changed != body
            words = [*head.split()[:4], str(len(changed)).encode(), hashlib.sha256(changed).hexdigest().encode()]
            state.write_bytes(b" ".join(words) + b"\n" + changed)
            with pytest.raises(InputError, match=field):
                xfrm("--state", str(state), text="xfrm state count\n")

    def test_numbers_near_2_64_in_dumps_and_after_a_reload(self, tmp_path):
        state = tmp_path / "state"
        edge = 0xFFFFFFFF
        new = self.NEW.format("esn", f"bmp_len:2,replay_window:64,seq:{edge - 1},seq_hi:{edge}")
        last = self.RX.format(f"{edge} seq_hi={edge}") + "\n"
        assert self.answers(state, new + last) == ["OK", "delivered"]
        dump = xfrm("--state", str(state), text="xfrm state list\n")
        assert "oseq-hi 0x0, oseq 0x0" in dump
        assert "seq-hi 0xffffffff, seq 0xffffffff" in dump
        wrapped = self.RX.format("0 seq_hi=0") + "\n"
        assert self.answers(state, wrapped + wrapped + last) == ["delivered", "dropped", "dropped"]
        reply = json.loads(xfrm("--requests", "--state", str(state), text="GETSA dst=10.7.1.1 proto=esp spi=0x1000\n"))
        context = reply["reply"]["replay_esn"]
        assert (context["seq"], context["seq_hi"]) == (0, 0)
        assert reply["reply"]["stat_replay"] == 1  # number 0 is refused without a word, as it is of a fresh SA

    def test_outbound_the_last_number_is_2_64_minus_1(self, tmp_path):
        state = tmp_path / "state"
        edge = 0xFFFFFFFF
        text = (
            "POLICY add dir out src 10.7.1.1/32 dst 10.7.0.1/32 tmpl proto esp mode transport\n"
            "NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x2000 flags=esn aead=rfc4106(gcm(aes))"
            f" esn={{bmp_len:1,replay_window:32,oseq:{edge - 1},oseq_hi:{edge}}}\n"
        )
        tx = "TX src=10.7.1.1 dst=10.7.0.1\n"
        assert self.answers(state, text + tx + tx) == ["OK", "OK", "sent", "EOVERFLOW"]
        assert self.answers(state, tx) == ["EOVERFLOW"]


def test_keep_window_reads_a_dump_near_2_64(tmp_path):
    """The dump is the model's own, of a window that has just gone over the edge."""
    state = tmp_path / "state"
    edge = 0xFFFFFFFF
    line = SA.format(window=64, key=KEY) + " flag esn"
    text = f"xfrm state add {line} replay-seq {edge - 3} replay-seq-hi {edge}\n"
    xfrm("--state", str(state), text=text)
    rx = "".join(f"RX src=192.0.2.1 dst=192.0.2.2 spi=0x1001 seq={n & edge} seq_hi={n >> 32}\n" for n in NEAR[:4])
    xfrm("--requests", "--state", str(state), text=rx)
    sad = tmp_path / "sad.txt"
    sad.write_text(xfrm("--state", str(state), text="-s xfrm state list\n"))
    _, verdicts = decap(tmp_path, captured(tmp_path, line, NEAR), sad, "--keep-window")
    assert verdicts[:4] == ["REPLAY_DUPLICATE", "REPLAY_DUPLICATE", "REPLAY_ZERO", "REPLAY_DUPLICATE"]
    assert verdicts[4:] == ["DELIVERED"] * 3


NEAR = [(1 << 64) - 2, (1 << 64) - 1, 0, 1, (1 << 64) - 3, 2, 9]
