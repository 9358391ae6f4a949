"""Outbound ESP, one packet at a time: RFC 4303 section 3.3, with Linux's choices (net/xfrm/xfrm_output.c).

1. 3.3.1  SA lookup                by selector; the most specific wins, then the newest
2. 3.3.2  padding                  TFC padding to `tfcpad` or the SA's MTU, then 1, 2, 3 ... up to the alignment
3.        length                   an outer length field has 16 bits; where an MTU is kept: fitting.py
4. 3.3.3  sequence number          one more than the last; refused at overflow; no number is used twice
5. 3.3.2  encryption, ICV
6.        headers                  UDP (RFC 3948), then the outer header (RFC 4301 5.1.2; RFC 6040 except for CE)
7. 3.3.4  fragmentation            only where an MTU is kept: fitting.py

An IV is never used twice with one key. The IVs of GCM-like suites are the sequence number XOR a random mask that is
drawn once an SA (seqiv). CBC's are random for each packet (RFC 3602 3).

What this does not do: it asks no policies and makes no bundle of SAs (host.py does both), makes no ESP in TCP and no
non-IKE encapsulation (STATE_INVALID), sends no NAT keepalives, and takes no fragment in transport mode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from espsim.aead.engine import Engine
from espsim.aead.suites import SuiteKeys, pack_seq_hi
from espsim.core.answers import Sent
from espsim.core.numbers import PROTO_AGGFRAG, PROTO_ESP, PROTO_IPIP, PROTO_IPV6, PROTO_UDP
from espsim.core.verdict import OutboundVerdict
from espsim.reference import beet
from espsim.reference.fitting import fit, ident_of, pieces, state_mtu
from espsim.reference.inner import flow
from espsim.reference.iptfs_out import Senders
from espsim.reference.trace import OUTBOUND_SILENT, OutboundTrace
from espsim.reference.transforms import Transforms
from espsim.sad.association import ESPINUDP, Direction, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.sad.lifetime import hard_time_passed
from espsim.sad.sad import Sad
from espsim.wire import esp, ipv4, ipv6, udp

# Looked up once: see core.verdict.DELIVERED.
_SEALED, _VALID = OutboundVerdict.SEALED, State.VALID
_ANY, _BEET, _IPTFS, _TUNNEL = Mode.ANY, Mode.BEET, Mode.IPTFS, Mode.TUNNEL
_WITH_OUTER_HEADER = (_TUNNEL, _BEET, _IPTFS)
_LOW = 0xFFFFFFFF
_TTL = 64
DEFAULT_MTU = 1500


class Outbound:
    """Seals packets under a SAD's outbound SAs. `random_bytes` draws masks and IVs; `mtu` bounds TFC padding.
    `engine` seals packets; None: `cryptography`.

    `rfc6040`: CE inside is CE outside, as that RFC states; Linux writes ECT(0).
    `keeps_mtu`: a packet that does not fit `mtu` is refused, cut or fragmented, as in Linux (fitting.py).
    `mark`: the packets' mark; None: marks are not compared. Without policies it stands for a policy's mark.
    `masks`: masks of counter-mode IVs by sa_index, drawn once an SA. Anything else that seals for these SAs must use
    them.
    """

    def __init__(
        self, sad: Sad, random_bytes: Callable[[int], bytes], *, mtu: int = DEFAULT_MTU, mark: int | None = 0,
        trace: OutboundTrace = OUTBOUND_SILENT, engine: Engine | None = None, keeps_mtu: bool = False,
        rfc6040: bool = False,
    ) -> None:  # fmt: skip
        self.sad = sad
        self.transforms = Transforms(engine)
        self.trace = trace
        self.mark = mark
        self.mtu = mtu
        self.keeps_mtu = keeps_mtu
        self.rfc6040 = rfc6040
        self.random_bytes = random_bytes
        self.masks: dict[int, int] = {}
        self.senders = Senders(self._aggregate)
        self._ambiguous: set[int] = set()

    @property
    def ambiguous(self) -> bool:
        """Whether some packet fitted several SAs equally well, so that the newest was taken."""
        return bool(self._ambiguous)

    def send(self, packet: bytes, now: float = 0.0) -> Sent[SadEntry] | None:
        """Seal one IP packet at `now` (seconds). None: it is not IP."""
        facts = flow(packet)
        if facts is None:
            return None
        entry = self._choose(facts)
        self.trace.chosen(packet, entry)
        if entry is None:
            return Sent(OutboundVerdict.NO_SA)
        return self.send_with(entry, packet, now)

    def send_with(
        self, entry: SadEntry, packet: bytes, now: float = 0.0, iv: bytes | None = None, *, part: bool = False
    ) -> Sent[SadEntry]:
        """Seal one IP packet under one SA. `iv` is for known answers; two packets must never share one.

        `part`: the packet is a part of one that was cut, and fits.
        """
        packet = trimmed(packet)
        sa = entry.sa
        if entry.state is not _VALID or sa.keys is None:
            return Sent(OutboundVerdict.STATE_INVALID, entry)
        if sa.mode is _ANY or (sa.encap is not None and sa.encap.kind != ESPINUDP):
            # Mode.ANY states no mode; ESP in TCP and non-IKE encapsulation are not made here.
            return Sent(OutboundVerdict.STATE_INVALID, entry)
        if sa.limited and hard_time_passed(sa.limits, now, entry.added, entry.used):
            self.sad.expire(entry)
            return Sent(OutboundVerdict.NO_SA)
        if sa.mode is _IPTFS:
            return self.senders.send(entry, packet, now, self.mtu)
        split = _payload_of(sa, packet)
        if split is None:
            return Sent(OutboundVerdict.FRAGMENT, entry)
        return self._emit(entry, sa.keys, packet, split, now, iv=iv, part=part)

    def _emit(
        self, entry: SadEntry, keys: SuiteKeys, packet: bytes, split: tuple[bytes, int], now: float, *,
        iv: bytes | None = None, part: bool = False,
    ) -> Sent[SadEntry]:  # fmt: skip
        """Steps 2 to 7. `split`: (what goes inside ESP, next header); `packet`: the clear packet, for its headers."""
        sa = entry.sa
        payload, next_header = split
        padded = payload + bytes(self._tfc_length(sa, len(payload)))
        plaintext = padded + esp.emit_trailer(len(padded), next_header, sa.aligned)
        self.trace.padded(entry, payload, next_header, plaintext)
        length = _wrapped_length(sa, packet, len(plaintext))
        if length > 0xFFFF:
            return Sent(OutboundVerdict.TOO_BIG, entry)
        if self.keeps_mtu and not part:
            total = length + (0 if len(sa.dst) == 4 else ipv6.HEADER_LENGTH)
            found = fit(sa, packet, total, self.mtu, ident_of(sa, entry.oseq + 1))
            if found.verdict is not None:
                return Sent(found.verdict, entry)
            if found.inside:
                return self._send_cut(entry, found.inside, now)
        if sa.limited and self.sad.check_expire(entry):
            return Sent(OutboundVerdict.EXPIRED, entry)
        seq64 = entry.next_number()  # 3.3.3
        self.trace.numbered(entry, seq64)
        if seq64 is None:
            return Sent(OutboundVerdict.SEQ_OVERFLOW, entry)
        entry.sent(len(payload), now)
        header = esp.emit(sa.spi, seq64 & _LOW)
        iv = self._iv(entry, seq64) if iv is None else iv
        seq_hi = pack_seq_hi(seq64) if sa.esn else b""
        body = self.transforms.of(entry, keys).seal(header, seq_hi, iv, plaintext)
        self.trace.sealed(entry, header, seq_hi, iv, body)
        wire = _wrap(sa, packet, header + iv + body, seq64, rfc6040=self.rfc6040)
        self.trace.wrapped(entry, wire)
        cut = pieces(sa, wire, self.mtu, ident_of(sa, seq64)) if self.keeps_mtu else ()
        if cut:
            self.trace.fragmented(entry, cut)
        return Sent(_SEALED, entry, seq64, wire, cut)

    def _send_cut(self, entry: SadEntry, inside: tuple[bytes, ...], now: float) -> Sent[SadEntry]:
        """Seal the fragments of one datagram, each by itself, up to one that fails. Only the first one is traced."""
        self.trace.cut_inside(entry, inside)
        trace, sent = self.trace, []
        try:
            for fragment in inside:
                sent.append(self.send_with(entry, fragment, now, part=True))
                self.trace = OUTBOUND_SILENT
                if sent[-1].verdict is not OutboundVerdict.SEALED:
                    return replace(sent[-1], also=tuple(sent[:-1]))
        finally:
            self.trace = trace
        return replace(sent[0], also=tuple(sent[1:]))

    def _aggregate(self, entry: SadEntry, payload: bytes, now: float) -> Sent[SadEntry]:
        """Seal one AGGFRAG payload of IP-TFS."""
        if entry.sa.keys is None:
            return Sent(OutboundVerdict.STATE_INVALID, entry)
        return self._emit(entry, entry.sa.keys, b"", (payload, PROTO_AGGFRAG), now, part=True)

    # -- the steps ----------------------------------------------------------------------------------------------

    def _choose(self, facts: tuple[bytes, bytes, int, int, int]) -> SadEntry | None:
        """3.3.1: the SA whose selector takes the packet. A transport SA must have the packet's own addresses, too."""
        best: SadEntry | None = None
        best_rank = -1
        tied = False
        for entry in self.sad:
            sa = entry.sa
            if sa.proto != PROTO_ESP or sa.dir is Direction.IN or entry.state is not State.VALID:
                continue
            if not sa.mark.matches(self.mark):
                continue
            if sa.mode is Mode.TRANSPORT and (sa.src, sa.dst) != facts[:2]:
                continue
            if sa.mode is Mode.BEET and (sa.inner_ends is None or len(sa.inner_ends[0]) != len(facts[0])):
                continue
            if not sa.selector.matches(*facts):
                continue
            s = sa.selector
            rank = s.src_prefix + s.dst_prefix + 8 * bool(s.proto) + 16 * bool(s.sport_mask) + 16 * bool(s.dport_mask)
            if sa.mode is Mode.TRANSPORT:
                rank += 1000
            tied = (tied and rank <= best_rank) or rank == best_rank
            if rank >= best_rank:
                best, best_rank = entry, rank
        if tied and best is not None:
            self._ambiguous.add(best.sa_index)
        return best

    def _tfc_length(self, sa: SecurityAssociation, length: int) -> int:
        """Bytes of TFC padding, up to min(tfcpad, the SA's MTU); none for a longer packet (esp_output, esp4.c)."""
        if not sa.tfcpad:
            return 0
        return max(min(sa.tfcpad, state_mtu(sa, self.mtu)) - length, 0)

    def _iv(self, entry: SadEntry, seq64: int) -> bytes:
        keys = entry.sa.keys
        if keys is None or not keys.suite.iv_length:
            return b""
        if not keys.suite.unique_iv:
            return self.random_bytes(keys.suite.iv_length)
        mask = self.masks.get(entry.sa_index)
        if mask is None:
            mask = self.masks[entry.sa_index] = int.from_bytes(self.random_bytes(8))
        return (mask ^ seq64).to_bytes(8)


