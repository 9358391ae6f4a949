"""One outbound packet as steps (`OutboundTrace`): from the clear packet to the packet on the wire.

Offsets count from the first byte of the packet on the wire. The clear packet's bytes have no offset.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from espsim.core.answers import Sent
from espsim.core.numbers import PROTO_AGGFRAG, PROTO_BEETPH
from espsim.core.verdict import OutboundVerdict
from espsim.explain.aggfrag import payload_steps
from espsim.explain.crypto import Crypto
from espsim.explain.frames import SeenFrame
from espsim.explain.headers import ip_steps, protocol, udp_step
from espsim.explain.inbound import inner_steps, sa_fields
from espsim.explain.keys import Shown
from espsim.explain.shown import shown_selector
from espsim.explain.steps import Bytes, Field, Places, Step, fact
from espsim.reference.fitting import inner_mtu, outer_mtu
from espsim.reference.outbound import Outbound, trimmed
from espsim.reference.trace import OutboundTrace
from espsim.sad.association import ESPINUDP, Mode
from espsim.sad.entry import SadEntry
from espsim.wire import esp, udp

_LOW = 0xFFFFFFFF
_OUTPUT = "RFC 4303 3.3"


class OutboundSteps(OutboundTrace):
    """Makes the steps of one packet's run through `outbound`, and keeps what the result needs."""

    def __init__(self, outbound: Outbound, *, show_keys: bool) -> None:
        self.steps: list[Step] = []
        self.crypto: Crypto | None = None
        self.plaintext: bytes | None = None
        self._outbound = outbound
        self._show = show_keys
        self.number: int | None = None
        self._done = False
        self._sealed: tuple[bytes, bytes, bytes, bytes] | None = None

    def chosen(self, packet: bytes, entry: SadEntry | None) -> None:
        """The SA that the selectors choose."""
        self.steps += inner_steps(trimmed(packet))
        mark = self._outbound.mark
        fields = [
            fact("SAs in the SAD", len(self._outbound.sad)),
            fact("mark", "not asked" if mark is None else f"0x{mark:x}"),
        ]
        if entry is None:
            says = "no SA that may send has a selector (and in transport mode the addresses) for it"
        else:
            fields.append(fact("selector", shown_selector(entry.sa.selector)))
            says = f"{entry.sa.name}: the most specific selector that takes it, the newest of equals"
        self.steps.append(Step("policy", "RFC 4301 5.1, RFC 4303 3.3.1", says, tuple(fields)))
        if entry is not None:
            fields = sa_fields(entry, show_keys=self._show)
            self.steps.append(Step("SA", "RFC 4301 4.4.2.1", f"{entry.sa.mode.value} mode", tuple(fields)))

    def padded(self, entry: SadEntry, payload: bytes, next_header: int, plaintext: bytes) -> None:
        """Payload, TFC padding, padding, pad length, next header."""
        if next_header == PROTO_AGGFRAG:
            self.steps += payload_steps(payload)
            if self._done:
                return
        self.plaintext = plaintext
        it, pad, end = Bytes(plaintext), plaintext[-2], len(plaintext) - 2
        tfc = end - pad - len(payload)
        fields = [
            it.field("payload", 0, len(payload), f"{len(payload)} bytes"),
            *([it.field("TFC padding", len(payload), tfc, f"{tfc} bytes")] if tfc else []),
            *([it.field("padding", end - pad, pad, "1, 2, 3, ...")] if pad else []),
            it.field("pad length", end, 1),
            it.field("next header", end + 1, 1, protocol(next_header)),
        ]
        what = "the whole packet" if entry.sa.mode is Mode.TUNNEL else "what follows the IP header"
        if next_header == PROTO_AGGFRAG:
            what = "an AGGFRAG payload"
        if next_header == PROTO_BEETPH:
            what = "a pseudo header, the IPv4 options, and what follows the IP header"
        says = f"{what}, padded to a multiple of {entry.sa.aligned}: {len(plaintext)} bytes"
        whole = Field("plaintext", None, len(plaintext), plaintext.hex(), f"{len(plaintext)} bytes")
        self.steps.append(Step("payload and trailer", f"{_OUTPUT}.2, 2.4-2.7", says, (*fields, whole)))

    def numbered(self, entry: SadEntry, seq64: int | None) -> None:
        """The sequence number, one more than the last."""
        if self._done:
            return
        self.number = seq64
        limit = "2^64" if entry.sa.esn else "2^32"
        if seq64 is None:
            says = f"the counter is at its end ({limit} - 1), and a number is never used twice"
            self.steps.append(Step("sequence number", f"{_OUTPUT}.3", says))
            return
        fields = [fact("seq64", seq64), fact("on the wire", seq64 & _LOW)]
        if entry.sa.esn:
            fields.append(fact("ESN's high half", seq64 >> 32))
        says = f"{seq64}, one more than the SA's last"
        self.steps.append(Step("sequence number", f"{_OUTPUT}.3", says, tuple(fields)))

    def sealed(self, entry: SadEntry, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> None:
        """Keep the sealed bytes. Their offsets are known when the packet around them is made."""
        if not self._done:
            self._sealed = header, seq_hi, iv, body

    def wrapped(self, entry: SadEntry, packet: bytes) -> None:
        """IV, nonce, AAD, ICV, and the packet's headers."""
        keys = entry.sa.keys
        if keys is None or self._sealed is None or self.plaintext is None or self._done:
            return
        self._done = entry.sa.mode is Mode.IPTFS  # of the outer packets after the first only the payloads are shown
        header, seq_hi, iv, body = self._sealed
        wire = Bytes(packet, Places())
        at = len(packet) - len(header) - len(iv) - len(body)
        crypto = self.crypto = Crypto(Shown(keys, self._show), wire, at, header, seq_hi, iv, body)
        again = crypto.encrypt_again(self.plaintext)
        payload, icv = crypto.payload_step(), crypto.icv_step(crypto.icv)
        self.steps += [_header_step(wire, at), _iv_step(crypto, wire), *crypto.input_steps()]
        sealed = Step("encryption", f"{_OUTPUT}.2", payload.says, payload.fields, (again,) if again else ())
        fields = tuple(field for field in icv.fields if field.name == "received")
        fields = tuple(Field("ICV", f.offset, f.length, f.hex, f"{8 * f.length} bits") for f in fields)
        says = f"{crypto.icv.hex()} goes after the ciphertext" if crypto.icv else "none: nothing is authenticated"
        self.steps += [sealed, Step("ICV", f"{_OUTPUT}.2", says, fields, icv.repeat)]
        self._outer(entry, wire, at)

    def fragmented(self, entry: SadEntry, pieces: tuple[bytes, ...]) -> None:
        """The fragments that leave instead of the packet."""
        fields = tuple(fact(f"fragment {n}", f"{len(piece)} bytes") for n, piece in enumerate(pieces, 1))
        most = outer_mtu(entry.sa, self._outbound.mtu)
        says = f"more than the {most} bytes that fit: it leaves in {len(pieces)} fragments, cut after it was sealed"
        self.steps.append(Step("fragmentation outside", "RFC 4303 3.3.4, RFC 791, RFC 8200 4.5", says, fields))

    def cut_inside(self, entry: SadEntry, inside: tuple[bytes, ...]) -> None:
        """The fragments that are sealed one by one."""
        fields = tuple(fact(f"fragment {n}", f"{len(piece)} bytes") for n, piece in enumerate(inside, 1))
        most = inner_mtu(entry.sa, self._outbound.mtu)
        says = f"more than the {most} bytes that fit inside: cut into {len(inside)} fragments, each sealed by itself;"
        self.steps.append(
            Step("fragmentation inside", "RFC 8200 5, net/ipv6/xfrm6_output.c", f"{says} the first follows", fields)
        )

    def _outer(self, entry: SadEntry, wire: Bytes, at: int) -> None:
        """The headers in front of ESP."""
        encap = entry.sa.encap
        if encap is not None and encap.kind == ESPINUDP:
            header = udp_step(wire.data, at - udp.HEADER_LENGTH, wire.places, "outer ", esp=True)
            self.steps += [header] if header else []
        prefix = "changed " if entry.sa.mode is Mode.TRANSPORT else "outer "
        self.steps += ip_steps(wire.data, wire.places, prefix)


def _header_step(wire: Bytes, at: int) -> Step:
    spi, seq = esp.parse(wire.data, at)
    fields = (wire.field("SPI", at, 4, f"0x{spi:08x}"), wire.field("sequence number", at + 4, 4, seq))
    return Step("ESP header", "RFC 4303 2.1-2.2", f"SPI 0x{spi:08x}, sequence number {seq}", fields)


def _iv_step(crypto: Crypto, wire: Bytes) -> Step:
    suite = crypto.shown.keys.suite
    if suite.implicit_iv:
        return Step("IV", "RFC 8750 4", "implicit: the sequence number in 64 bits, of which nothing is sent")
    if not crypto.iv:
        return Step("IV", "RFC 2410 3.1", "none")
    field = wire.field("IV", crypto.at + esp.HEADER_LENGTH, len(crypto.iv), f"{len(crypto.iv)} bytes")
    if not suite.unique_iv:
        return Step("IV", "RFC 3602 3", "random for each packet", (field,))
    says = "the sequence number under a random mask, so that no IV is used twice with one key (Linux's seqiv)"
    return Step("IV", "RFC 3686 3.1" if crypto.counter else "RFC 4106 3.1", says, (field,))


@dataclass(slots=True)
class Sealed:
    """One clear packet explained, as `packet.Explained` does. `sent.packet` is the packet on the wire."""

    seen: SeenFrame
    sent: Sent[SadEntry]
    told: OutboundSteps

    def as_dict(self) -> dict[str, Any]:
        """The JSON of `espsim explain --seal`, the engine left out. `bytes` is the wire's packet, if there is one."""
        sent, crypto = self.sent, self.told.crypto
        spi = sent.entry.sa.spi if sent.entry is not None else None
        wire = sent.packet if sent.outers is None else next(iter(sent.outers), None)
        return {
            "frame": self.seen.frame.number,
            "frames": [self.seen.frame.number],
            "verdict": sent.verdict.name,
            "linux_counter": sent.counter,
            "cause": None,
            "detail": None,
            "sa": sent.entry.sa.name if sent.entry is not None else None,
            "spi": spi,
            "spi_hex": f"0x{spi:08x}" if spi is not None else None,
            "seq": sent.seq64 & _LOW if sent.seq64 is not None else None,
            "seq64": sent.seq64,
            "nonce": _hex(crypto.nonce if crypto else None),
            "aad": _hex(crypto.aad if crypto else None),
            "icv": _hex(crypto.icv if crypto else None),
            "icv_expected": _hex(crypto.icv if crypto else None),
            "plaintext": _hex(self.told.plaintext),
            "inner": _hex(trimmed(self.seen.frame.ip or b"")),
            "packet": _hex(wire),
            **({"packets": [outer.hex() for outer in sent.outers]} if sent.outers is not None else {}),
            "leaves": [packet.hex() for packet in sent.wire()],
            "steps": [step.as_dict() for step in self.told.steps],
            "bytes": (wire if wire is not None else self.seen.record.data).hex(),
            "wire_length": len(wire) if wire is not None else self.seen.record.wire,
        }


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()


def _leave(outbound: Outbound, sent: Sent[SadEntry], entry: SadEntry, told: OutboundSteps) -> None:
    """Send what waits in IP-TFS's queue, because frames after this one are not read."""
    delay = entry.sa.aggregation.init_delay
    if delay and sent.verdict is OutboundVerdict.SEALED:
        says = f"packets wait {delay / 1000:g} ms for others (init-delay); here it leaves now, with what came before"
        told.steps.append(
            Step("queue", "RFC 9347 2.1", says, (fact("max-queue-size", entry.sa.aggregation.max_qsize),))
        )
    waited = (p for leaves in outbound.senders.elapse(math.inf) if leaves.entry is entry for p in leaves.packets)
    sent.outers = (*sent.wire(), *waited)
    sent.seq64 = told.number


def seal_frame(outbound: Outbound, seen: SeenFrame, *, show_keys: bool = False) -> Sealed | None:
    """Seal a frame's packet through `outbound`, with its steps, the verdict last. None: it is not IP."""
    packet = seen.frame.ip
    if packet is None:
        return None
    told = OutboundSteps(outbound, show_keys=show_keys)
    before, outbound.trace = outbound.trace, told
    try:
        sent = outbound.send(packet, seen.record.time_ns / 1e9)
        if sent is not None and sent.outers is not None and sent.entry is not None:
            _leave(outbound, sent, sent.entry, told)
    finally:
        outbound.trace = before
    if sent is None:
        return None
    fields = (fact("Linux counter", sent.counter or "none moves"),)
    says = f"{sent.verdict.name}: {sent.verdict.sentence}"
    if sent.verdict is OutboundVerdict.SEALED and (sent.packet is not None or sent.outers):
        leaves = list(sent.wire())
        says += f"; {sum(map(len, leaves))} bytes on the wire" + (f" in {len(leaves)} packets" if leaves[1:] else "")
    if sent.verdict in (OutboundVerdict.PMTU, OutboundVerdict.PMTU_SENDER) and sent.entry is not None:
        most = inner_mtu(sent.entry.sa, outbound.mtu)
        says += f"; the largest inner packet that fits is {most} bytes" if most else "; no packet fits"
    told.steps.append(Step("verdict", "net/xfrm/xfrm_output.c", says, fields))
    return Sealed(seen, sent, told)
