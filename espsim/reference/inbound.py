"""Inbound ESP, one packet at a time, from its bytes to its verdict, in Linux's order of checks.

1. 3.4.1  reassembly               a packet that is still a fragment is refused
2. 3.4.2  SA lookup                by (destination, SPI, protocol); with a modelled device, the SA that the device found
3.        the SA                   its direction, state and encapsulation
4. 3.4.3  sequence number          the ESN high half is inferred from the window (sad/window.py); the window may refuse
                                   the number, but does not move yet
5.        lifetime                 an SA whose hard limit is reached opens nothing
6. 3.4.4  integrity, decryption    the ICV covers the inferred high half too (2.2.1): where the inference was wrong, as
                                   for a packet that comes after the window has left it, the ICV fails
7. 2.4    trailer                  padding and next header
8. 3.4.3  window                   it moves now, because the number is authentic
9.        decapsulation            inner.py, beet.py, iptfs_in.py
10.       ESP in ESP               an inner packet that is ESP for this host is received again, from 2 on (nested.py)
11.       selectors                of all SAs that the packet came through, about the innermost packet
12.       policies                 the SPD, where there is one (policies.py)

Every packet gets a verdict; nothing raises. With ESP in ESP the answer is that of the last layer; windows and counters
of the outer SAs have moved. A packet that this host sent (`own_traffic`: a capture shows it too) is opened under its
outbound SA and is SENT; window and lifetime are not asked (own.py).

What this does not do: it joins no fragments (io/fragments.py does), checks no checksum of outer or inner headers, and
does not ask the window a second time after decryption, as Linux does: with one packet at a time both answers are equal.
Nothing of a packet whose ICV is wrong leaves `open`.

Sources: RFC 4303 3.4, RFC 4301 5.2; Linux net/xfrm/xfrm_input.c, net/ipv4/esp4.c.
"""

from __future__ import annotations

from espsim.aead.engine import BlockError, Engine
from espsim.aead.suites import pack_seq_hi
from espsim.core.answers import Received
from espsim.core.numbers import PROTO_ESP, PROTO_NONE
from espsim.core.verdict import DELIVERED, Verdict
from espsim.reference.inner import decapsulated, drops_congested, selector_refuses
from espsim.reference.iptfs_in import Tunnels
from espsim.reference.nested import Nested
from espsim.reference.outer import Arrival, Outer, encap_ports, parse_outer
from espsim.reference.own import receive_own
from espsim.reference.policies import Policies
from espsim.reference.trace import InboundTrace
from espsim.reference.transforms import Transforms
from espsim.sad.association import ANY_ENCAP, ESPINTCP, Direction, Mode
from espsim.sad.entry import SadEntry, State
from espsim.sad.lifetime import hard_time_passed
from espsim.sad.sad import Sad
from espsim.sad.sent import SentNumbers, sent_under
from espsim.wire import esp

_VALID, _OUT, _IPTFS = State.VALID, Direction.OUT, Mode.IPTFS  # looked up once: see core.verdict.DELIVERED