def trimmed(packet: bytes) -> bytes:
    """The IP packet without a link layer's padding, by the length in its header. A length too small is ignored."""
    if packet[0] >> 4 == 4:
        length = ipv4.total_length(packet)
        return packet[:length] if length >= ipv4.HEADER_LENGTH else packet
    length = ipv6.total_length(packet)
    return packet[:length] if length > ipv6.HEADER_LENGTH else packet


def _payload_of(sa: SecurityAssociation, packet: bytes) -> tuple[bytes, int] | None:
    """(what goes inside ESP, its next header). None: a fragment or a broken header; tunnel mode takes both."""
    v4 = packet[0] >> 4 == 4
    if sa.mode is _BEET:
        return beet.inside(packet)
    if sa.mode is _TUNNEL:
        return packet, PROTO_IPIP if v4 else PROTO_IPV6
    if v4:
        if ipv4.flags(packet) & ipv4.FRAGMENT_MASK:
            return None
        if not ipv4.HEADER_LENGTH <= ipv4.length(packet) <= len(packet):
            return None
        return packet[ipv4.length(packet) :], packet[ipv4.PROTOCOL]
    place = ipv6.transport_insertion(packet)
    return (packet[place[0] :], packet[place[1]]) if place else None


def _wrapped_length(sa: SecurityAssociation, packet: bytes, length: int) -> int:
    """The length that the outer header must state, for `length` bytes of plaintext."""
    if sa.keys is None:
        return length
    udp_length = udp.HEADER_LENGTH if sa.encap is not None else 0
    length += esp.HEADER_LENGTH + sa.keys.suite.iv_length + sa.keys.icv_length + udp_length
    if sa.mode in _WITH_OUTER_HEADER:
        return length + (ipv4.HEADER_LENGTH if len(sa.dst) == 4 else 0)
    if packet[0] >> 4 == 4:
        return length + ipv4.length(packet)
    place = ipv6.transport_insertion(packet)
    return length + (place[0] - ipv6.HEADER_LENGTH if place else 0)


