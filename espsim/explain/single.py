"""One frame of a capture, explained as the run of the whole capture would judge it.

Frames before it run first, through the same path and the same collector of causes. Frames after it are not read, with
one exception: a packet whose ICV is wrong, whose number is too old, or which is a fragment. Then up to AHEAD later
frames of a file are read. They may decide the cause: other packets of its SA open (damage), numbers rise again (a
restart), or the other fragments come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from espsim.aead.engines import engine_by_name
from espsim.core.answers import Received
from espsim.core.errors import InputError
from espsim.core.verdict import PASSED
from espsim.explain.causes import FRAGMENT, snap
from espsim.explain.facts import CapturedPacket as Facts
from espsim.explain.facts import Explanation
from espsim.explain.frames import Frames, SeenFrame
from espsim.explain.joining import joiner_for
from espsim.explain.known import Known
from espsim.explain.outbound import Sealed, seal_frame
from espsim.explain.packet import Explained, explain_packet, explain_part, finish
from espsim.explain.watch import FailureGroup, Sample, Token, Watch, is_final
from espsim.io.fragments import Settled
from espsim.reference.inbound import Inbound
from espsim.reference.layers import layer_of
from espsim.reference.outbound import Outbound
from espsim.reference.outer import parse_outer
from espsim.sad.entry import SadEntry

AHEAD = 1024
"""How many frames of a file may be read after the one that is explained."""

Begin = Callable[[float], None]


class Ear:
    """Gets each frame before it runs, so it sees the frames and SAs as they were then."""

    def passes(self, seen: SeenFrame) -> None:
        """A frame before the one that is explained."""

    def asked(self, seen: SeenFrame) -> None:
        """The frame that is explained."""


class Single:
    """Explains one of `frames`. `begin` is called with the first frame's time in seconds. `where`: the capture's name.

    `reassemble`: outer fragments are put together. `ear` gets each frame before it runs.
    """

    def __init__(
        self,
        frames: Frames,
        where: str,
        begin: Begin,
        *,
        show_keys: bool = False,
        reassemble: bool = True,
        ear: Ear | None = None,
    ) -> None:
        self._frames, self._where, self._begin = frames, where, begin
        self._show, self._reassemble, self._ear = show_keys, reassemble, ear or Ear()

    def opened(self, inbound: Inbound, known: Known, number: int | None) -> Explained:
        """Frame `number`, or the first that has ESP. InputError: it is not there, or not ESP."""
        self._frames.join(joiner_for(inbound, reassemble=self._reassemble))
        watch = Watch(known, engine_by_name("cryptography"), inbound.ports)
        seen = None
        for seen in self._frames:
            if seen.frame.number == 1:
                self._begin(seen.frame.time_ns / 1e9)
            inbound.tunnels.elapse(seen.frame.time_ns / 1e9)
            if seen.frame.number == number or (number is None and _has_esp(seen, inbound)):
                self._ear.asked(seen)
                return self._part(seen, inbound) if seen.frame.part else self._packet(seen, inbound, watch)
            self._ear.passes(seen)
            _run(seen, inbound, watch)
        if seen is not None and seen.frame.number == 1 and number is None:
            raise self._not_esp(seen, inbound)
        raise self._no_frame(seen, number, "ESP")

    def sealed(self, outbound: Outbound, number: int | None) -> Sealed:
        """Frame `number`, or the first that is IP, sealed as `encap` would. InputError: it is not there, or not IP."""
        self._frames.join(None)
        seen = None
        for seen in self._frames:
            frame = seen.frame
            if frame.number == 1:
                self._begin(frame.time_ns / 1e9)
            outbound.senders.elapse(frame.time_ns / 1e9)
            if frame.number == number or (number is None and frame.ip is not None):
                self._ear.asked(seen)
                sealed = seal_frame(outbound, seen, show_keys=self._show)
                if sealed is None:
                    raise InputError(f"is not IP, but {frame.link.label}", where=self._where, frame=frame.number)
                return sealed
            self._ear.passes(seen)
            if frame.ip is not None:
                outbound.send(frame.ip, frame.time_ns / 1e9)
        raise self._no_frame(seen, number, "IP")

    # -- the frame that was asked for -------------------------------------------------------------------------------

    def _packet(self, seen: SeenFrame, inbound: Inbound, watch: Watch) -> Explained:
        explained = explain_packet(inbound, seen, show_keys=self._show)
        if explained is None:
            raise self._not_esp(seen, inbound)
        token = _tell(explained.received, seen, watch)
        if not is_final(token):
            for later in self._ahead():
                _run(later, inbound, watch)
        watch.end()
        explained.frames = _joined(seen)
        answer = _answer(token)
        finish(explained, answer.cause if answer else None, answer.detail if answer else None)
        return explained

    def _part(self, seen: SeenFrame, inbound: Inbound) -> Explained:
        """Explain an outer fragment that completes nothing. A later frame may decide its outcome."""
        number = seen.frame.number
        settled = _settled_in(number, seen.settled)
        if settled is None:
            settled = next((s for later in self._ahead() if (s := _settled_in(number, later.settled))), None)
        settled = settled or _settled_in(number, self._frames.rest())
        if settled is not None and settled.layer is not None:
            raise InputError(f"is not ESP, but {settled.layer.label}", where=self._where, frame=number)
        explained = explain_part(seen, inbound.ports)
        if settled is None:
            detail = "an outer fragment: the rest of its datagram comes later, or never"
            finish(explained, None, detail)
        elif settled.datagram is not None:
            explained.datagram = settled.datagram
            finish(explained, None, None)
        else:
            cut = seen.frame.captured < seen.frame.wire
            answer = snap(seen.frame.captured, seen.frame.wire) if cut else FRAGMENT
            finish(explained, answer.cause, answer.detail)
        return explained

    def _ahead(self) -> Iterator[SeenFrame]:
        return self._frames.ahead(AHEAD)

    def _not_esp(self, seen: SeenFrame, inbound: Inbound) -> InputError:
        frame = seen.frame
        kind = frame.link if frame.ip is None else layer_of(frame.ip, inbound.ports)
        return InputError(f"is not ESP, but {kind.label}", where=self._where, frame=frame.number)

    def _no_frame(self, seen: SeenFrame | None, number: int | None, what: str) -> InputError:
        frames = seen.frame.number if seen is not None else 0
        if number is not None:
            return InputError(f"there is no frame {number}: it has {frames}", where=self._where)
        return InputError(f"no {what} packet in its {frames} frames", where=self._where)


def _has_esp(seen: SeenFrame, inbound: Inbound) -> bool:
    return seen.frame.ip is not None and parse_outer(seen.frame.ip, inbound.ports) is not None


def _run(seen: SeenFrame, inbound: Inbound, watch: Watch) -> None:
    """Run a frame that is not explained, through the path and the collector."""
    if seen.frame.ip is not None:
        frame = seen.frame
        received = inbound.receive(seen.frame.ip, frame.time_ns / 1e9, outgoing=frame.outgoing, in_tcp=frame.in_tcp)
        if received is not None:
            _tell(received, seen, watch)


def _tell(received: Received[SadEntry], seen: SeenFrame, watch: Watch) -> Token:
    frame = seen.frame
    if received.verdict in PASSED:
        watch.passed(received)
        return None
    facts = Facts(frame.ip or b"", frame.number, frame.captured, frame.wire, in_tcp=frame.in_tcp)
    return watch.failed(received, facts)


def _answer(token: Token) -> Explanation | None:
    """The packet's own cause if it was looked at, else its group's if it has one."""
    if isinstance(token, Sample):
        return token.answer
    return token.whole if isinstance(token, FailureGroup) else None


def _joined(seen: SeenFrame) -> list[int]:
    """The frames with a datagram's fragments."""
    for one in seen.settled:
        if one.datagram == seen.frame.number:
            return sorted((*one.frames, one.datagram))
    return []


def _settled_in(number: int, settled: list[Settled]) -> Settled | None:
    return next((one for one in settled if number in one.frames), None)
