"""The right answers to a case: those of the reference path, and of each modelled device.

They are computed from the case's files on the disk, frame by frame, as by `espsim decap --reference`. No answer is
typed by hand. Where an answer is published, the two are compared before anything is written.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from espsim.analysis.kit.packets import Case
from espsim.core.answers import Received
from espsim.core.errors import UnknownReached
from espsim.core.layers import Layer
from espsim.core.verdict import Verdict
from espsim.io.capture import open_capture
from espsim.io.fragments import Joiner, Settled
from espsim.offload.device import Device
from espsim.offload.model import load_model
from espsim.reference.inbound import Inbound
from espsim.reference.layers import judge, layer_of
from espsim.reference.offloaded import OffloadedInbound
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.text.load import load
from espsim.text.parse import parse_sad_text

WRITTEN = frozenset({Verdict.DELIVERED.name, Verdict.SENT.name})
"""Verdicts of frames whose inner packets a program must write."""


@dataclass(slots=True)
class Answers:
    """A verdict line for every frame, and the delivered packets in order, each with its time in nanoseconds."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    delivered: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class DeviceAnswers:
    """A modelled device's answers. `installed`: the driver's answer to each add, in order.

    `unknown`: a value that the run needed and that is not public. Then there are no answers.
    """

    model: str
    answers: Answers
    installed: list[str]
    assumptions: list[str]
    unknown: str | None = None


def software(capture: str, sad_text: str, *, strict_windows: bool = False) -> Answers:
    """The answers of the reference path without a device, for the SAs of a text."""
    sad = Sad(strict_windows=strict_windows)
    load(sad, parse_sad_text(sad_text))
    return _run(capture, Inbound(sad, own_traffic=True))


def check_known(case: Case, answers: Answers) -> None:
    """Compare with what is published. ValueError, with the case, where the reference path differs."""
    times = {line["frame"] - 1: n for n, line in enumerate(_delivered_lines(answers))}
    for index, inside in case.known.items():
        if index not in times or answers.delivered[times[index]][1] != inside:
            raise ValueError(f"{case.ident}: frame {index + 1} is not what {case.source} says")


def _delivered_lines(answers: Answers) -> Iterator[dict[str, Any]]:
    return (line for line in answers.lines if line["verdict"] in WRITTEN)


_model = functools.cache(load_model)


def of_device(capture: str, case: Case, ident: str) -> DeviceAnswers:
    """The answers of a model's device, with the model's own suggestions for what is not public."""
    model = _model(ident)
    device = Device(model, model.suggestions)
    inbound = OffloadedInbound(Sad(), device, own_traffic=True)
    result = DeviceAnswers(ident, Answers(), [], device.assumptions)
    try:
        for step in case.steps:
            if step.verb == "add":
                installed = inbound.offload(inbound.sad.newsa(step.sa))
                result.installed.append(installed.errno or "0")
            else:
                inbound.withdraw(inbound.sad.delsa(step.sa.dst, step.sa.spi, step.sa.proto))
        inbound.refresh_ports()
        result.answers = _run(capture, inbound)
    except UnknownReached as error:
        result.unknown, result.answers = str(error), Answers()
    return result


def _run(capture: str, inbound: Inbound) -> Answers:
    answers, joiner = Answers(), Joiner(judge(inbound.ports))
    with open_capture(capture, joiner) as reader:
        for frame in reader:
            if frame.number == 1:
                for entry in inbound.sad:
                    entry.added_at(frame.time_ns / 1e9)
            received, layer = None, frame.link
            if frame.ip is not None:
                received = inbound.receive(frame.ip, frame.time_ns / 1e9, outgoing=frame.outgoing)
                layer = layer if received is not None else layer_of(frame.ip, inbound.ports)
            answers.lines.append(_line(frame.number, received, layer))
            if received is not None and received.inner is not None:
                answers.delivered.append((frame.time_ns, received.inner))
    for settled in joiner.settled():
        for number in settled.frames:
            answers.lines[number - 1] = _part(number, settled)
    return answers


def _part(frame: int, settled: Settled) -> dict[str, Any]:
    """The line of a fragment that completed nothing. `datagram`: the frame that completed its datagram, or null."""
    if settled.layer is not None:
        return _line(frame, None, settled.layer)
    nothing = dict.fromkeys(("linux_counter", "spi", "seq64", "sa"))
    return {"frame": frame, "verdict": Verdict.FRAGMENT.name, **nothing, "datagram": settled.datagram}


def _line(frame: int, received: Received[SadEntry] | None, layer: Layer) -> dict[str, Any]:
    """A frame's line of verdicts.jsonl. Version 1 of the kit fixes the keys; `decap --verdicts` may have others."""
    if received is None:
        return {"frame": frame, "verdict": "ignored", "kind": layer.label}
    line: dict[str, Any] = {
        "frame": frame,
        "verdict": received.verdict.name,
        "linux_counter": received.counter,
        "spi": received.spi,
        "seq64": received.seq64,
        "sa": received.entry.sa.name if received.entry is not None else None,
    }
    if received.device is not None:
        line |= {"device": received.device.name, "surfacing": received.surfacing.name}
        if received.used is not None and received.used is not received.entry:
            line["keys_of"] = received.used.sa.name
    return line
