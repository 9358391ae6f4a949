"""One inbound packet as steps: each call of `InboundTrace` becomes a sentence, bytes, and commands that compute them
again.

The headers come first (`header_steps`), because a packet may be refused before ESP is looked at. Then come the
reference path's steps as they run. `verdict_step` is the last. Plaintext is shown only if its ICV was right.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from espsim.aead.cryptography_engine import CryptographyEngine
from espsim.aead.icv import computed_icv
from espsim.core.address import format_address
from espsim.core.answers import Received
from espsim.core.numbers import PROTO_ESP, PROTO_NONE, PROTO_UDP
from espsim.core.verdict import Verdict
from espsim.explain.aggfrag import opened_steps
from espsim.explain.crypto import Crypto
from espsim.explain.headers import ip_steps, protocol, udp_step
from espsim.explain.keys import Shown
from espsim.explain.policies import policy_step
from espsim.explain.steps import Bytes, Field, Places, Step, Tell, fact
from espsim.explain.windows import advance_step, check_step, esn_step
from espsim.reference.inbound import Inbound
from espsim.reference.inner import mode_of
from espsim.reference.outer import Arrival, Outer, parse_outer
from espsim.reference.trace import InboundTrace
from espsim.sad.association import Mode
from espsim.sad.entry import SadEntry
from espsim.sad.longest import LongestLookup
from espsim.wire import esp, ipv4, ipv6

if TYPE_CHECKING:
    from espsim.offload.device import Answer, Device, PacketKey
    from espsim.reference.iptfs_in import Opened
    from espsim.reference.policies import Judged, Path

_MOST_OTHERS = 8
"""How many SAs with the packet's SPI the lookup step names."""
_TRAILER = 2
"""Bytes of pad length and next header."""
_INSIDE = {
    Mode.TUNNEL: "what was encrypted",
    Mode.TRANSPORT: "the payload after the packet's own IP header",
    Mode.BEET: "the payload after a header made of the outer one and of the selector's addresses",
}
_MISFIT = {
    Mode.TUNNEL: "tunnel mode needs next header 4 or 41 and an IP header after it",
    Mode.IPTFS: "iptfs mode needs next header 144, an AGGFRAG payload",
    Mode.BEET: "beet mode needs a selector's pair of addresses, and a whole pseudo header where next header 94 says so",
}
"""What a packet needs to fit an SA's mode. Any packet fits transport mode."""


def header_steps(packet: bytes, ports: Collection[int], places: Places) -> list[Step]:
    """The headers before ESP, field by field. `ports`: the UDP ports that carry ESP."""
    steps = ip_steps(packet, places)
    outer = parse_outer(packet, ports)
    if outer is not None and outer.ports is not None:
        header = udp_step(packet, outer.headers, places, esp=True)
        steps += [header] if header else []
    return steps


