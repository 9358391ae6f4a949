"""One function for each verdict or cause. They are asked in the order of facts.CAUSES; the first that holds is taken.

A detail is one or two sentences: the fact, and what to do. It has no key and nothing from inside a packet.
"""

from __future__ import annotations

from espsim.core.address import format_address
from espsim.core.numbers import MAX_DEPTH
from espsim.core.verdict import POLICED, REPLAY_VERDICTS, DeviceOutcome, Verdict
from espsim.explain.facts import Explanation, Failure
from espsim.explain.integrity import Habit, Tops, WrongIcv, icv_length
from espsim.explain.known import Known
from espsim.explain.policies import policy_answer
from espsim.explain.shown import shown_selector
from espsim.explain.trials import Trials
from espsim.reference.outer import Outer
from espsim.sad.association import ESPINTCP, Mark, Mode, SecurityAssociation
from espsim.sad.entry import SadEntry, State
from espsim.wire import esp

_NEEDS_BYTES = REPLAY_VERDICTS | {Verdict.HEADER, Verdict.TRUNCATED, Verdict.INTEGRITY, Verdict.FRAGMENT}
"""Verdicts that might be others if the whole packet had been captured."""
_WHOLE_MARK = 0xFFFFFFFF

KEY, DAMAGED, TOO_OLD, RESTART = "key", "damaged", "too-old", "restart"
"""Causes that a later packet may change: `key` becomes `damaged`, `too-old` becomes `restart` (watch.py)."""


class CauseFinder:
    """Finds the cause of a failed packet. `tops` gives the top of an SA's window when that packet came."""

    def __init__(self, known: Known, trials: Trials, tops: Tops) -> None:
        self.known, self.trials, self.tops = known, trials, tops
        self._wrong_icv = WrongIcv(known, trials, tops)

    def cause(self, failure: Failure, habit: Habit) -> Explanation:
        """The first cause that holds. `habit`: what explained other packets of its group.

        KEY and TOO_OLD may later become `damaged` and `restart`: one packet can't show which.
        """
        fate = failure.fate
        if fate.used is not None and fate.used is not fate.entry:
            return _wrong_context(failure, fate.used)
        if fate.verdict is Verdict.NO_SA and fate.entry is not None:
            return _device(fate.entry, fate.device)
        if fate.verdict in _NEEDS_BYTES and failure.cut and failure.seen.captured < failure.seen.wire:
            return snap(failure.seen.captured, failure.seen.wire)
        if fate.verdict is Verdict.NO_SA:
            return self.no_sa(failure)
        if fate.verdict in POLICED:
            return policy_answer(fate.verdict, fate.entry)
        if fate.verdict is Verdict.DEPTH:
            return Explanation(
                "depth", f"it has {fate.depth} layers of ESP or more, and Linux opens {MAX_DEPTH}: use fewer SAs"
            )
        if fate.entry is None:
            return _no_header(failure)
        if fate.verdict in REPLAY_VERDICTS:
            return self.replay(failure, fate.entry)
        if fate.verdict is Verdict.INTEGRITY:
            found = self._wrong_icv.explain(failure, fate.entry, habit)
            return found or Explanation(KEY, key_detail(fate.entry))
        if fate.verdict is Verdict.TRUNCATED:
            return icv_length(failure, fate.entry, self.trials) or _short(failure, fate.entry)
        return _plain(failure, fate.entry)

    # -- NO_SA ----------------------------------------------------------------------------------------------------

    def no_sa(self, failure: Failure) -> Explanation:
        """Which of mark, UDP port and destination kept the lookup from an SA of this SPI."""
        spi, outer, known = failure.fate.spi or 0, failure.outer, self.known
        src, dst, ports = (outer.src, outer.dst, outer.ports) if outer is not None else (b"", b"", None)
        port = None if ports is None else ports[1]
        same_spi = known.by_spi.get(spi, [])
        mine = [entry for entry in reversed(same_spi) if known.asks(entry, src, dst)]
        here = [e for e in mine if not known.port_key or port == (e.sa.encap.dport if e.sa.encap else None)]
        for entry in here:
            if not entry.sa.mark.matches(known.mark):
                return _marked(entry)
        if here:
            return _gone(here[0])
        if mine:
            return _encap(mine[0], outer)
        if same_spi:
            return _elsewhere(same_spi, dst)
        return self._not_known(spi, dst)

    def _not_known(self, spi: int, dst: bytes) -> Explanation:
        passed_over = self.known.unusable(spi, dst)
        if passed_over is not None:
            return Explanation(
                "unusable",
                f"its SA {passed_over.name} (line {passed_over.line}) is not used, because {passed_over.why}",
            )
        return Explanation(
            "unknown-spi",
            f"no SA has SPI 0x{spi:08x}: it is older or newer than the list of SAs, or of another host. List the SAs"
            " while capturing",
        )

    # -- replay -----------------------------------------------------------------------------------------------------

    def replay(self, failure: Failure, own: SadEntry) -> Explanation:
        """The window refused the number. The ICV shows whether the packet belongs to the SA at all."""
        fate, top = failure.fate, self.tops(own)
        if not self._is_of(failure, own):
            return Explanation(
                "rekeyed",
                f"the window refused number {fate.seq}, and the ICV is wrong under this SA's key: another SA with the"
                " same SPI and destination sent it, after a rekey or a restart (give the SAs of that time), or it is a"
                " copy that was damaged on the way",
            )
        if fate.verdict is Verdict.REPLAY_ZERO:
            return Explanation(TOO_OLD, "number 0 is never sent: a sender starts at 1 (RFC 4303 3.3.3)")
        if fate.verdict is Verdict.REPLAY_TOO_OLD:
            return Explanation(
                TOO_OLD,
                f"number {fate.seq} came {top.number - (fate.seq64 or 0)} after the highest, left of the window of"
                f" {own.window.size}. Set a larger replay-window (`espsim window` says how large)",
            )
        return Explanation(
            "duplicate",
            f"number {fate.seq} came before: the packet was duplicated on the way, sent again, or captured twice",
        )

    def _is_of(self, failure: Failure, own: SadEntry) -> bool:
        """Whether a packet that a window refused belongs to the SA, by its ICV under the inferred number.

        With ESN the number 2^32 below is tried too: the packet may be older than the window. True where the packet has
        no room for an ICV.
        """
        if failure.seen.opened is not None:
            self.trials.charge(failure.esp)  # the reference path tries here, so both paths spend the same budget
            return failure.seen.opened
        seq64 = failure.fate.seq64 or 0
        right = self.trials.opens(own, failure.esp, seq64)
        if right is False and own.sa.esn and seq64 >> 32:
            right = self.trials.opens(own, failure.esp, seq64 - (1 << 32))
        return right is not False


