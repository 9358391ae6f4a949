"""Traces: the reference path calls one method a step, with the values of that step.

The methods here do nothing; a subclass overrides those that it wants (`espsim.explain` makes its steps from them). A
trace changes nothing. It gets SAs with their keys, so it must take care itself to show no key, and nothing of a packet
whose ICV is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from espsim.core.verdict import Verdict
    from espsim.offload.device import Answer, Device, PacketKey
    from espsim.reference.iptfs_in import Opened
    from espsim.reference.outer import Arrival
    from espsim.reference.policies import Judged, Path
    from espsim.sad.entry import SadEntry


class InboundTrace:
    """The inbound path's steps, in their order. After a step that refuses the packet no more are called."""

    def parsed(self, arrival: Arrival) -> None:
        """SPI and sequence number were read."""

    def looked_up(self, arrival: Arrival, entry: SadEntry | None) -> None:
        """Software's lookup found this SA, or none."""

    def own(self, arrival: Arrival, entry: SadEntry | None) -> None:
        """This host sent the packet. It never came to xfrm_input, so window, lifetime and device are not asked."""

    def steered(self, device: Device, key: PacketKey, answer: Answer) -> None:
        """A modelled device looked the packet up, and this is its answer; no SA has been used yet."""

    def usable(self, entry: SadEntry, arrival: Arrival, verdict: Verdict) -> None:
        """Direction, state and encapsulation of the SA that is used were judged."""

    def inferred(self, entry: SadEntry, arrival: Arrival, seq64: int) -> None:
        """The 64-bit number was inferred. The window is as it was before the packet."""

    def checked(self, entry: SadEntry, seq64: int, verdict: Verdict) -> None:
        """The window was asked. It has not moved."""

    def opening(self, entry: SadEntry, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> None:
        """ICV and decryption come next: the arguments of `Transform.open`."""

    def opened(self, entry: SadEntry, plaintext: bytes | None) -> None:
        """The ICV was right, and this is the plaintext. None: the ICV was wrong."""

    def trailer(self, plaintext: bytes, split: tuple[int, int] | None) -> None:
        """Payload length and next header were read from the trailer; None: it leaves no payload."""

    def advanced(self, entry: SadEntry, seq64: int) -> None:
        """The window has moved, and the SA has counted the packet."""

    def again(self, arrival: Arrival) -> None:
        """The inner packet is ESP for this host, which receives it again. The steps of another layer follow."""

    def decapsulated(self, entry: SadEntry, arrival: Arrival, inner: bytes | None) -> None:
        """The inner packet; None: it does not fit the SA's mode. The SA's selector comes next."""

    def aggregated(self, entry: SadEntry, arrival: Arrival, payload: bytes, opened: Opened) -> None:
        """For an SA in mode IPTFS, instead of `decapsulated`: what the payload held, or that it is held back."""

    def judged(self, path: Path, judged: Judged) -> None:
        """The policies judged a packet that came under these SAs."""


class OutboundTrace:
    """The outbound path's steps, in their order."""

    def chosen(self, packet: bytes, entry: SadEntry | None) -> None:
        """This SA's selector takes the packet, or none does."""

    def padded(self, entry: SadEntry, payload: bytes, next_header: int, plaintext: bytes) -> None:
        """What will be encrypted: payload, TFC padding, padding, pad length, next header."""

    def numbered(self, entry: SadEntry, seq64: int | None) -> None:
        """The sequence number; None where it would repeat."""

    def sealed(self, entry: SadEntry, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> None:
        """The arguments of `Transform.seal` except the plaintext, and its answer: ciphertext and ICV."""

    def wrapped(self, entry: SadEntry, packet: bytes) -> None:
        """The packet as it leaves, before an MTU cuts it."""

    def fragmented(self, entry: SadEntry, pieces: tuple[bytes, ...]) -> None:
        """The packet is longer than the path's MTU: these fragments leave instead."""

    def cut_inside(self, entry: SadEntry, inside: tuple[bytes, ...]) -> None:
        """The datagram is cut before it is sealed. The parts are sealed one by one; only the first one is traced."""


OUTBOUND_SILENT = OutboundTrace()
