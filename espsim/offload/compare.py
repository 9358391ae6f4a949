"""What two SAs do to each other in a model: five small experiments, the same for every device.

    duplicate   A and B have one SPI, other peers and other local addresses
    alias       B's SPI is another, but its low bits are A's
    overflow    A, then SAs of other SPIs until one finds no room: that one is B
    delete      B is A's successor in a rekey (A's addresses and reqid, the next SPI), then one of them is deleted
    miss        only A is in the device; B's packets come too

Each shows what the driver answers, whose context a packet of A and of B reaches, and what is left for one after the
other is deleted. A cell whose answer is not public says "unknown", and the comparison goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from espsim.aead.suites import Algorithm
from espsim.core.address import parse_address
from espsim.core.errors import UnknownReached
from espsim.offload.device import Device, PacketKey
from espsim.offload.model import Model, parse_assumptions
from espsim.offload.schema import UNKNOWN, Index
from espsim.sad.association import Mode, SecurityAssociation

SPI = 0x55
A = 0
_MOST = 65_536
"""Tables with more rows than this are not filled for `overflow`."""
_ALIAS_BITS = 24
"""SPIs that differ above their low 24 bits are the same to every masked index in use, and to keys of 24 bits."""
_ACTIONS = {"software": "software", "drop": "dropped", "fail_flag": "flagged"}

Met = str
"""What a packet meets: "A", "B", "another" (SA's context), or "software", "flagged", "dropped", "unknown"."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model in one case. `add_*`: 0, an errno ("-EEXIST"), "unknown", or None where the SA was not offered.

    The last two answers are None where B never installed. `unknown` are the keys that stopped a cell, `assumptions`
    what was assumed.
    """

    model: str
    case: str
    add_a: int | str
    add_b: int | str | None
    packet_a: Met
    packet_b: Met
    packet_a_after_delete_b: Met | None
    packet_b_after_delete_a: Met | None
    unknown: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Pair:
    """A, and the SAs that are offered after it until one is refused or not written: the last one offered is B.

    Where nothing is offered, `stranger` is the B whose packets come.
    """

    a: SecurityAssociation
    offered: Callable[[], Iterator[SecurityAssociation]]
    stranger: SecurityAssociation | None = None


def duplicate(model: Model) -> Pair:
    """One SPI, twice."""
    b = association(model, 2)
    return Pair(association(model, 1), lambda: iter((b,)))


def alias(model: Model) -> Pair:
    """B's SPI has A's low bits: 24 of them, or as many as the model's index has, if that is more."""
    index: Index | None = model.spec.inbound.lookup[0].index
    bits = index.bits if index is not None and isinstance(index.bits, int) else 0
    b = association(model, 2, SPI | 1 << (max(bits, _ALIAS_BITS) if bits < 32 else _ALIAS_BITS))
    return Pair(association(model, 1), lambda: iter((b,)))


def overflow(model: Model) -> Pair:
    """As many SAs of other SPIs and reqids, all of B's addresses, as the smallest of the model's tables has rows.

    Tables without a number of their own do not fill: then B is just one more SA.
    """
    capacities = [lookup.capacity for lookup in model.spec.inbound.lookup]
    rows = min((c for c in capacities if isinstance(c, int) and 0 < c <= _MOST), default=1)
    return Pair(association(model, 1), lambda: (association(model, 2, SPI + n, reqid=n) for n in range(1, rows + 1)))


def delete(model: Model) -> Pair:
    """B is the next SA between A's peers, as after a rekey."""
    b = association(model, 1, SPI + 1)
    return Pair(association(model, 1), lambda: iter((b,)))


def miss(model: Model) -> Pair:
    """B is in software only."""
    return Pair(association(model, 1), lambda: iter(()), association(model, 2, SPI + 1))


CASES: dict[str, Callable[[Model], Pair]] = {
    "duplicate": duplicate, "alias": alias, "overflow": overflow, "delete": delete, "miss": miss,
}  # fmt: skip


def association(model: Model, which: int, spi: int = SPI, *, reqid: int = 1) -> SecurityAssociation:
    """An inbound SA from 1.1.1.`which` to 9.9.9.`which`: AES-GCM-128 with 16 octets of ICV, no ESN.

    Transport mode (tunnel where only that is taken), and the smallest window that the device takes.
    """
    caps = model.spec.caps
    tunnel = caps.modes != UNKNOWN and "transport" not in caps.modes
    return SecurityAssociation(
        parse_address(f"1.1.1.{which}"),
        parse_address(f"9.9.9.{which}"),
        spi,
        mode=Mode.TUNNEL if tunnel else Mode.TRANSPORT,
        reqid=reqid,
        window=_smallest_window(model),
        algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", bytes([which]) * 20, 128),),
    )


def _smallest_window(model: Model) -> int:
    """0 where no one checks replays, or the windows are not stated."""
    replay = model.spec.caps.replay
    if replay.where in ("none", UNKNOWN):
        return 0
    if isinstance(replay.windows, list) and replay.windows:
        return min(replay.windows)
    if isinstance(replay.pow2_min, int):
        return replay.pow2_min
    return 1 if isinstance(replay.max, int) else 0


def with_assumptions(models: Sequence[Model], texts: Iterable[str]) -> list[Model]:
    """The models with what `--assume` says. A bare KEY=VALUE goes to the models that leave that key open.

    InputError: a text that can't be read, a key that none of the models leaves open, a value that is not legal.
    """
    texts = list(texts)

    def concerns(model: Model, text: str) -> bool:
        key = text.partition("=")[0].strip()
        return ":" in key or model.assumable(key) or not any(m.assumable(key) for m in models)

    return [m.assuming(parse_assumptions(m, [t for t in texts if concerns(m, t)], models)) for m in models]


def compare(model: Model, case: str) -> Comparison:
    """Run one case of CASES in a model."""
    run = _Run(model, CASES[case](model))
    return Comparison(
        model=model.id,
        case=case,
        add_a=run.add_a,
        add_b=run.add_b,
        packet_a=run.packet(run.pair.a),
        packet_b=run.packet(run.b),
        packet_a_after_delete_b=run.without(run.b_index, run.pair.a),
        packet_b_after_delete_a=run.without(A, run.b),
        unknown=list(run.unknown),
        assumptions=run.device.assumptions if model.assumed else [],
    )


class _Run:
    """A device with A and B in it, and the keys that are not public."""

    def __init__(self, model: Model, pair: Pair) -> None:
        self.pair = pair
        self.unknown: dict[str, None] = {}
        self._stopped = False
        self._model = model
        self.device, self.add_a, self.add_b, self.b, self.b_index = self._filled()

    def _filled(self) -> tuple[Device, int | str, int | str | None, SecurityAssociation, int]:
        device = Device(self._model)
        add_a, _written = self._add(device, A, self.pair.a)
        add_b: int | str | None = None
        b, n = self.pair.stranger or self.pair.a, A
        for n, b in enumerate(self.pair.offered(), A + 1):
            add_b, written = (UNKNOWN, False) if self._stopped else self._add(device, n, b)
            if not written:
                break
        return device, add_a, add_b, b, n

    def _add(self, device: Device, sa_index: int, sa: SecurityAssociation) -> tuple[int | str, bool]:
        try:
            installed = device.add(sa_index, sa)
        except UnknownReached as reached:
            self.unknown[reached.key] = None
            # Refused with an errno that is not public; what is in the device is still known.
            self._stopped = not reached.key.rpartition(".")[2].startswith("errno")
            return UNKNOWN, False
        if installed.errno is None:
            return 0, installed.in_table
        return f"-{installed.errno.removeprefix('-')}", False

    def packet(self, sa: SecurityAssociation) -> Met:
        """What a packet of this SA meets with both in place."""
        return self._met(self.device, sa)

    def without(self, gone: int, sa: SecurityAssociation) -> Met | None:
        """What a packet of this SA meets after another is deleted; None where B is not in the device."""
        if self._stopped and self.add_b is not None:
            return UNKNOWN
        if self.add_b != 0:
            return None
        device = self._filled()[0]
        try:
            device.delete(gone)
        except UnknownReached as reached:
            self.unknown[reached.key] = None
            return UNKNOWN
        return self._met(device, sa)

    def _met(self, device: Device, sa: SecurityAssociation) -> Met:
        if self._stopped:
            return UNKNOWN
        try:
            answer = device.lookup(PacketKey(sa.src, sa.dst, sa.spi))
        except UnknownReached as reached:
            self.unknown[reached.key] = None
            return UNKNOWN
        if answer.action != "use":
            return _ACTIONS[answer.action]
        return {self.b_index: "B", A: "A"}.get(answer.sa_index, "another")