# -- facts that need no trial -----------------------------------------------------------------------------------------


def snap(captured: int, wire: int) -> Explanation:
    """The capture is too short for the packet."""
    return Explanation("snap", f"captured {captured} of {wire} bytes: capture whole packets, tcpdump -s 0")


def restart_detail(first: int, top: int) -> str:
    """The detail of `restart`. `first`: the number of the new start; `top`: the highest before it."""
    return (
        f"the ICV is right, and numbers begin again at {first} after {top}: the peer lost its counter and kept the key,"
        " which RFC 4303 3.3.3 forbids. Set up new SAs"
    )


def damaged_detail(own: SadEntry) -> str:
    """The detail of `damaged`."""
    return (
        f"other packets of {own.sa.name} opened, and no other key or number opens this one: it was changed on the way"
    )


def key_detail(own: SadEntry) -> str:
    """The detail of `key`."""
    return (
        f"no packet of {own.sa.name} opened, and no other SA's key does: this SA's key or algorithm is not the peer's"
    )


def _marked(entry: SadEntry) -> Explanation:
    shown = shown_mark(entry.sa.mark)
    return Explanation(
        "mark",
        f"{entry.sa.name} wants mark {shown}, which a capture does not have: run with"
        f" --mark 0x{entry.sa.mark.value:x}, or --any-mark",
    )


def shown_mark(mark: Mark) -> str:
    """`0xd00/0xf00`. A full mask is left out."""
    return f"0x{mark.value:x}" if mark.mask == _WHOLE_MARK else f"0x{mark.value:x}/0x{mark.mask:x}"


def _gone(entry: SadEntry) -> Explanation:
    if not entry.sa.limited:
        return Explanation(None, f"{entry.sa.name} was there when the run began, and is not found for this packet")
    return Explanation(
        "expired", f"{entry.sa.name} reached its hard lifetime and is gone: rekey earlier, or raise its limit"
    )


def _encap(entry: SadEntry, outer: Outer | None) -> Explanation:
    encap, came = entry.sa.encap, "without UDP"
    wants = "no UDP"
    if encap is not None:
        wants = f"{'TCP' if encap.kind == ESPINTCP else 'UDP'} port {encap.dport}"
    if outer is not None and outer.ports is not None:
        came = f"to UDP port {outer.ports[1]}"
    elif outer is not None and outer.encap == ESPINTCP:
        came, wants = "in TCP", wants if encap is not None else "no TCP"
    return Explanation(
        "encap", f"{entry.sa.name} wants {wants}, and the packet came {came}: NAT changed since the SA was made"
    )


def _elsewhere(entries: list[SadEntry], dst: bytes) -> Explanation:
    names = ", ".join(dict.fromkeys(format_address(entry.sa.dst) for entry in entries[:3]))
    more = " and others" if len(entries) > 3 else ""
    return Explanation(
        "other-destination",
        f"SPI 0x{entries[0].sa.spi:08x} is known to {names}{more} only, and the packet went to"
        f" {format_address(dst)}: NAT, or SAs of another host",
    )


