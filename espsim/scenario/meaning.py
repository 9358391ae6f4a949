"""What a cell means, in sentences. They are computed from what happened in the cell, none is fixed text.

    Android's second ALLOCSPI gets ENOENT: SPI 0x00005000 is taken by its own inbound SA 0x00005000@10.0.0.1.

Requests come first, then packets, then the states that are left. Steps that show nothing get no sentence.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from espsim.core.verdict import OutboundVerdict, Verdict
from espsim.scenario.facts import Arrived, Facts, RequestFact
from espsim.scenario.outcome import in_full

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_IN_THE_DEVICE = {
    "WRONG_SA": "{meet} another SA's keys in the device",
    "SHADOWED": "{meet} another SA's keys in the device, which answered first",
    "EMPTY_SLOT": "{reach} a slot of the device that holds no SA",
    "SA_MISMATCH": "{reach} another SPI's slot, and the device refuses {them} there",
    "DROPPED": "{find} nothing in the device",
}
_SURFACING = {
    "COUNTED": "the host counts {it}",
    "FLAGGED": "the device flags {it} to the host",
    "SILENT": "the driver marks {it} good, so nothing reports the loss",
    "DEVICE_DROP": "the device drops {it}, where only its own counter moves",
}


def meaning(facts: Facts, shares: Mapping[str, float], trials: int, party: str = "") -> str:
    """One sentence or a few. `shares`: each outcome of `trials` trials, in short form, with its share."""
    parts = [*(_random(facts, shares, trials) if trials > 1 else _requests(facts.requests, party)),
             *_packets(facts.packets), *_states(facts.counted)]  # fmt: skip
    return " ".join(f"{part[0].upper()}{part[1:]}." for part in parts) or "Nothing is asked and nothing is sent."


def ordinal(n: int) -> str:
    """`first` to `tenth`, then `11th`."""
    if n <= len(_ORDINALS):
        return _ORDINALS[n - 1]
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def number(n: int) -> str:
    """`one` to `ten`, then digits."""
    return _NUMBERS[n] if n < len(_NUMBERS) else f"{n:,}"


# -- requests ---------------------------------------------------------------------------------------------------------


def _requests(requests: Sequence[RequestFact], party: str) -> Iterator[str]:
    shown = [asked for asked in requests if not asked.setup]
    if shown and not any(asked.errno for asked in shown):
        yield _all_succeed(shown, party)
    of_verb = Counter[str]()
    for asked in requests:
        of_verb[asked.verb] += asked.count
    for (verb, errno, why), which in _refusals(requests).items():
        yield _refused(_which(verb, which, of_verb[verb], party), len(which), errno, why)
    yield from _driver(requests)


def _whose(party: str) -> str:
    return f"{party}'s" if party else "the"


def _all_succeed(requests: Sequence[RequestFact], party: str) -> str:
    total = sum(asked.count for asked in requests)
    verbs = {asked.verb for asked in requests}
    verb = verbs.pop() if len(verbs) == 1 else "requests"
    if total == 1:
        return f"{_whose(party)} {verb} succeeds"
    all_ = "both" if total == 2 else f"all {number(total)}"
    return f"{all_} of {party}'s {verb} succeed" if party else f"{all_} {verb} succeed"


def _refusals(requests: Sequence[RequestFact]) -> dict[tuple[str, str, str], list[int]]:
    """(verb, errno, reason): which of the requests of that verb, from 1."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    place = Counter[str]()
    allocspi_failed = False
    for asked in requests:
        places = range(place[asked.verb] + 1, place[asked.verb] + asked.count + 1)
        place[asked.verb] += asked.count
        if asked.errno is None:
            continue
        why = asked.why
        if asked.verb == "UPDSA" and asked.errno == "ESRCH" and allocspi_failed:
            why = "its ALLOCSPI was refused, so there is no state to update"
        allocspi_failed = allocspi_failed or asked.verb == "ALLOCSPI"
        groups.setdefault((asked.verb, asked.errno, why), []).extend(places)
    return groups


def _which(verb: str, which: Sequence[int], of_verb: int, party: str) -> str:
    """`Android's second to fifth ALLOCSPI`."""
    who = f"{_whose(party)} "
    if of_verb == 1:
        return f"{who}{verb}"
    if len(which) == of_verb:
        all_ = "both" if of_verb == 2 else f"all {number(of_verb)}"
        return f"{all_} of {who}{verb}" if party else f"{all_} {verb}"
    if len(which) > 2 and which[-1] - which[0] == len(which) - 1:
        return f"{who}{ordinal(which[0])} to {ordinal(which[-1])} {verb}"
    if len(which) > 3:
        return f"{number(len(which))} {verb}, {who}{ordinal(which[0])} the first of them,"
    return f"{who}{' and '.join(map(ordinal, which))} {verb}"


