"""The project's question in numbers and sentences: two inbound SAs with one SPI, under every model (`espsim demo`)."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from espsim.aead.suites import aad
from espsim.core.address import format_address
from espsim.core.verdict import Verdict
from espsim.offload.model import load_model
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.reference.outer import Arrival
from espsim.reference.trace import InboundTrace
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.sad.spi import DEFAULT_SPI_RULE, SPI_RULES
from espsim.scenario.cell import SOFTWARE, Cell
from espsim.scenario.runner import run_cell
from espsim.scenario.schema import load_scenario
from espsim.scenario.traffic import clear_packet, expand
from espsim.text.parse import parse_sa_line

SCENARIO = "duplicate-spi"
# One model for each kind of answer, so that the demo fits one screen; `espsim models compare` has every device.
CAST = (
    "intel-82599-linux",
    "marvell-cn10k-dpdk",
    "marvell-cn10k-linux-v5",
    "marvell-cn10k-vpp",
    "nvidia-mlx5-linux-packet",
    "sw-linux-xfrm",
)
TRACED_SA = (
    "src 198.51.100.1 dst 192.0.2.1 proto esp spi 0x00001001 mode tunnel replay-window 64 flag esn"
    " aead rfc4106(gcm(aes)) 0x000102030405060708090a0b0c0d0e0f10111213 128"
)


@dataclass(frozen=True, slots=True)
class StoryRow:
    """What one model does with two SAs of one SPI. `add_*`: "0" or an errno; `delivered_*` of `sent` packets each."""

    model: str
    add_a: str
    add_b: str
    sent: int
    delivered_a: int
    delivered_b: int
    wrong_sa: int
    linux_counters: dict[str, int]
    surfacing: dict[str, int]
    assumptions: list[str]
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class _Lines(InboundTrace):
    """A line for each step of one packet: (section, step, what it found). For AEADs alone: TRACED_SA has one."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def _line(self, section: str, step: str, text: str) -> None:
        self.lines.append((section, step, text))

    def parsed(self, arrival: Arrival) -> None:
        outer = arrival.outer
        where, length = f"{format_address(outer.src)} > {format_address(outer.dst)}", outer.end - outer.esp
        self._line(
            "RFC 4303 2.1-2.2", "parse", f"{where}: ESP of {length} bytes, SPI 0x{arrival.spi:08x}, seq {arrival.seq}"
        )

    def looked_up(self, arrival: Arrival, entry: SadEntry | None) -> None:
        key = f"(0x{arrival.spi:08x}, esp, {format_address(arrival.outer.dst)})"
        self._line("RFC 4303 3.4.2", "lookup", f"{key} -> {entry.sa.name if entry else 'no SA'}")

    def checked(self, entry: SadEntry, seq64: int, verdict: Verdict) -> None:
        window = entry.window
        span = f"{max(window.top - window.size + 1, 0)}..{window.top} of {window.size}"
        answer = "may pass" if verdict is Verdict.DELIVERED else verdict.name
        self._line("RFC 4303 3.4.3", "window", f"seq64 {seq64} against window {span}: {answer}")

    def opening(self, entry: SadEntry, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> None:
        keys = entry.sa.keys
        if keys is not None:
            # The salt is key material, so asterisks replace it.
            shown = "*" * (2 * len(keys.salt)) + iv.hex()
            self._line("RFC 4106 4-5", "nonce, AAD", f"nonce {shown} (salt, IV), AAD {aad(header, seq_hi).hex()}")
            self._icv = body[len(body) - keys.icv_length :]

    def opened(self, entry: SadEntry, plaintext: bytes | None) -> None:
        self._line("RFC 4303 3.4.4", "ICV", f"{self._icv.hex()} is {'wrong' if plaintext is None else 'good'}")

    def trailer(self, plaintext: bytes, split: tuple[int, int] | None) -> None:
        if split is not None:
            pad = len(plaintext) - 2 - split[0]
            self._line("RFC 4303 2.4-2.6", "trailer", f"{split[0]} bytes, padding {pad}, next header {split[1]}")

    def advanced(self, entry: SadEntry, seq64: int) -> None:
        self._line("RFC 4303 3.4.3", "advance", f"window top {entry.window.top}, SA {entry.packets} packets")

    def again(self, arrival: Arrival) -> None:
        self._line("net/xfrm/xfrm_input.c", "received again", f"layer {len(arrival.path) + 1}: what is inside is ESP")

    def decapsulated(self, entry: SadEntry, arrival: Arrival, inner: bytes | None) -> None:
        if inner is not None:
            mode = entry.sa.mode.value
            self._line("RFC 4301 5.2", "inner packet", f"{mode} mode, {len(inner)} bytes: {inner[:20].hex()}...")


def trace_one_packet() -> list[tuple[str, str, str]]:
    """One real packet through the reference path: (section, step, what it found), a row a step."""
    sa = parse_sa_line(TRACED_SA)
    rng = random.Random(4303)
    peer, host = Sad(), Sad()
    entry = peer.newsa(sa)
    host.newsa(sa)
    sent = Outbound(peer, rng.randbytes).send_with(entry, clear_packet(sa, 10))
    heard = _Lines()
    received = Inbound(host, trace=heard).receive(sent.packet or b"")
    if received is not None:
        heard.lines.append(("", "verdict", f"{received.verdict.name}: {received.verdict.sentence}"))
    return heard.lines


def duplicate_spi_rows() -> list[StoryRow]:
    """The software lookup alone, then one model of each kind."""
    scenario, where, _text = load_scenario(SCENARIO)
    groups = expand(scenario, where)
    policy = SPI_RULES[DEFAULT_SPI_RULE]
    models = [None, *(load_model(name) for name in CAST)]
    return [_row(run_cell(scenario, groups, policy(), model=model)) for model in models]


def _row(cell: Cell) -> StoryRow:
    add_a, add_b, to_a, to_b = cell.steps
    counters: dict[str, int] = {}
    surfacing: dict[str, int] = {}
    wrong = 0
    for step in (to_a, to_b):
        for name, n in step.got["linux_counters"].items():
            counters[name] = counters.get(name, 0) + n
        for name, n in step.got.get("surfacing", {}).items():
            surfacing[name] = surfacing.get(name, 0) + n
        wrong += step.got.get("device", {}).get("WRONG_SA", 0)
    facts = {
        "model": cell.model,
        "add_a": _only(add_a.got.get("offload", add_a.got["result"])),
        "add_b": _only(add_b.got.get("offload", add_b.got["result"])),
        "sent": to_a.step.packets,
        "delivered_a": to_a.got["delivered"],
        "delivered_b": to_b.got["delivered"],
        "wrong_sa": wrong,
        "linux_counters": counters,
        "surfacing": surfacing,
        "assumptions": cell.assumptions,
    }
    return StoryRow(**facts, sentence=_sentence(facts))


def _only(counts: dict[str, int]) -> str:
    name = ", ".join(counts)
    return "0" if name == "OK" else name


def _sentence(row: dict[str, Any]) -> str:
    """What the row means, from its own numbers."""
    lost_a, lost_b = row["sent"] - row["delivered_a"], row["sent"] - row["delivered_b"]
    refused = row["add_b"] != "0"
    if not lost_a and not lost_b:
        if row["model"] == SOFTWARE:
            return "The lookup has the destination in its key: each packet finds its own SA."
        return "The table's key holds the destination too: both SAs live, every packet meets its own keys."
    loser, other = ("A", "B") if lost_a else ("B", "A")
    how = _how(row["surfacing"])
    if refused:
        return f"B is refused ({row['add_b']}), yet its packets land in A's slot: {lost_a + lost_b} lost, {how}."
    if lost_a:
        return f"B's add overwrites A without a word: A's packets meet B's keys, {lost_a} lost, {how}."
    return f"B's add says 0 and writes nothing: {loser}'s packets meet {other}'s keys, {lost_b} lost, {how}."


def _how(surfacing: dict[str, int]) -> str:
    words = {
        "FLAGGED": "each flagged to the host",
        "SILENT": "and the driver marks them good: nothing is reported",
        "DEVICE_DROP": "dropped in the device, where only its own counter moves",
        "COUNTED": "counted by the host",
    }
    return " and ".join(words[name] for name in surfacing) or "unreported"