def _wrong_context(failure: Failure, used: SadEntry) -> Explanation:
    own = failure.fate.entry
    whose = f"the packet belongs to {own.sa.name}" if own is not None else "the packet has no SA here"
    return Explanation(
        "other-sa", f"the device used the keys of {used.sa.name}, and {whose}: its table does not tell them apart"
    )


def _device(own: SadEntry, outcome: DeviceOutcome | None) -> Explanation:
    said = outcome.sentence if outcome is not None else "the device dropped the packet"
    return Explanation(None, f"{said}; software finds {own.sa.name}")


def _no_header(failure: Failure) -> Explanation:
    if failure.fate.verdict is Verdict.FRAGMENT:
        return FRAGMENT
    return Explanation(
        "header", "the packet ends before the 8 bytes of SPI and sequence number: it is damaged, or not ESP"
    )


FRAGMENT = Explanation(
    "fragment", "an outer fragment whose other parts did not come: look for loss, or a path MTU that is too small"
)


def _short(failure: Failure, own: SadEntry) -> Explanation:
    keys, size = own.sa.keys, len(failure.esp) - esp.HEADER_LENGTH
    if keys is None:
        return Explanation(None, "the SA has no keys")
    if failure.cut:
        return Explanation(None, "the IP header states more bytes than the frame had, and the capture did not cut it")
    room = keys.suite.iv_length + keys.icv_length
    if size < room:
        return Explanation(
            None, f"{size} bytes follow the ESP header, and IV and ICV take {room}: it is not a packet of this suite"
        )
    return Explanation(
        None, f"the ICV is right, and the ciphertext is not whole blocks of {keys.suite.block}: the peer pads wrongly"
    )


def _plain(failure: Failure, own: SadEntry) -> Explanation:
    """The verdicts that name their own cause."""
    sa, outer = own.sa, failure.outer
    if failure.fate.verdict is Verdict.ENCAP_MISMATCH:
        return _encap(own, outer)
    return {
        Verdict.SA_LARVAL: Explanation(
            "larval", f"{sa.name} is larval: its negotiation has not ended. Look at the key manager's log"
        ),
        Verdict.DIRECTION: Explanation(
            "direction",
            f"{sa.name} is an outbound SA (dir out), and the packet did not come from its source: give the inbound SA",
        ),
        Verdict.EXPIRED: Explanation(
            "expired", f"{sa.name} reached its hard lifetime: rekey earlier, or raise the limit"
        ),
        Verdict.SA_INVALID: Explanation(
            "expired", f"{sa.name} is no longer valid ({State(own.state).value}): give the SA that replaced it"
        ),
        Verdict.MODE: Explanation("mode", _mode(sa)),
        Verdict.POLICY: Explanation(
            "selector", f"{sa.name} takes {shown_selector(sa.selector)} only, and the inner packet is another"
        ),
        Verdict.IPTFS_BUFFER: Explanation(
            "iptfs", "the AGGFRAG header is cut short, or a data block is neither IPv4, IPv6 nor padding (RFC 9347 6.1)"
        ),
        Verdict.IPTFS_HEADER: Explanation(
            "iptfs", "the AGGFRAG sub-type is above 1, its flags are not 0, or an inner IPv4 length is wrong"
        ),
        Verdict.IPTFS_LOST: Explanation(
            "fragment-lost",
            f"an inner packet that began in an earlier packet of {sa.name} continues in one that never came, or came"
            " too late: packets are lost, or overtaken by more than iptfs-opts reorder-window and drop-time allow",
        ),
        Verdict.IPTFS_LATE: Explanation(
            "reordered",
            f"{sa.name} waits for {sa.aggregation.reorder_window} packets at most (iptfs-opts reorder-window), and"
            " packets after this one have been handed on: set a larger window",
        ),
        Verdict.ECN: Explanation(
            "ecn",
            "a router marked congestion outside, and the packet inside is Not-ECT, so that its sender would not hear"
            " of it: use ECN inside, or `flag noecn` on the sender's SA",
        ),
        Verdict.TRAILER: Explanation(
            "trailer", "the ICV is right, the trailer is wrong: dummy packet, nothing inside, or pad length too long"
        ),
    }.get(failure.fate.verdict, Explanation(None, failure.fate.verdict.sentence))


def _mode(sa: SecurityAssociation) -> str:
    if sa.mode is Mode.ANY:
        return f"its next header says tunnel mode, and what is inside is not an IP packet: state the mode of {sa.name}"
    if sa.mode is Mode.BEET and sa.inner_ends is None:
        return f"{sa.name} is in beet mode and has no selector, whose addresses the inner packet would get: give it one"
    inside = _INSIDE.get(sa.mode, "a payload")
    return f"{sa.name} is in {sa.mode.value} mode, and what is inside is not {inside}: set the peer's mode"


_INSIDE = {Mode.TUNNEL: "an IP packet", Mode.BEET: "a whole payload", Mode.IPTFS: "an AGGFRAG payload"}