class Inbound:
    """The software path. `mark`: the packets' mark; None: marks are not compared. `trace` is called at every step;
    None: no one listens.
    `engine` opens packets; None: `cryptography`.

    `own_traffic`: packets that this host sent are SENT, and SAs with dir out do not expire here, because their sender
    decides that. Without it such packets are DIRECTION, as in xfrm_input.
    `rfc6040`: ECN of tunnels as that RFC states it, not as Linux does it.
    `policies`: the SPD, which judges last; None: there is none.
    """

    modelled = False
    """Whether a modelled device finds the SA (offloaded.py)."""

    def __init__(
        self, sad: Sad, *, mark: int | None = 0, trace: InboundTrace | None = None, own_traffic: bool = False,
        engine: Engine | None = None, policies: Policies | None = None, rfc6040: bool = False,
    ) -> None:  # fmt: skip
        self.sad = sad
        self.transforms = Transforms(engine)
        self.mark = mark
        self.trace = trace
        self.sent = SentNumbers() if own_traffic else None
        self.policies = policies
        self.rfc6040 = rfc6040
        self.ports = encap_ports(sad)
        self.tunnels = Tunnels(self)
        self.nested = Nested(self)

    def refresh_ports(self) -> None:
        """Read again which UDP ports and destinations the SAs name. Call it after the SAD has changed."""
        self.ports = encap_ports(self.sad)
        self.nested.refresh()

    def receive(
        self, packet: bytes, now: float = 0.0, port: int = 0, *, outgoing: bool = False, in_tcp: bool = False
    ) -> Received[SadEntry] | None:  # fmt: skip
        """Process one IP packet that arrived at `now` (seconds), by port `port`. None: it is not ESP.

        `outgoing`: the capture says that this host sent it (PACKET_OUTGOING of Linux cooked headers). `in_tcp`: it came
        in a TCP stream; `packet` is ESP after that stream's IP headers. Of ESP in ESP the answer is the last layer's.
        """
        outer = parse_outer(packet, self.ports)
        if outer is None:
            return self._clear(packet) if self.policies is not None and not outgoing else None
        if in_tcp and outer.encap is None:
            outer.encap = ESPINTCP
        own = outgoing and self.sent is not None
        if outer.fragment:  # 3.4.1
            return Received(Verdict.FRAGMENT, None, own=own)
        if outer.end - outer.esp < esp.HEADER_LENGTH:
            return Received(Verdict.HEADER, None if outer.cut or own else Verdict.HEADER.counter, own=own)
        spi, seq = esp.parse(packet, outer.esp)
        arrival = Arrival(packet, outer, spi, seq, now, port, outgoing, self.mark)
        if self.trace is not None:
            self.trace.parsed(arrival)
        entry = self.find(arrival)
        if self.sent is not None and (own if entry is None else self.sent_under(entry, arrival)):
            answer = receive_own(self, entry, arrival, self.sent)
        else:
            answer = self.receive_for(entry, arrival)
        return answer if arrival.inside is None else self.nested.receive(arrival.inside, answer)

    def receive_inside(self, arrival: Arrival) -> Received[SadEntry]:
        """A packet from inside another one (nested.py), from its SA lookup on. A modelled device does not see it."""
        entry = self.find(arrival)
        if arrival.own and self.sent is not None:
            return receive_own(self, entry, arrival, self.sent)
        return Inbound.receive_for(self, entry, arrival)

    def receive_for(self, entry: SadEntry | None, arrival: Arrival) -> Received[SadEntry]:
        """All steps after the SA lookup. A path with a device overrides this (offloaded.py)."""
        if entry is None:
            return Received(Verdict.NO_SA, Verdict.NO_SA.counter, arrival.spi, arrival.seq)
        verdict, seq64, inner = self.accept(entry, arrival)
        # The host received the whole packet, so none of its counters moved for what the capture cut.
        counter = None if arrival.outer.cut and verdict is Verdict.TRUNCATED else verdict.counter
        return Received(
            verdict, counter, arrival.spi, arrival.seq, seq64, entry, entry, inner, arrival.inners, arrival.odd_padding
        )  # fmt: skip

    def find(self, arrival: Arrival) -> SadEntry | None:
        """3.4.2: the SA of (destination, SPI, ESP), newest first. An SA whose hard time limit has passed is removed.

        An SA under which this host sent is found by all three, even where the SPI rule has a lookup of its own.
        """
        sad, outer, spi, mark = self.sad, arrival.outer, arrival.spi, arrival.mark
        port = outer.ports[1] if outer.ports else None
        entry = sad.lookup(outer.dst, spi, PROTO_ESP, mark, port) if self.sent is not None else None
        if entry is None or not self.sent_under(entry, arrival):
            entry = sad.input(outer.dst, spi, PROTO_ESP, mark, port, outer.src)
            while entry is not None and entry.sa.limited and self._over(entry, arrival):
                sad.expire(entry)
                entry = sad.input(outer.dst, spi, PROTO_ESP, mark, port, outer.src)
        if self.trace is not None:
            self.trace.looked_up(arrival, entry)
        return entry

    def sent_under(self, entry: SadEntry, arrival: Arrival) -> bool:
        """Whether this host sent the packet, under the SA that was found (sad/sent.py)."""
        outer = arrival.outer
        return self.sent is not None and sent_under(entry.sa, outer.src, outer.dst, outgoing=arrival.outgoing)

    def _over(self, entry: SadEntry, arrival: Arrival) -> bool:
        """Whether a hard time limit of the SA has passed."""
        sa = entry.sa
        if (self.sent is not None and sa.dir is _OUT) or self.sent_under(entry, arrival):
            return False
        return hard_time_passed(sa.limits, arrival.now, entry.added, entry.used)

    def accept(
        self, entry: SadEntry, arrival: Arrival, *, check_replay: bool = True, icv_first: bool = False
    ) -> tuple[Verdict, int | None, bytes | None]:
        """Steps 3 to 12: (verdict, seq64, delivered packet).

        Software asks the window before it decrypts. A device decrypts first (`icv_first`). Where no one checks replays
        (`check_replay` False) the window does not move.
        """
        verdict = Verdict.DIRECTION if entry.sa.dir is _OUT else self.ready(entry, arrival.outer)
        if self.trace is not None:
            self.trace.usable(entry, arrival, verdict)
        if verdict is not DELIVERED:
            return verdict, None, None
        seq64 = entry.window.infer(arrival.seq)
        if self.trace is not None:
            self.trace.inferred(entry, arrival, seq64)
        if check_replay and not icv_first:
            verdict = self._check_sequence(entry, seq64, arrival.seq)
            if verdict is not DELIVERED:
                return verdict, seq64, None
        if entry.sa.limited and self.sad.check_expire(entry):
            return Verdict.EXPIRED, seq64, None
        if entry.used is None:  # before decryption
            entry.first_used(arrival.now)
        verdict, plaintext = self.open(entry, arrival, seq64)
        if plaintext is None:
            entry.refused(verdict)
            return verdict, seq64, None
        if check_replay and icv_first:
            verdict = self._check_sequence(entry, seq64, arrival.seq)
            if verdict is not DELIVERED:
                return verdict, seq64, None
        verdict, inner = self._deliver(entry, arrival, plaintext, seq64, seq64 if check_replay else None)
        return verdict, seq64, inner

    def _deliver(
        self, entry: SadEntry, arrival: Arrival, plaintext: bytes, seq64: int, moves_to: int | None
    ) -> tuple[Verdict, bytes | None]:
        """Steps 7 to 12, for an authentic packet: (verdict, delivered packet). `moves_to`: as `SadEntry.accepted`."""
        split = self.trailer(plaintext)
        if split is None:
            return Verdict.TRAILER, None
        length, next_header = split
        arrival.odd_padding = esp.odd_padding(plaintext, length)
        entry.accepted(length, moves_to)  # 3.4.3: it is authentic
        if self.trace is not None:
            self.trace.advanced(entry, seq64)
        verdict, inner = self.decap(entry, arrival, plaintext[:length], next_header, seq64)
        if inner is not None and self.policies is not None and arrival.inside is None:
            path = (*arrival.path, self.policies.as_opened(entry.sa, next_header))
            judged = self.policies.judge(inner, path, self.mark)
            if self.trace is not None:
                self.trace.judged(path, judged)
            if judged.verdict is not DELIVERED:
                return judged.verdict, None
        return verdict, inner

    def _clear(self, packet: bytes) -> Received[SadEntry] | None:
        """A packet that is not ESP: a policy may demand that it were. None: it is not judged."""
        judged = None if self.policies is None else self.policies.judge_clear(packet, self.ports, self.mark)
        if judged is not None and self.trace is not None:
            self.trace.judged((), judged)
        return None if judged is None else Received(judged.verdict, judged.counter)

    # -- the steps ----------------------------------------------------------------------------------------------

    def ready(self, entry: SadEntry, outer: Outer) -> Verdict:
        """xfrm_input: state, then encapsulation."""
        sa = entry.sa
        if entry.state is not _VALID or sa.keys is None:
            return Verdict.SA_LARVAL if entry.state is State.LARVAL else Verdict.SA_INVALID
        kind = None if sa.encap is None else sa.encap.kind
        return DELIVERED if kind == outer.encap or kind == ANY_ENCAP else Verdict.ENCAP_MISMATCH  # noqa: PLR1714

    def _check_sequence(self, entry: SadEntry, seq64: int, seq: int) -> Verdict:
        """3.4.3: may this number pass? The window does not move, because the packet may be forged."""
        verdict = entry.window.check(seq64, seq)
        if verdict is not DELIVERED:
            entry.refused(verdict)
        if self.trace is not None:
            self.trace.checked(entry, seq64, verdict)
        return verdict

    def open(self, entry: SadEntry, arrival: Arrival, seq64: int) -> tuple[Verdict, bytes | None]:
        """3.4.4: verify the ICV, then decrypt. The plaintext is None where the packet is refused."""
        keys = entry.sa.keys
        if keys is None:
            return Verdict.SA_INVALID, None
        packet, outer = arrival.packet, arrival.outer
        start = outer.esp + esp.HEADER_LENGTH
        body_at = start + keys.suite.iv_length
        if outer.cut or outer.end - body_at < keys.icv_length:
            return Verdict.TRUNCATED, None
        header, iv = packet[outer.esp : start], packet[start:body_at]
        seq_hi = pack_seq_hi(seq64) if entry.sa.esn else b""
        body = packet[body_at : outer.end]
        if self.trace is not None:
            self.trace.opening(entry, header, seq_hi, iv, body)
        try:
            plaintext = self.transforms.of(entry, keys).open(header, seq_hi, iv, body)
        except BlockError:
            return Verdict.TRUNCATED, None
        if self.trace is not None:
            self.trace.opened(entry, plaintext)
        return (Verdict.INTEGRITY, None) if plaintext is None else (DELIVERED, plaintext)

    def trailer(self, plaintext: bytes) -> tuple[int, int] | None:
        """2.4 to 2.6: (length of the payload, next header). None: the trailer is damaged, or it is a dummy packet."""
        split = esp.parse_trailer(plaintext)
        if self.trace is not None:
            self.trace.trailer(plaintext, split)
        return None if split is None or split[1] == PROTO_NONE else split

    def decap(
        self, entry: SadEntry, arrival: Arrival, payload: bytes, next_header: int, number: int, *, own: bool = False
    ) -> tuple[Verdict, bytes | None]:
        """RFC 4301 5.2: the inner packet; then the next layer of ESP, or the SAs' selectors."""
        sa = entry.sa
        if sa.mode is _IPTFS:
            return self.tunnels.receive(entry, arrival, payload, next_header, number, own=own), None
        inner = decapsulated(sa, arrival.packet, arrival.outer, payload, next_header, rfc6040=self.rfc6040)
        if self.trace is not None:
            self.trace.decapsulated(entry, arrival, inner)
        if inner is None:
            return Verdict.MODE, None
        if self.rfc6040 and drops_congested(sa, arrival.outer.tos, inner, next_header):
            return Verdict.ECN, None
        opened_as = sa if self.policies is None else self.policies.as_opened(sa, next_header)
        arrival.inside = self.nested.inside(arrival, opened_as, inner, next_header)
        if arrival.inside is not None:
            return DELIVERED, inner
        for each in (*arrival.path, sa) if arrival.path else (sa,):
            if each.selective and selector_refuses(each.selector, inner):
                return Verdict.POLICY, None
        return DELIVERED, inner