class InboundSteps(InboundTrace):
    """Makes the steps of one packet's run through `inbound`, and keeps what the result needs.

    `nonce`, `aad`, `icv`, `expected` and `plaintext` are None until the run reaches them.
    """

    def __init__(self, inbound: Inbound, tell: Tell, places: Places, *, show_keys: bool) -> None:
        self.nonce: bytes | None = None
        self.aad: bytes | None = None
        self.icv: bytes | None = None
        self.expected: bytes | None = None
        self.plaintext: bytes | None = None
        self._inbound = inbound
        self._own = False
        self._tell = tell
        self._places: Places | None = places
        self._show = show_keys
        self._top = 0
        self._next_header = 0
        self._wire = Bytes(b"", places)
        self._at = 0
        self._crypto: Crypto | None = None

    # -- before the packet is opened --------------------------------------------------------------------------------

    def parsed(self, arrival: Arrival) -> None:
        """SPI and sequence number."""
        self._wire, self._at = Bytes(arrival.packet, self._places), arrival.outer.esp
        length = arrival.outer.end - self._at
        protected = length - esp.HEADER_LENGTH
        fields = (
            self._wire.field("SPI", self._at, 4, f"0x{arrival.spi:08x}"),
            self._wire.field("sequence number", self._at + 4, 4),
            fact("IV, ciphertext, ICV", f"{protected} bytes; the SA says where each ends"),
        )
        says = f"{length} bytes of ESP: SPI 0x{arrival.spi:08x}, sequence number {arrival.seq}"
        self._tell(Step("ESP header", "RFC 4303 2.1-2.2", says, fields))

    def looked_up(self, arrival: Arrival, entry: SadEntry | None) -> None:
        """The lookup's key, the SA, and the other SAs with the SPI."""
        sad, outer = self._inbound.sad, arrival.outer
        key = f"(0x{arrival.spi:08x}, esp, {format_address(outer.dst)})"
        mark = "not asked" if self._inbound.mark is None else f"0x{self._inbound.mark:x}"
        fields = [
            self._destination(outer),
            self._wire.field("SPI", self._at, 4, f"0x{arrival.spi:08x}"),
            fact("protocol", protocol(PROTO_ESP)),
            fact("mark", mark),
            fact("SAs in the SAD", len(sad)),
        ]
        others = [other for other in sad.with_spi(arrival.spi) if other is not entry]
        fields += [fact("also has this SPI", _other(other, outer)) for other in others[:_MOST_OTHERS]]
        if len(others) > _MOST_OTHERS:
            fields.append(fact("also have this SPI", f"{len(others) - _MOST_OTHERS} more"))
        longest = isinstance(sad.policy, LongestLookup)
        if longest:
            fields.insert(1, self._wire.field("source", *_source(outer), format_address(outer.src)))
        how = "longest match of destination and source" if longest else "the newest of equals"
        says = f"{key}, {how} -> {entry.sa.name if entry else 'no SA'}"
        self._tell(Step("lookup", "RFC 4303 3.4.2" if not longest else "RFC 4301 4.1", says, tuple(fields)))

    def own(self, arrival: Arrival, _entry: SadEntry | None) -> None:
        """This host sent the packet, so no window is asked."""
        self._own = True
        how = "the capture says outgoing" if arrival.outgoing else "its addresses are the outbound SA's"
        says = f"this host sent it ({how}): no window, no lifetime, no counter of Linux's"
        self._tell(Step("own traffic", "packet(7), PACKET_OUTGOING", says, ()))

    def steered(self, device: Device, key: PacketKey, answer: Answer) -> None:
        """What the modelled device looked at, and which SA's context it found."""
        facts = device.told(key, answer)
        says = f"{answer.reached.name}: {_what_next(device, answer)}"
        self._tell(Step("device", f"model {device.model.id}", says, tuple(fact(*each) for each in facts)))

    def usable(self, entry: SadEntry, arrival: Arrival, verdict: Verdict) -> None:
        """The SA, and whether it may be used."""
        fields = sa_fields(entry, show_keys=self._show)
        fine = "direction, state and encapsulation fit the packet"
        says = fine if verdict is Verdict.DELIVERED else verdict.sentence
        self._tell(Step("SA", "RFC 4301 4.4.2.1", says, tuple(fields)))

    def inferred(self, entry: SadEntry, arrival: Arrival, seq64: int) -> None:
        """ESN's high half, which is not on the wire."""
        self._top = entry.window.top
        if self._own:
            if entry.sa.esn:
                says = f"the number nearest to what this host has sent: {seq64}"
                self._tell(Step("ESN", "RFC 4303 2.2.1", says, (fact("high half", seq64 >> 32),)))
        elif entry.sa.esn:
            self._tell(esn_step(entry.window, arrival.seq, seq64))

    def checked(self, entry: SadEntry, seq64: int, verdict: Verdict) -> None:
        """The window before the packet."""
        self._tell(check_step(entry, seq64, verdict))

    def judged(self, path: Path, judged: Judged) -> None:
        """What the policies say."""
        self._tell(policy_step(path, judged))

    # -- the ICV and what is inside ---------------------------------------------------------------------------------

    def opening(self, entry: SadEntry, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> None:
        """IV, ciphertext and ICV; nonce and AAD, or the MAC's input; the received and the computed ICV."""
        keys = entry.sa.keys
        if keys is None:
            return
        crypto = Crypto(Shown(keys, self._show), self._wire, self._at, header, seq_hi, iv, body)
        self._crypto = crypto
        self.nonce, self.aad, self.icv = crypto.nonce, crypto.aad, crypto.icv
        self.expected = computed_icv(
            keys, CryptographyEngine().transform(keys), header, seq_hi, iv, ciphertext=crypto.ciphertext
        )
        for step in (crypto.payload_step(), *crypto.input_steps(), crypto.icv_step(self.expected)):
            self._tell(step)

    def opened(self, entry: SadEntry, plaintext: bytes | None) -> None:
        """The plaintext, if the ICV is right. Otherwise it is not shown."""
        self.plaintext = plaintext
        if plaintext is None or self._crypto is None:
            return
        says = f"{len(plaintext)} bytes: payload, padding, pad length, next header"
        fields = (Field("plaintext", None, len(plaintext), plaintext.hex(), f"{len(plaintext)} bytes"),)
        again = self._crypto.decrypt_again()
        self._tell(Step("decryption", "RFC 4303 3.4.4", says, fields, (again,) if again else ()))

    def trailer(self, plaintext: bytes, split: tuple[int, int] | None) -> None:
        """Padding, pad length and next header."""
        self._next_header = split[1] if split is not None else 0
        self._tell(trailer_step(plaintext, split))

    def advanced(self, entry: SadEntry, seq64: int) -> None:
        """The window after the packet."""
        self._tell(advance_step(entry, seq64, self._top))

    def again(self, arrival: Arrival) -> None:
        """The packet inside is ESP to this host. Its bytes are not in the frame."""
        self._places = None
        self._own = arrival.own
        says = f"what is inside is ESP to this host, which receives it again: layer {len(arrival.path) + 1}"
        self._tell(Step("received again", "net/xfrm/xfrm_input.c", says))

    def aggregated(self, entry: SadEntry, arrival: Arrival, payload: bytes, opened: Opened) -> None:
        """An AGGFRAG payload, block by block, and the inner packets."""
        for step in opened_steps(entry.sa, payload, opened):
            self._tell(step)

    def decapsulated(self, entry: SadEntry, arrival: Arrival, inner: bytes | None) -> None:
        """The packet inside, its headers field by field."""
        mode = mode_of(entry.sa, self._next_header)
        if inner is None:
            says = _MISFIT[mode]
            self._tell(Step("inner packet", "RFC 4301 5.2", says))
            return
        says = f"{mode.value} mode: {len(inner)} bytes, {_INSIDE[mode]}"
        whole = Field("inner packet", None, len(inner), inner.hex(), f"{len(inner)} bytes")
        self._tell(Step("inner packet", "RFC 4301 5.2", says, (whole,)))
        for step in inner_steps(inner):
            self._tell(step)

    # -- parts ------------------------------------------------------------------------------------------------------

    def _destination(self, outer: Outer) -> Field:
        at = 16 if len(outer.dst) == 4 else 24
        return self._wire.field("destination", at, len(outer.dst), format_address(outer.dst))


def trailer_step(plaintext: bytes, split: tuple[int, int] | None) -> Step:
    """Payload, padding, pad length and next header of the plaintext."""
    source = "RFC 4303 2.4-2.6"
    if len(plaintext) < _TRAILER:
        return Step("trailer", source, f"{len(plaintext)} bytes have no room for pad length and next header")
    it, end, pad = Bytes(plaintext), len(plaintext) - _TRAILER, plaintext[-2]
    length = max(end - pad, 0)
    fields = [it.field("payload", 0, length, f"{length} bytes")]
    if 0 < pad <= end:
        usual = plaintext[length:end] == bytes(range(1, pad + 1))
        fields.append(it.field("padding", length, pad, "1, 2, 3, ..." if usual else "not 1, 2, 3, ...; accepted"))
    fields += [it.field("pad length", end, 1), it.field("next header", end + 1, 1, protocol(plaintext[-1]))]
    if split is None:
        says = f"pad length {pad} leaves no payload of {end} bytes"
    elif split[1] == PROTO_NONE:
        says = "next header 59: a dummy packet, which is dropped"
    else:
        says = f"{length} bytes of payload, {pad} of padding, next header {protocol(split[1])}"
    return Step("trailer", source, says, tuple(fields))


def sa_fields(entry: SadEntry, *, show_keys: bool) -> list[Field]:
    """An SA's parameters, its keys as fingerprints."""
    sa = entry.sa
    fields = [fact("SA", sa.name), fact("mode", sa.mode.value), fact("state", entry.state.value)]
    if sa.direction is not None:
        fields.append(fact("direction", sa.direction.value))
    if sa.encap is not None:
        fields.append(fact("encapsulation", f"{sa.encap.kind} {sa.encap.sport} > {sa.encap.dport}"))
    if sa.keys is not None:
        fields.append(fact("algorithm", f"{sa.keys.suite.name}, ICV of {8 * sa.keys.icv_length} bits"))
        fields += Shown(sa.keys, show_keys).fields()
    fields.append(fact("replay window", f"{sa.window}{', ESN' if sa.esn else ''}"))
    return fields


def inner_steps(inner: bytes) -> list[Step]:
    """The headers of an inner packet."""
    steps = ip_steps(inner, None, "inner ")
    size = ipv4.length(inner) if inner and inner[0] >> 4 == 4 else ipv6.HEADER_LENGTH
    v4 = bool(inner) and inner[0] >> 4 == 4
    first = not v4 or not ipv4.flags(inner) & ipv4.OFFSET_MASK if len(inner) > 20 else False
    kind = inner[ipv4.PROTOCOL if v4 else ipv6.NEXT_HEADER] if len(inner) > 20 else 0
    if kind == PROTO_UDP and first:
        header = udp_step(inner, size, None, "inner ")
        steps += [header] if header else []
    return steps


def verdict_step(
    received: Received[SadEntry], cause: str | None, detail: str | None, sentence: str | None = None
) -> Step:
    """The last step: the verdict's sentence (or another), the counter, and the cause where one is known."""
    verdict = received.verdict
    fields = [fact("Linux counter", received.counter or "none moves")]
    if received.entry is not None:
        fields.append(fact("SA", received.entry.sa.name))
    if received.device is not None:
        fields.append(fact("device", f"{received.device.name}: {received.device.sentence}"))
        fields.append(fact("surfacing", f"{received.surfacing.name}: {received.surfacing.sentence}"))
        if received.used is not None and received.used is not received.entry:
            fields.append(fact("keys of", received.used.sa.name))
    if cause is not None:
        fields.append(fact("cause", cause))
    says = f"{verdict.name}: {sentence or verdict.sentence}" + (f". {detail}" if detail else "")
    return Step("verdict", "net/xfrm/xfrm_input.c", says, tuple(fields))


def _source(outer: Outer) -> tuple[int, int]:
    """Where the source address is in the IP header, and its length."""
    return (12, 4) if len(outer.src) == 4 else (8, 16)


def _other(other: SadEntry, outer: Outer) -> str:
    sa = other.sa
    why = "another destination" if sa.dst != outer.dst else "another mark" if sa.mark.mask else "older"
    return f"{sa.name}, {why}"


def _what_next(device: Device, answer: Answer) -> str:
    """What the device does with the packet, in words."""
    found = next((e.sa.name for e in device.held() if e.sa_index == answer.sa_index), "a removed SA")
    return {
        "use": f"it uses the context of {found}",
        "software": "the packet goes on to software",
        "drop": "it drops the packet",
        "fail_flag": "it hands the packet on with an error flag",
    }.get(answer.action, answer.action)
