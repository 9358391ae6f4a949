"""Who may have this SPI: requests to a model of one namespace, under each SPI rule of the netdev thread.

Each question is two commands of `ip xfrm`: a state that is there, and a request for the same SPI. They run as with
`espsim xfrm --policy NAME`, with and without `dir` where the request can have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from espsim.netlink.netns import Netns
from espsim.sad.spi import SPI_RULES
from espsim.xfrm.batch import Batch
from espsim.xfrm.batch_lines import BatchLine, split_words

_KEY = "aead rfc4106(gcm(aes)) 0x" + "11" * 20 + " 128"
_DEFAULT = 0x1234


@dataclass(frozen=True, slots=True)
class _Question:
    """`there` is the state, `wants` the request. They are formatted with `spi`, `there` and `wants` (words of dir)."""

    asks: str
    there: str
    wants: str
    directions: tuple[str, str] = ("dir in", "dir in")


_IN = "xfrm state add src 198.51.100.1 dst 192.0.2.1 proto esp spi {spi} mode tunnel {there} " + _KEY
_OUT = "xfrm state add src 192.0.2.1 dst 198.51.100.1 proto esp spi {spi} mode tunnel {there} " + _KEY
_ALLOC = "xfrm state allocspi src {peer} dst {own} proto {proto} mode tunnel {{wants}} min {{spi}} max {{spi}}"
_QUESTIONS = (
    _Question(
        "An inbound SA has it. May another peer's SA to the same address have it?",
        _IN,
        _ALLOC.format(peer="198.51.100.2", own="192.0.2.1", proto="esp"),
    ),
    _Question(
        "An inbound SA has it. May an SA to another address of this host have it?",
        _IN,
        _ALLOC.format(peer="198.51.100.2", own="192.0.2.2", proto="esp"),
    ),
    _Question(
        "A peer chose it for an outbound SA. May an inbound SA have it?",
        _OUT,
        _ALLOC.format(peer="198.51.100.1", own="192.0.2.1", proto="esp"),
        ("dir out", "dir in"),
    ),
    _Question(
        "An inbound SA has it. A peer chose it too: may the outbound SA be added?",
        _IN,
        "xfrm state add src 192.0.2.1 dst 198.51.100.2 proto esp spi {spi} mode tunnel {wants} " + _KEY,
        ("dir in", "dir out"),
    ),
    _Question(
        "An inbound SA has it. May a second inbound SA be added with it, to another address?",
        _IN,
        "xfrm state add src 198.51.100.2 dst 192.0.2.2 proto esp spi {spi} mode tunnel {wants} " + _KEY,
    ),
    _Question(
        "An ESP SA has it. May an AH SA to the same address have it?",
        _IN,
        _ALLOC.format(peer="198.51.100.1", own="192.0.2.1", proto="ah"),
    ),
)


def who_may(spi: int | None) -> dict[str, Any]:
    """`policies`, and for each question its commands (without keys) and `answers` by SPI rule: OK or an error."""
    text = f"0x{spi or _DEFAULT:08x}"
    return {
        "spi": text,
        "policies": [{"name": name, "summary": SPI_RULES[name]().summary} for name in SPI_RULES],
        "questions": [
            {"asks": question.asks, "dir": said, **_ask(question, text, said)}
            for said in (False, True)
            for question in _QUESTIONS
        ],
    }


def _ask(question: _Question, spi: str, said: bool) -> dict[str, Any]:
    there, wants = question.directions if said else ("", "")
    lines = [
        BatchLine(number, tuple(split_words(text.format(spi=spi, there=there, wants=wants))))
        for number, text in enumerate((question.there, question.wants), 1)
    ]
    answers = []
    for name in SPI_RULES:
        batch = Batch(Netns(name))
        outcomes = [batch.run(line) for line in lines]
        refused = next((n for n, outcome in enumerate(outcomes) if not outcome.ok), None)
        answers.append("OK" if refused is None else outcomes[refused].result if refused else "FIRST")
    return {"commands": [f"ip {line.shown}" for line in lines], "answers": answers}
