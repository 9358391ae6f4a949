"""`espsim decap`: a capture of ESP in, the inner packets out, a verdict for every packet."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from espsim.cli import common, packets
from espsim.core.inputs import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from espsim.core.stopping import gently
    from espsim.io.atomic import Outputs
    from espsim.io.capture import CaptureCut, CaptureWriter, NoWriter
    from espsim.pipeline.inbound import BatchInbound
    from espsim.pipeline.stats import InboundStats
    from espsim.reference.inbound import Inbound
    from espsim.sad.sad import Sad

_W = TypeVar("_W", bound="CaptureWriter")


@dataclass(frozen=True, slots=True)
class Files:
    """The capture, where the inner packets go, and where a line for every packet goes; all outputs together."""

    capture: str
    output: str | None
    lines: IO[str] | None
    outputs: Outputs

    def writer(self, kind: type[_W], *, nanosecond: bool) -> _W | NoWriter:
        """Where the inner packets go."""
        from espsim.io.capture import NoWriter

        if self.output is None:
            return NoWriter(self.outputs)
        return kind(self.output, nanosecond=nanosecond, outputs=self.outputs)


@click.command()
@click.argument("capture", metavar="IN")
@click.option("-o", "--output", metavar="OUT", help="Where the inner packets go (pcap, raw IP).  [default: nowhere]")
@click.option(
    "--sad", "sad_path", required=True, metavar="FILE", help="SAs as `ip xfrm state`, setkey or Wireshark have them."
)
@click.option("--keep-window", is_flag=True, help="Start windows and counters where FILE's dump has them.")
@click.option("--verdicts", metavar="FILE", help="Write one JSON line for every packet of the capture.")
@click.option("--fail-on-drop", is_flag=True, help="Exit status 1 where a packet failed.")
@click.option(
    "--option",
    "options",
    multiple=True,
    type=click.Choice(["strict-windows", "ring-windows"]),
    help="strict-windows: every duplicate is refused, also where Linux's window passes one.",
)
@packets.mark_options
@common.lookup_option
@packets.way_options
@common.model_options(multiple=False)
@common.width_options
@common.json_option
def decap(
    capture: str,
    output: str | None,
    sad_path: str,
    keep_window: bool,
    verdicts: str | None,
    fail_on_drop: bool,
    options: tuple[str, ...],
    mark: int | None,
    any_mark: bool,
    lookup: str | None,
    reference: bool,
    engine: str | None,
    workers: int | None,
    model: str | None,
    assume: tuple[str, ...],
    as_json: bool,
) -> None:
    """Open the ESP packets of a capture.

    IN is a pcap or pcapng capture (Ethernet with VLANs, MPLS or PPPoE; PPP, NFLOG, raw IP, Linux cooked, null or
    loopback), of any length; - is standard input. Frames that are not ESP are counted by what they are. OUT gets the
    inner IP packets, in order of arrival, with the outer packets' times; - is standard output, and the report then goes
    to standard error; without -o nothing is written. ^C ends reading standard input, and the report of what came is
    printed (exit status 130). FILE is what people paste: what `ip xfrm state` or `ip -s xfrm state` prints, with keys,
    `[ip] xfrm state add|update ...` lines, setkey's words (-D, -c), Wireshark's esp_sa table. Prompts, policies and
    other lines are passed over with a note; SAs whose keys are hidden, or that are not modelled, are named and not
    used. SA selectors are judged, policies are not.

    A capture has no marks: an SA with a mark is found with --mark, or with --any-mark, which takes the newest SA of an
    SPI and destination whatever its mark is.

    Windows start empty (with ESN at FILE's high half) unless --keep-window. A window whose size does not divide 2^32
    (33, say) is kept as Linux keeps it, and one duplicate of the first packet passes; --option strict-windows refuses
    every duplicate. Without --model SAs are found as Linux finds them, or by longest match with --lookup longest; with
    one the modelled device looks first, and the software lookup says where it was wrong.
    """
    from espsim.core.stopping import gently
    from espsim.io.atomic import Outputs

    writes = {"-o": output, "--verdicts": verdicts}
    common.keep_apart({"IN": capture, "--sad": sad_path, "--model": common.by_path(model)}, writes)
    way = packets.way(reference, engine, workers)
    strict = "strict-windows" in options
    sad, unused = common.load_sads(sad_path, keep_window=keep_window, strict_windows=strict, lookup=lookup)
    common.warn_open_windows(sad)
    inbound = _path(sad, packets.mark_of(mark, any_mark), model, assume)
    common.note_rings(sad)
    common.keep_apart({"--model": _model_files(inbound)}, writes)
    with Outputs() as outputs, gently(capture == STANDARD) as reading:
        lines = outputs.text(verdicts) if verdicts is not None else None
        files = Files(capture, output, lines, outputs)
        with _ended_by(reading):
            stats, cut = _one_by_one(files, inbound) if way.reference else _in_batches(files, inbound, way)
    with common.reporting(output, verdicts):
        _report(stats, inbound, unused, as_json)
    if reading.asked:
        sys.exit(128 + signal.SIGINT)
    if cut is not None:
        raise cut
    if fail_on_drop and stats.failed:
        sys.exit(1)


@contextlib.contextmanager
def _ended_by(reading: gently) -> Iterator[None]:
    """^C before the capture has begun: there is nothing to report, and nothing wrong with it."""
    from espsim.core.errors import InputError
    from espsim.core.stopping import Stopped

    try:
        yield
    except InputError as error:
        if reading.asked and error.where == STANDARD:
            raise Stopped(signal.SIGINT) from None
        raise


def _path(sad: Sad, mark: int | None, model: str | None, assume: tuple[str, ...]) -> Inbound:
    from espsim.core.errors import InputError
    from espsim.offload.caps import stays_in_software
    from espsim.reference.inbound import Inbound
    from espsim.reference.offloaded import OffloadedInbound
    from espsim.sad.association import PROTO_ESP, Direction

    if model is None:
        if assume:
            raise InputError("--assume goes with --model")
        return Inbound(sad, mark=mark)
    if mark is None:
        raise InputError("--any-mark is a question to the software lookup; with --model say the packets' --mark")
    inbound = OffloadedInbound(sad, common.make_device(model, assume), mark=mark)
    for entry in list(sad):
        sa = entry.sa
        if sa.proto == PROTO_ESP and entry.keyed and sa.direction is not Direction.OUT:
            installed = inbound.offload(entry)
            if installed.errno is not None:
                gone = "" if stays_in_software(sa, installed.errno) else ", so the kernel does not have this SA"
                common.warn(f"{sa.name}: the device answers {installed.errno}: {installed.note}{gone}")
    return inbound


def _model_files(inbound: Inbound) -> list[str]:
    """The files that the model was read from, those that it extends among them."""
    from espsim.reference.offloaded import OffloadedInbound

    return [d.name for d in inbound.device.model.documents] if isinstance(inbound, OffloadedInbound) else []


def _one_by_one(files: Files, inbound: Inbound) -> tuple[InboundStats, CaptureCut | None]:
    """The readable path. What was whole of a capture that is cut is kept, and the cut is named."""
    from espsim.aead.engines import engine_by_name
    from espsim.io.capture import CaptureCut, CaptureWriter, open_capture
    from espsim.pipeline.stats import InboundStats, verdict_line
    from espsim.reference.layers import layer_of

    engine = engine_by_name("cryptography")
    stats, cut = InboundStats(), None
    with (
        open_capture(files.capture) as reader,
        files.writer(CaptureWriter, nanosecond=reader.nanosecond) as writer,
    ):
        try:
            for frame in reader:
                if frame.number == 1:
                    packets.begin(inbound.sad, frame.time_ns / 1e9)
                if frame.part:
                    continue
                received = None if frame.ip is None else inbound.receive(frame.ip, frame.time_ns / 1e9)
                layer = frame.link
                if received is None and frame.ip is not None:
                    layer = layer_of(frame.ip, inbound.ports)
                stats.count(received, layer)
                if received is not None and received.inner is not None:
                    writer.write(received.inner, frame.time_ns)
                if files.lines is not None:
                    files.lines.write(json.dumps(verdict_line(frame.number, received, layer)) + "\n")
        except CaptureCut as error:
            cut = error
        writer.commit()
    stats.ran_on(engine, {})
    return stats, cut


def _in_batches(files: Files, inbound: Inbound, way: packets.Way) -> tuple[InboundStats, CaptureCut | None]:
    """The batch path, which gives the same answers."""
    from espsim.core.batch import PART
    from espsim.core.layers import Layer
    from espsim.core.verdict import Verdict
    from espsim.io.batches import BatchWriter, open_batches
    from espsim.io.capture import CaptureCut
    from espsim.pipeline.counts import InboundCounts
    from espsim.pipeline.lanes import InboundLane
    from espsim.pipeline.stats import InboundStats, verdict_line
    from espsim.pipeline.stream import stream

    path, by_row = _batch_path(inbound, way)
    counts, stats, cut = InboundCounts(path.columns.entries), InboundStats(), None
    lane = InboundLane(path)
    with (
        open_batches(files.capture) as reader,
        files.writer(BatchWriter, nanosecond=reader.nanosecond) as writer,
        packets.progress(files.capture) as advance,
    ):
        try:
            for piece in stream(reader, lane, way.workers, lambda now: packets.begin(inbound.sad, now)):
                batch = piece.batch
                keep = batch.verdict == Verdict.DELIVERED
                writer.write_rows(batch.arena, batch.inner_at, batch.inner_length, piece.time_ns, keep)
                answers = path.answers(batch) if by_row or files.lines is not None else []
                layers = list(map(Layer, batch.kind.tolist())) if answers else []
                whole = (batch.verdict != PART).tolist()
                if files.lines is not None:
                    lines = zip(piece.frames.tolist(), answers, layers, whole, strict=True)
                    files.lines.writelines(f"{json.dumps(verdict_line(*line))}\n" for *line, one in lines if one)
                if by_row:
                    for answer, layer, one in zip(answers, layers, whole, strict=True):
                        if one:
                            stats.count(answer, layer)
                else:
                    counts.count(batch)
                advance(reader.at)
        except CaptureCut as error:
            cut = error
        writer.commit()
    stats = stats if by_row else counts.stats()
    stats.ran_on(path.engine, lane.alone)
    return stats, cut


def _batch_path(inbound: Inbound, way: packets.Way) -> tuple[BatchInbound, bool]:
    """The path, and whether its answers are to be counted row by row: what a device did is in no column."""
    from espsim.core.errors import InputError
    from espsim.pipeline.inbound import BatchInbound
    from espsim.pipeline.offloaded import BatchOffloaded
    from espsim.reference.offloaded import OffloadedInbound

    if not isinstance(inbound, OffloadedInbound):
        return BatchInbound(inbound, way.engine), False
    if way.workers > 1:
        raise InputError(
            "a device may open a packet with another SA's keys, so SAs cannot be shared out: --model runs one worker",
            where="--workers",
        )
    return BatchOffloaded(inbound, way.engine), True


def _report(stats: InboundStats, inbound: Inbound, unused: list[dict[str, Any]], as_json: bool) -> None:
    from espsim.reference.offloaded import OffloadedInbound

    result = stats.as_dict() | {"unused": unused}
    if isinstance(inbound, OffloadedInbound):
        result.setdefault("device", {})
        result["model"] = inbound.device.model.id
        result["assumptions"] = list(inbound.device.assumptions)
    if as_json:
        common.print_json(result)
        return
    from espsim.report.terminal import print_inbound

    print_inbound(result)
