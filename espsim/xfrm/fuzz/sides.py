"""Runs the same lines on two sides, from the same start: two models, or the running kernel and a model.

Two models are compared by results, errnos, states, and what `ip` prints, but not by the wording of refusals: two rules
word the same refusal differently. The running kernel and a model are compared by wording too.

What the running kernel can't do (no ESP type, no such algorithm) is not compared. The model does not run it either, so
both sides continue from the same states.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espsim.core.errors import InputError
from espsim.netlink.netns import Netns
from espsim.xfrm.batch import Batch
from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.live import DIFFERS, NOT_COMPARABLE, SAME, run_live
from espsim.xfrm.live_netlink import LiveKernel
from espsim.xfrm.requests import run_requests

__all__ = ["DIFFERS", "NOT_COMPARABLE", "SAME", "Compare", "ComparedLine", "live_commands", "live_requests",
           "model_commands", "model_requests"]  # fmt: skip

_NO_TYPE, _NO_ALGORITHM = "Requested type not found", "algorithm not found"
_PAST_ITS_TYPE = frozenset({"OK", "EEXIST", "ESRCH"})
_RCU = 0.1
"""Seconds. A refused IPComp SA also makes a tunnel state; xfrm_state_gc_task waits for RCU before it is gone."""


@dataclass(frozen=True, slots=True)
class ComparedLine:
    """One line and both answers: in a few words if they agree, else with what differs."""

    line: str
    verdict: str
    left: str
    right: str


Compare = Callable[[Sequence[str]], list[ComparedLine]]
"""Gives both sides' answers to a batch, each from a new namespace. May end after the first line that differs."""


# -- two models -------------------------------------------------------------------------------------------------------


def model_requests(left: str, right: str) -> Compare:
    """Requests on two models, each named by an SPI rule or a kernel."""

    def compare(lines: Sequence[str]) -> list[ComparedLine]:
        answers = [list(run_requests(Netns(name), lines)) for name in (left, right)]
        return [_of_requests(line, a, b, worded=False) for line, a, b in zip(lines, *answers, strict=True)]

    return compare


def model_commands(left: str, right: str) -> Compare:
    """Lines of `ip` on two models."""

    def compare(lines: Sequence[str]) -> list[ComparedLine]:
        batches = Batch(Netns(left)), Batch(Netns(right))
        found = []
        for command in _parsed(lines):
            left_outcome, right_outcome = (batch.run(command) for batch in batches)
            line = lines[command.number - 1]
            a, b = (f"{outcome.stdout}{outcome.stderr}" for outcome in (left_outcome, right_outcome))
            same = (left_outcome.result, left_outcome.stdout) == (right_outcome.result, right_outcome.stdout)
            found.append(ComparedLine(line, SAME, _first(a), _first(b)) if same else _of_texts(line, a, b))
        return found

    return compare


def _parsed(lines: Sequence[str]) -> Any:
    return read_batch(io.BytesIO("\n".join(lines).encode()), "-")


# -- the running kernel -----------------------------------------------------------------------------------------------


def live_requests(model: str) -> Compare:
    """Requests on this machine's kernel, in a namespace made for them, and on a model."""

    def compare(lines: Sequence[str]) -> list[ComparedLine]:
        netns, found = Netns(model), []
        with LiveKernel.made() as kernel:
            for line in lines:
                theirs = kernel.ask(line)
                why = _cannot(line, theirs)
                if why:
                    found.append(ComparedLine(line, NOT_COMPARABLE, why, "not asked"))
                    continue
                [ours] = run_requests(netns, [line])
                found.append(_of_requests(line, theirs, _as_kernel(ours)))
                if found[-1].verdict == DIFFERS:
                    break
                if line.startswith(("NEWSA", "UPDSA")) and "comp=" in line and theirs["result"] in _PAST_ITS_TYPE:
                    time.sleep(_RCU)
        return found

    return compare