def _wrap(sa: SecurityAssociation, packet: bytes, sealed: bytes, seq64: int, *, rfc6040: bool = False) -> bytes:
    """Add UDP, where the SA says so, and the outer IP header."""
    proto = PROTO_ESP
    if sa.encap is not None and sa.encap.kind == ESPINUDP:
        addresses = (sa.src, sa.dst) if len(sa.dst) == 16 else None
        sealed = udp.emit(sa.encap.sport, sa.encap.dport, sealed, addresses)
        proto = PROTO_UDP
    if sa.mode is _TUNNEL:
        return _tunnel_header(sa, packet, proto, len(sealed), seq64, rfc6040=rfc6040) + sealed
    if sa.mode is Mode.IPTFS:
        return _iptfs_header(sa, proto, len(sealed)) + sealed
    if sa.mode is Mode.BEET:
        return beet.outer_header(sa, packet, proto, len(sealed)) + sealed
    if len(sa.dst) == 4:
        return ipv4.with_payload(packet[: ipv4.length(packet)], proto, sealed)
    place = ipv6.transport_insertion(packet)
    at, pointer = place or (ipv6.HEADER_LENGTH, ipv6.NEXT_HEADER)
    return ipv6.with_payload(packet[:at], pointer, proto, sealed)


def _tunnel_header(
    sa: SecurityAssociation, packet: bytes, proto: int, length: int, seq64: int, *, rfc6040: bool = False
) -> bytes:
    """RFC 4301 5.1.2 as Linux builds it (xfrm4_tunnel_encap_add, xfrm6_tunnel_encap_add)."""
    v4 = packet[0] >> 4 == 4
    inner_tos = packet[ipv4.TOS] if v4 else ipv6.traffic_class(packet)
    ecn = inner_tos & 3
    if "noecn" in sa.flags:
        ecn = 0
    elif ecn == 3 and not rfc6040:
        ecn = 2  # INET_ECN_encapsulate: CE goes out as ECT(0)
    dscp = 0 if "dont-encap-dscp" in sa.extra_flags else inner_tos & 0xFC
    if len(sa.dst) == 4:
        keeps_df = not v4 or ipv4.flags(packet) & ipv4.DF
        flags = ipv4.DF if keeps_df and "nopmtudisc" not in sa.flags else 0
        return ipv4.emit(
            tos=dscp | ecn, payload_length=length, ident=0 if flags else seq64 & 0xFFFF, flags=flags, ttl=_TTL,
            proto=proto, src=sa.src, dst=sa.dst,
        )  # fmt: skip
    flow_label = 0 if v4 else ipv6.flow_label(packet)
    return ipv6.emit(
        traffic_class=dscp | ecn, flow=flow_label, payload_length=length, next_header=proto, hops=_TTL,
        src=sa.src, dst=sa.dst,
    )  # fmt: skip


def _iptfs_header(sa: SecurityAssociation, proto: int, length: int) -> bytes:
    """The outer header of IP-TFS. It copies nothing from inner packets, which may be several, or parts.

    Sources: Linux iptfs_encap_add_ipv4, iptfs_encap_add_ipv6.
    """
    if len(sa.dst) == 4:
        return ipv4.emit(
            tos=0, payload_length=length, ident=0, flags=ipv4.DF, ttl=_TTL, proto=proto, src=sa.src, dst=sa.dst
        )
    return ipv6.emit(
        traffic_class=0, flow=0, payload_length=length, next_header=proto, hops=_TTL, src=sa.src, dst=sa.dst
    )
