"""What the reference path tells of a packet while it runs: one call a step, with the values that the path goes on with.

`InboundTrace` and `OutboundTrace` do nothing. A subclass overrides the calls that it wants (`espsim.explain` makes
steps of them). A trace looks and never writes. It is handed SAs with their keys, so what it shows is its own
responsibility: no key, and nothing of a packet whose ICV is wrong.
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
    """The inbound path's steps, in the order in which they come. A packet that fails hears no later ones."""

    def parsed(self, arrival: Arrival) -> None:
        """SPI and sequence number were read."""

    def looked_up(self, arrival: Arrival, entry: SadEntry | None) -> None:
        """Software's lookup found this SA, or none."""

    def own(self, arrival: Arrival, entry: SadEntry | None) -> None:
        """This host sent the packet, which never came to xfrm_input: no window is asked, no lifetime, no device."""

    def steered(self, device: Device, key: PacketKey, answer: Answer) -> None:
        """A modelled device looked too, and this is its answer; before it uses any SA."""

    def usable(self, entry: SadEntry, arrival: Arrival, verdict: Verdict) -> None:
        """Direction, state and encapsulation of the SA that is used were judged."""

    def inferred(self, entry: SadEntry, arrival: Arrival, seq64: int) -> None:
        """The 64-bit number was worked out; the window is as it was before the packet."""

    def checked(self, entry: SadEntry, seq64: int, verdict: Verdict) -> None:
        """The window was asked. It has not moved."""

    def opening(self, entry: SadEntry, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> None:
        """ICV and decryption come next: the arguments of `Transform.open`."""

    def opened(self, entry: SadEntry, plaintext: bytes | None) -> None:
        """The ICV was right and this was inside, or (None) it was wrong."""

    def trailer(self, plaintext: bytes, split: tuple[int, int] | None) -> None:
        """Payload length and next header were read from the trailer; None: it leaves no payload."""

    def advanced(self, entry: SadEntry, seq64: int) -> None:
        """The window has moved, and the SA has counted the packet."""

    def again(self, arrival: Arrival) -> None:
        """What was inside is ESP for this host, which receives it again: the steps of another layer follow."""

    def decapsulated(self, entry: SadEntry, arrival: Arrival, inner: bytes | None) -> None:
        """The packet inside; None: it does not fit the SA's mode. The SA's selector comes next."""

    def aggregated(self, entry: SadEntry, arrival: Arrival, payload: bytes, opened: Opened) -> None:
        """Of an SA in mode IPTFS, in the place of `decapsulated`: what the payload was, or that it is held."""

    def judged(self, path: Path, judged: Judged) -> None:
        """The policies were asked about a packet that came under these SAs."""


class OutboundTrace:
    """The outbound path's steps, in the order in which they come."""

    def chosen(self, packet: bytes, entry: SadEntry | None) -> None:
        """This SA's selector takes the packet, or none does."""

    def padded(self, entry: SadEntry, payload: bytes, next_header: int, plaintext: bytes) -> None:
        """What will be encrypted: payload, TFC padding, padding, pad length, next header."""

    def numbered(self, entry: SadEntry, seq64: int | None) -> None:
        """The sequence number; None where it would repeat."""

    def sealed(self, entry: SadEntry, header: bytes, seq_hi: bytes, iv: bytes, body: bytes) -> None:
        """The arguments of `Transform.seal` beside the plaintext, and its answer: ciphertext and ICV."""

    def wrapped(self, entry: SadEntry, packet: bytes) -> None:
        """The packet as it goes to the wire, or would."""

    def fragmented(self, entry: SadEntry, pieces: tuple[bytes, ...]) -> None:
        """It is longer than the path's MTU: these leave in its place."""

    def cut_inside(self, entry: SadEntry, inside: tuple[bytes, ...]) -> None:
        """The datagram is cut before it is sealed: these are sealed one by one, and the first of them is traced."""


SILENT = InboundTrace()
OUTBOUND_SILENT = OutboundTrace()
