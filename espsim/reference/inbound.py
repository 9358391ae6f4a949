"""Inbound ESP, one packet at a time: RFC 4303 section 3.4, in Linux's order of checks (net/xfrm/xfrm_input.c).

    3.4.1  reassembly               fragments are refused, not reassembled
    3.4.2  SA lookup                by (destination, SPI, protocol), or by what a modelled device finds
           direction, state, encapsulation
    3.4.3  sequence number          the window is asked (never moved), ESN's high half inferred
           lifetime
    3.4.4  integrity, decryption    nothing of a packet whose ICV is wrong leaves `open`
           trailer, window advance, decapsulation, selector

Every packet gets a verdict; nothing raises. Linux asks the window a second time after decryption, because other CPUs
may have moved it meanwhile; with one packet at a time the second answer is the first, so it isn't asked.
"""

from __future__ import annotations

from dataclasses import dataclass

from espsim.aead.engine import BlockError
from espsim.aead.suites import pack_seq_hi
from espsim.core.verdict import DeviceOutcome, Surfacing, Verdict
from espsim.reference.inner import from_transport, from_tunnel, selector_refuses
from espsim.reference.outer import Outer, parse_outer
from espsim.reference.trace import SILENT, Trace
from espsim.sad.association import ESPINUDP, Direction, Mode
from espsim.sad.entry import SadEntry, State
from espsim.sad.lifetime import hard_time_passed
from espsim.sad.sad import Sad
from espsim.wire import esp
from espsim.wire.udp import PORT_NAT_T


@dataclass(slots=True)
class Received:
    """What happened to one ESP packet.

    `entry` is the packet's own SA, as the software lookup finds it; `used` the one whose context was used (the same
    without a device). `counter` is the Linux counter that moved, None where none did. `inner` is the delivered packet.
    """

    verdict: Verdict
    counter: str | None
    spi: int | None = None
    seq: int | None = None
    seq64: int | None = None
    entry: SadEntry | None = None
    used: SadEntry | None = None
    inner: bytes | None = None
    device: DeviceOutcome | None = None
    surfacing: Surfacing = Surfacing.NONE
    odd_padding: bool = False


@dataclass(slots=True)
class Arrival:
    """One ESP packet on its way in: the IP packet, where ESP is in it, and when and where it came."""

    packet: bytes
    outer: Outer
    spi: int
    seq: int
    now: float
    port: int = 0
    odd_padding: bool = False


def encap_ports(sad: Sad) -> frozenset[int]:
    """The UDP ports at which ESP is expected: 4500 and every port that an SA names (in either direction)."""
    ports = {PORT_NAT_T}
    for entry in sad:
        if entry.sa.encap is not None:
            ports |= {entry.sa.encap.sport, entry.sa.encap.dport}
    return frozenset(ports)