def live_commands(model: str) -> Compare:
    """Lines of `ip` on this machine's kernel, by its own iproute2, and on a model."""

    def compare(lines: Sequence[str]) -> list[ComparedLine]:
        result = run_live(list(_parsed(lines)), policy=model)
        found = []
        for each in result.lines:
            line = lines[each.line - 1]
            if each.verdict == NOT_COMPARABLE:
                found.append(ComparedLine(line, NOT_COMPARABLE, each.why, "not asked"))
            else:
                found.append(_of_texts(line, each.live, each.model))
        return found

    return compare


def _cannot(line: str, answer: Mapping[str, Any]) -> str:
    """Why this kernel can't do what a request asks for; "" where it can. No kernel has `no(such)`."""
    text = answer["extack"] or ""
    lacks = text == _NO_TYPE or (_NO_ALGORITHM in text and "no(such)" not in line)
    return f"this kernel lacks it ({text})" if lacks else ""


def _as_kernel(answer: Mapping[str, object]) -> dict[str, Any]:
    """An answer of the model without the replay contexts, which are not read from the kernel's messages."""
    plain: dict[str, Any] = json.loads(json.dumps(answer))
    for state in (*plain.get("states", ()), plain.get("reply", {})):
        for context in ("replay", "replay_esn"):
            state.pop(context, None)
    return plain


# -- answers in words -------------------------------------------------------------------------------------------------


def _of_requests(line: str, left: Mapping[str, Any], right: Mapping[str, Any], *, worded: bool = True) -> ComparedLine:
    a, b = _shown(left), _shown(right)
    if left == right or (not worded and {**left, "extack": None} == {**right, "extack": None}):
        return ComparedLine(line, SAME, a, b)
    if a == b:  # the short texts are equal, so the difference is deeper
        differing = [_apart(key, left.get(key), right.get(key)) for key in {**left, **right}
                     if left.get(key) != right.get(key)]  # fmt: skip
        a, b = (f"{text}; {'; '.join(part[n] for part in differing)}" for n, text in enumerate((a, b)))
    return ComparedLine(line, DIFFERS, a, b)


def _shown(answer: Mapping[str, Any]) -> str:
    """The result, the kernel's text, and the SPI of the state in the answer."""
    text = str(answer["result"])
    if answer.get("extack"):
        text += f" ({answer['extack']})"
    reply = answer.get("reply")
    if isinstance(reply, dict) and "spi" in reply:
        text += f", spi {reply['spi']}"
    return text if answer.get("count") is None else f"{text}, {answer['count']} states"


def _apart(key: str, left: Any, right: Any) -> tuple[str, str]:
    """The first difference of two values, each as `path value`."""
    if isinstance(left, dict) and isinstance(right, dict):
        name = next(name for name in {**left, **right} if left.get(name) != right.get(name))
        return _apart(name, left.get(name), right.get(name))
    if isinstance(left, list) and isinstance(right, list):
        for n, (a, b) in enumerate(zip(left, right, strict=False), 1):
            if a != b:
                return tuple(f"{key} {n}: {text}" for text in _apart("", a, b))  # type: ignore[return-value]
    return f"{key} {_plain(left)}".strip(), f"{key} {_plain(right)}".strip()


def _plain(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _of_texts(line: str, left: str, right: str) -> ComparedLine:
    if left == right:
        return ComparedLine(line, SAME, _first(left), _first(right))
    a, b = ([row.strip() for row in text.splitlines()] for text in (left, right))
    while a and b and a[0] == b[0]:
        del a[0], b[0]
    return ComparedLine(line, DIFFERS, _first("\n".join(a)), _first("\n".join(b)))


def _first(text: str) -> str:
    """The first line of a text, and whether more follow; a fixed text for an empty one."""
    said = [row.strip() for row in text.splitlines() if row.strip()]
    if not said:
        return "says nothing"
    return said[0] if len(said) == 1 else f"{said[0]} ..."


def check_names(*names: str) -> None:
    """InputError where a name is neither an SPI rule nor a kernel."""
    for name in names:
        try:
            Netns(name)
        except InputError as error:
            raise InputError(error.what, where="--policies") from None