def _refused(subject: str, n: int, errno: str, why: str) -> str:
    if errno == "HANG":
        return f"{subject} {_s('hang', n)}: {why}"
    return f"{subject} {_s('get', n)} {errno}" + (f": {why}" if why else "")


def _driver(requests: Sequence[RequestFact]) -> Iterator[str]:
    """What a driver answered that was offered SAs which do not ask for offload."""
    answers = Counter[str]()
    for asked in requests:
        if asked.driver is not None:
            answers[asked.driver] += asked.count
    for errno, n in answers.items():
        if errno != "0":
            yield f"the device's driver refuses {number(n)} of {number(answers.total())} SAs ({errno})"


# -- packets ----------------------------------------------------------------------------------------------------------


def _packets(packets: Sequence[Arrived]) -> Iterator[str]:
    total = sum(packet.count for packet in packets)
    good = sum(packet.count for packet in packets if packet.good)
    if not packets:
        return
    done = "sent" if all(packet.sent for packet in packets) else "delivered"
    if good == total:
        all_ = "both" if total == 2 else f"all {number(total)}"
        yield f"the packet is {done}" if total == 1 else f"{all_} packets are {done}"
    elif good:
        yield f"{number(good)} of {number(total)} packets {'is' if good == 1 else 'are'} {done}"
    losses: dict[Arrived, dict[str, int]] = {}
    for packet in packets:
        if not packet.good:
            where = losses.setdefault(replace(packet, to="", count=1), {})
            where[packet.to] = where.get(packet.to, 0) + packet.count
    for kind, where in losses.items():
        yield _lost(kind, where)


def _lost(packet: Arrived, where: Mapping[str, int]) -> str:
    n = sum(where.values())
    to = " and ".join(where) if len(where) <= 2 else f"{number(len(where))} addresses"
    subject = f"the packet to {to}" if n == 1 else f"{number(n)} packets to {to}"
    it = "it" if n == 1 else "them"
    if packet.device in _IN_THE_DEVICE and packet.surfacing is not None:
        words = {verb: _s(verb, n) for verb in ("meet", "reach", "find")}
        happens = _IN_THE_DEVICE[packet.device].format(**words, them=it)
        return f"{subject} {happens}; {_SURFACING[packet.surfacing].format(it=it)}{_counter(packet)}"
    return f"{subject} {'is' if n == 1 else 'are'} lost ({packet.verdict}): {_sentence(packet)}{_counter(packet)}"


def _sentence(packet: Arrived) -> str:
    if packet.verdict == "NO_POLICY":
        return "no policy allows it after decapsulation"
    names = OutboundVerdict if packet.sent else Verdict
    return names[packet.verdict].sentence if packet.verdict in names.__members__ else "the sender sees this errno"


def _counter(packet: Arrived) -> str:
    return f", and {packet.linux_counter} moves" if packet.linux_counter else ", and no counter moves"


# -- states and shares ------------------------------------------------------------------------------------------------


def _states(counted: Sequence[tuple[str, int]]) -> Iterator[str]:
    for kind, words in (("zeros", "larval {states} with SPI 0"), ("states", "{states}")):
        counts = [n for which, n in counted if which == kind]
        if len(counts) == 1 and (counts[0] or kind == "states"):
            text = words.format(states="state" if counts[0] == 1 else "states")
            yield f"{number(counts[0])} {text} {'is' if counts[0] == 1 else 'are'} left"
        elif len(counts) > 1:
            yield f"{words.format(states='states')}: {', then '.join(map(number, counts))}"


def _random(facts: Facts, shares: Mapping[str, float], trials: int) -> Iterator[str]:
    asked = sum(request.count for request in facts.requests if not request.setup)
    ways = [(_way(outcome, asked), share) for outcome, share in shares.items()]
    if len(ways) == 1:
        yield f"in each of {trials:,} trials {ways[0][0]}"
        return
    yield f"of {trials:,} trials: " + "; ".join(f"in {_percent(share)} {way}" for way, share in ways)


def _percent(share: float) -> str:
    return f"{share:.0%}" if 0.01 <= share <= 0.99 else f"{share:.1%}"


def _way(outcome: str, asked: int) -> str:
    """One outcome of a trial: `3 OK` counts requests, other words are answers or the names of SPIs."""
    count, _, rest = outcome.partition(" ")
    if rest == "OK" and count.isdecimal():
        n = int(count)
        if asked == 1:
            return "the request succeeds" if n else "the request is refused"
        of = "all" if n == asked else f"{number(n)} of"
        return f"{of} {number(asked)} requests {_s('succeed', n)}"
    text = in_full(outcome)
    if outcome.startswith("E") and outcome[1:].isdecimal():
        return f"the answer is {text}"
    if outcome == "OK":
        return "the request succeeds"
    return "another SPI is given" if outcome == "other" else f"SPI {text} is given"


def _s(verb: str, n: int) -> str:
    """The verb of one, or of many."""
    return verb if n != 1 else f"{verb}es" if verb == "reach" else f"{verb}s"