class Inbound:
    """The software path. `mark` is the packets' mark (None: marks are not asked); `trace` hears every step."""

    def __init__(self, sad: Sad, *, mark: int | None = 0, trace: Trace = SILENT) -> None:
        self.sad = sad
        self.mark = mark
        self.trace = trace
        self.ports = encap_ports(sad)

    def refresh_ports(self) -> None:
        """Look again which UDP ports the SAs name, after the SAD has changed."""
        self.ports = encap_ports(self.sad)

    def receive(self, packet: bytes, now: float = 0.0, port: int = 0) -> Received | None:
        """Process one IP packet that arrived at `now` (seconds), by port `port`. None: it is not ESP."""
        outer = parse_outer(packet, self.ports)
        if outer is None:
            return None
        if outer.fragment:  # 3.4.1
            return Received(Verdict.FRAGMENT, None)
        if outer.end - outer.esp < esp.HEADER_LENGTH:
            return Received(Verdict.HEADER, None if outer.cut else Verdict.HEADER.counter)
        spi, seq = esp.parse(packet, outer.esp)
        arrival = Arrival(packet, outer, spi, seq, now, port)
        self.trace.parsed(arrival)
        return self.receive_for(self.find(arrival), arrival)

    def receive_for(self, entry: SadEntry | None, arrival: Arrival) -> Received:
        """From the SA lookup's answer on; a path with a device in it (`offloaded.py`) starts here too."""
        if entry is None:
            return Received(Verdict.NO_SA, Verdict.NO_SA.counter, arrival.spi, arrival.seq)
        verdict, seq64, inner = self.accept(entry, arrival)
        # A capture that was cut short would never have reached xfrm: no counter of it moves.
        counter = None if verdict is Verdict.TRUNCATED and arrival.outer.cut else verdict.counter
        return Received(
            verdict, counter, arrival.spi, arrival.seq, seq64, entry, entry, inner, odd_padding=arrival.odd_padding
        )

    def find(self, arrival: Arrival) -> SadEntry | None:
        """3.4.2: the SA of (destination, SPI, ESP), newest first. One whose time is over is gone."""
        daddr, saddr, spi = arrival.outer.dst, arrival.outer.src, arrival.spi
        port = arrival.outer.ports[1] if arrival.outer.ports else None
        while (entry := self.sad.input(daddr, spi, esp.PROTO_ESP, self.mark, port, saddr)) is not None:
            sa = entry.sa
            if not sa.limited or not hard_time_passed(sa.limits, arrival.now, entry.added, entry.used):
                break
            self.sad.expire(entry)
        self.trace.looked_up(arrival, entry)
        return entry

    def accept(
        self, entry: SadEntry, arrival: Arrival, *, check_replay: bool = True, icv_first: bool = False
    ) -> tuple[Verdict, int | None, bytes | None]:
        """Everything after the lookup: (verdict, seq64, delivered packet).

        Software asks the window before it decrypts. A device has decrypted before anyone asks (`icv_first`), and
        where nobody asks (`check_replay` False) the window stays as it is.
        """
        verdict = self._usable(entry, arrival.outer)
        self.trace.usable(entry, arrival, verdict)
        if verdict is not Verdict.DELIVERED:
            return verdict, None, None
        seq64 = entry.window.infer(arrival.seq)
        self.trace.inferred(entry, arrival, seq64)
        if check_replay and not icv_first:
            verdict = self._check_sequence(entry, seq64, arrival.seq)
            if verdict is not Verdict.DELIVERED:
                return verdict, seq64, None
        if entry.sa.limited and self.sad.check_expire(entry):
            return Verdict.EXPIRED, seq64, None
        if entry.used is None:
            entry.used = arrival.now  # before decryption: a forged packet starts the clock of use too
        verdict, plaintext = self._open(entry, arrival, seq64)
        if plaintext is None:
            return verdict, seq64, None
        if check_replay and icv_first:
            verdict = self._check_sequence(entry, seq64, arrival.seq)
            if verdict is not Verdict.DELIVERED:
                return verdict, seq64, None
        split = esp.split_trailer(plaintext)
        self.trace.trailer(plaintext, split)
        if split is None or split[1] == esp.NEXT_HEADER_NONE:
            return Verdict.TRAILER, seq64, None
        length, next_header = split
        arrival.odd_padding = esp.odd_padding(plaintext, length)
        if check_replay:
            entry.window.advance(seq64)
        entry.packets += 1  # authentic, and the window has moved (3.4.3): the SA counts what was inside
        entry.bytes += length
        self.trace.advanced(entry, seq64)
        verdict, inner = self._decap(entry, arrival, plaintext[:length], next_header)
        return verdict, seq64, inner

    # -- the steps ----------------------------------------------------------------------------------------------

    def _usable(self, entry: SadEntry, outer: Outer) -> Verdict:
        """xfrm_input: direction, state, encapsulation, in this order."""
        sa = entry.sa
        if sa.dir is Direction.OUT:
            return Verdict.DIRECTION
        if entry.state is not State.VALID or entry.transform is None:
            return Verdict.SA_LARVAL if entry.state is State.LARVAL else Verdict.SA_INVALID
        if sa.encap is None:
            return Verdict.DELIVERED if outer.ports is None else Verdict.ENCAP_MISMATCH
        if sa.encap.kind != ESPINUDP or outer.ports is None:
            return Verdict.ENCAP_MISMATCH
        return Verdict.DELIVERED

    def _check_sequence(self, entry: SadEntry, seq64: int, seq: int) -> Verdict:
        """3.4.3: may this number pass? Only looked at; a forged packet must not move the window."""
        verdict = entry.window.check(seq64, seq)
        if verdict is Verdict.REPLAY_DUPLICATE:
            entry.stats.replay += 1
        elif verdict is Verdict.REPLAY_TOO_OLD:
            entry.stats.replay_window += 1
        self.trace.checked(entry, seq64, verdict)
        return verdict

    def _open(self, entry: SadEntry, arrival: Arrival, seq64: int) -> tuple[Verdict, bytes | None]:
        """3.4.4: verify the ICV, decrypt. None in place of the plaintext where that failed."""
        keys, transform = entry.sa.keys, entry.transform
        if keys is None or transform is None:
            return Verdict.SA_INVALID, None
        packet, outer = arrival.packet, arrival.outer
        start = outer.esp + esp.HEADER_LENGTH
        body_at = start + keys.suite.iv_length
        if outer.cut or outer.end - body_at < keys.icv_length:
            return Verdict.TRUNCATED, None
        header, iv = packet[outer.esp : start], packet[start:body_at]
        seq_hi = pack_seq_hi(seq64) if entry.sa.esn else b""
        body = packet[body_at : outer.end]
        self.trace.opening(entry, header, seq_hi, iv, body)
        try:
            plaintext = transform.open(header, seq_hi, iv, body)
        except BlockError:
            return Verdict.TRUNCATED, None
        self.trace.opened(entry, plaintext)
        if plaintext is None:
            entry.stats.integrity_failed += 1
            return Verdict.INTEGRITY, None
        return Verdict.DELIVERED, plaintext

    def _decap(
        self, entry: SadEntry, arrival: Arrival, payload: bytes, next_header: int
    ) -> tuple[Verdict, bytes | None]:
        """RFC 4301 5.2: out of the tunnel or back under the IP header, then the SA's selector."""
        sa = entry.sa
        inner: bytes | None
        if sa.mode is Mode.TUNNEL:
            inner = from_tunnel(sa, arrival.outer, payload, next_header)
        else:
            inner = from_transport(arrival.packet, arrival.outer, payload, next_header)
        self.trace.decapsulated(entry, arrival, inner)
        if inner is None:
            return Verdict.MODE, None
        if sa.selective and selector_refuses(sa.selector, inner):
            return Verdict.POLICY, None
        return Verdict.DELIVERED, inner
