"""Options of `ip` before its object (ip/ip.c of iproute2 6.1): those that mean something in a line of a batch."""

from __future__ import annotations

from dataclasses import dataclass

from espsim.core.address import AF_INET, AF_INET6
from espsim.text.iproute import INCOMPLETE, IpRefusal, matches

_FAMILIES = {"inet": AF_INET, "inet6": AF_INET6}
_IGNORED = (
    "-human", "-human-readable", "-iec", "-details", "-resolve", "-timestamp", "-tshort", "-brief", "-json", "-pretty",
    "-color", "-Numeric",
)  # fmt: skip
_FOREIGN = ("-echo", "-loops", "-force", "-batch", "-rcvbuf", "-netns", "-all", "-Version", "-help", "-0", "-M", "-B")


@dataclass(frozen=True, slots=True)
class Options:
    """`stats`: how many -s there are. `family`: 0, AF_INET or AF_INET6."""

    stats: int = 0
    oneline: bool = False
    family: int = 0


def read_options(words: list[str]) -> tuple[Options, list[str]]:
    """The options of a line, and its words from the object on. IpRefusal: an option that is unknown or not modelled."""
    at = 1 if words and words[0] == "ip" else 0
    stats, one, family = 0, False, 0
    while at < len(words) and words[at].startswith("-"):
        option = words[at].replace("--", "-", 1)
        at += 1
        if matches(option, "-family") and option != "-":
            if at == len(words):
                raise IpRefusal(INCOMPLETE)
            if words[at] not in _FAMILIES:
                raise IpRefusal(f'Error: argument "{words[at]}" is wrong: invalid protocol family')
            family = _FAMILIES[words[at]]
            at += 1
        elif option in ("-4", "-6"):
            family = AF_INET if option == "-4" else AF_INET6
        elif len(option) > 1 and (matches(option, "-stats") or matches(option, "-statistics")):
            stats += 1
        elif len(option) > 1 and matches(option, "-oneline"):
            one = True
        elif not (len(option) > 1 and any(matches(option, name) for name in _IGNORED)):
            raise IpRefusal(_refusal(option))
    return Options(stats, one, family), words[at:]


def _refusal(option: str) -> str:
    if len(option) > 1 and any(matches(option, name) for name in _FOREIGN):
        return f"espsim does not model the option {option} of `ip`"
    return f'Option "{option}" is unknown, try "ip -help".'
