"""The library: what a program imports from espsim. The names in `espsim.__all__` are stable; nothing else is.

    load_sad, Sad, SecurityAssociation, Namespace    SAs from text; the SAD; one network namespace with its policies
    open_packet, seal_packet                         one packet, by the reference path, with every step if asked
    Received, Sent                                   their answers: verdict, counter, numbers, the packet
    open_batch, seal_batch                           many packets, by the batch path; the answers are numpy columns
    read_capture, write_capture                      reads pcap and pcapng, writes pcap
    LookupTable                                      SAs by SPI and destination, on arrays: software's or a model's
    load_model, Device                               hardware models
    audit, odds, run_scenario                        the answers of `espsim audit`, `espsim spi` and `espsim run`

Everything is imported when it is first used: `import espsim` loads neither numpy nor numba. Bad input is an InputError
(espsim.core.errors); a packet never raises, it gets a verdict.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from espsim.batch.as_columns import OpenedBatch, SealedBatch
    from espsim.core.answers import Received, Sent
    from espsim.explain.steps import Step
    from espsim.io.capture import Frame
    from espsim.offload.model import Model
    from espsim.reference.outbound import Outbound
    from espsim.sad.entry import SadEntry
    from espsim.sad.sad import Sad
    from espsim.scenario.matrix import Answered

Path: TypeAlias = "str | os.PathLike[str]"


def load_sad(
    path: Path | TextIO, *, keep_window: bool = False, strict_windows: bool = False, notes: list[str] | None = None
) -> Sad:
    """The SAs of a file: what `ip xfrm state` prints or takes, setkey's words, Wireshark's esp_sa table.

    `path` may also be an open text file: `io.StringIO(text)` for SAs in a string.

    Windows and counters start empty (with ESN at the file's high half), or with the file's values (`keep_window`).
    Lines that were passed over, and SAs that can't be used (hidden keys, algorithms that espsim does not run), are
    appended to `notes`. InputError with file and line: no SA at all, two keys for one SA, a damaged key.
    """
    from espsim.sad.sad import Sad
    from espsim.text.load import load
    from espsim.text.parse import parse_sad, read_sad

    where = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    text = parse_sad(cast("TextIO", path).read()) if where is None else read_sad(where)
    if notes is not None:
        notes += text.notes.lines()
        notes += [f"line {one.line}: {one.name} is not used, because {one.why}" for one in text.unused()]
    sad = Sad(strict_windows=strict_windows)
    load(sad, text.sas, where, keep_window=keep_window)
    return sad


def open_packet(
    sad: Sad,
    packet: bytes,
    *,
    now: float = 0.0,
    mark: int | None = 0,
    trace: Callable[[Step], None] | None = None,
) -> Received[SadEntry] | None:
    """Open one IP packet that holds ESP, at `now` (seconds). Windows and counters move. None: it is not ESP.

    `mark`: that of the packet; None ignores marks. `trace` is called with each step that `espsim explain` shows; no
    step holds a key. For ESP in ESP the answer is that of the last layer, and its `around` that of the layer outside.
    For many packets `open_batch` is a hundred times as fast.
    """
    from espsim.reference.inbound import Inbound

    if trace is None:
        return Inbound(sad, mark=mark).receive(packet, now)
    from espsim.explain.packet import open_packet as explained

    return explained(sad, packet, now=now, mark=mark, trace=trace)


def seal_packet(
    sad: Sad,
    packet: bytes,
    *,
    now: float = 0.0,
    mark: int | None = 0,
    random_bytes: Callable[[int], bytes] = os.urandom,
    trace: Callable[[Step], None] | None = None,
) -> Sent[SadEntry] | None:
    """Seal one clear IP packet under the outbound SA whose selector takes it. None: it is not IP.

    `trace` is called with each step that `espsim explain --seal` shows; no step holds a key. `random_bytes` draws CBC's
    IVs, and once for each SA the mask of counter IVs. No IV is used twice with one key as long as only one function
    seals for a SAD. For a stream of packets keep an `espsim.reference.outbound.Outbound`, or use `seal_batch`.
    """
    from espsim.reference.outbound import Outbound

    outbound = Outbound(sad, random_bytes, mark=mark)
    if trace is None:
        return _leave_at_once(outbound.send(packet, now), outbound)
    from espsim.explain.outbound import OutboundSteps

    told = outbound.trace = OutboundSteps(outbound, show_keys=False)
    sent = _leave_at_once(outbound.send(packet, now), outbound)
    for step in told.steps:
        trace(step)
    return sent


def _leave_at_once(sent: Sent[SadEntry] | None, outbound: Outbound) -> Sent[SadEntry] | None:
    """The answer with the packet that waits in IP-TFS's queue: no further packet comes that could join it."""
    waiting = tuple(packet for leaves in outbound.senders.elapse(math.inf) for packet in leaves.packets)
    if sent is not None and waiting:
        sent.outers = (*sent.wire(), *waiting)
    return sent


def open_batch(
    sad: Sad,
    packets: Sequence[bytes],
    *,
    times: Sequence[float] | float = 0.0,
    mark: int | None = 0,
    engine: str = "auto",
) -> OpenedBatch:
    """Open IP packets in order of arrival. The answers equal those of `open_packet`, as numpy columns.

    `times`: seconds, one for each packet or one for all. `engine`: a name from `espsim engines`.
    """
    from espsim.batch.as_columns import opened
    from espsim.batch.inbound.order import InboundPipeline
    from espsim.reference.inbound import Inbound

    with InboundPipeline(Inbound(sad, mark=mark), engine) as path:
        return opened(path, packets, times, mark or 0)


def seal_batch(
    sad: Sad,
    packets: Sequence[bytes],
    *,
    times: Sequence[float] | float = 0.0,
    mark: int | None = 0,
    engine: str = "auto",
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> SealedBatch:
    """Seal clear IP packets in order. The answers are numpy columns; arguments as in `seal_packet` and `open_batch`."""
    from espsim.batch.as_columns import sealed
    from espsim.batch.outbound.order import OutboundPipeline
    from espsim.reference.outbound import Outbound

    with OutboundPipeline(Outbound(sad, random_bytes, mark=mark), engine) as path:
        return sealed(path, packets, times)


def read_capture(path: Path) -> Iterator[Frame]:
    """The frames of a pcap or pcapng, one at a time; outer fragments are reassembled. `Frame.ip`: the IP packet.

    InputError: the file can't be read, is cut short (raised after its last whole frame), or has an unknown link type.
    """
    from espsim.io.capture import open_capture

    with open_capture(os.fspath(path)) as reader:
        yield from reader


def write_capture(path: Path, packets: Iterable[bytes | tuple[bytes, int]]) -> int:
    """Write IP packets into a pcap (raw IP, nanoseconds), which appears whole or not at all. Returns how many.

    A packet is its bytes, or (bytes, nanoseconds since the epoch). Packets without a time are a microsecond apart.
    """
    from espsim.io.capture import CaptureWriter

    count = 0
    with CaptureWriter(os.fspath(path), nanosecond=True) as writer:
        for packet in packets:
            data, time_ns = packet if isinstance(packet, tuple) else (packet, 1000 * count)
            writer.write(data, time_ns)
            count += 1
        writer.commit()
    return count


def audit(
    path: Path,
    models: str | Sequence[str],
    *,
    local: Sequence[str] = (),
    assume: Sequence[str] = (),
    most: int = 20,
    seed: int = 1,
) -> dict[str, Any]:
    """What devices do with the SAs of a host's dump: the dictionary that `espsim audit --json` prints.

    `models`: ids, names of devices, or TOML files. `local`: the host's own addresses or prefixes. `assume`: as on the
    command line. InputError: as the command.
    """
    from espsim.analysis.audit import audit as run_audit
    from espsim.analysis.inventory import parse_prefix, take_inventory
    from espsim.analysis.summary import summary
    from espsim.offload.compare import with_assumptions
    from espsim.offload.device import Device
    from espsim.offload.model import load_models
    from espsim.text.scan import survey_file

    names = [models] if isinstance(models, str) else list(models)
    loaded = with_assumptions([model for _, model in load_models(names)], assume)
    inventory = take_inventory(survey_file(os.fspath(path)), [parse_prefix(text) for text in local])
    audits = [run_audit(inventory, Device(model, seed=seed), most=most) for model in loaded]
    return summary(inventory, audits, seed=seed)


def odds(model: Model | str, sas: int, spis: str = "0x100-0xffffffff", *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """The chance of a duplicate, an alias, an overflow, a refusal, or any of them, among `sas` SAs with random SPIs.

    `spis`: MIN-MAX. Each value is {chance, low, high, how}: exact, or sampled with a 95 % interval.
    """
    from espsim.analysis.odds import chances, parse_range
    from espsim.offload.model import load_model

    loaded = load_model(model) if isinstance(model, str) else model
    found = chances(loaded, sas, parse_range(spis, "spis"), seed=seed)
    return {name: chance.as_dict() for name, chance in (found or {}).items()}


def run_scenario(
    name: Path,
    policies: Sequence[str] = (),
    *,
    models: Sequence[str] = (),
    options: Sequence[str] = (),
    assume: Sequence[str] = (),
    seed: int = 1,
) -> Answered:
    """Run a built-in scenario, or a TOML file, under SPI policies (by default its own) and models.

    `.cells`: the answers, each with `as_dict()`. `.ok`: whether all are as expected. InputError: as `espsim run`.
    """
    from espsim.scenario.matrix import run_named

    (answered,) = run_named([os.fspath(name)], policies, options=options, models=models, assume=assume, seed=seed)
    return answered
