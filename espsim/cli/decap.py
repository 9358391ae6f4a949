"""`espsim decap`: a capture of ESP in, the inner packets out, a verdict for every packet."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import click

from espsim.cli import common

if TYPE_CHECKING:
    from espsim.io.capture import Frame
    from espsim.pipeline.stats import InboundStats
    from espsim.reference.inbound import Inbound, Received
    from espsim.sad.sad import Sad


@click.command()
@click.argument("capture", metavar="IN")
@click.option("-o", "--output", required=True, metavar="OUT", help="Where the inner packets go (pcap, raw IP).")
@click.option("--sad", "sad_path", required=True, metavar="FILE", help="SAs as `ip xfrm state` prints or takes them.")
@click.option("--keep-window", is_flag=True, help="Start windows and counters where FILE's dump has them.")
@click.option("--verdicts", metavar="FILE", help="Write one JSON line for every packet of the capture.")
@common.model_options(multiple=False)
@common.json_option
def decap(
    capture: str,
    output: str,
    sad_path: str,
    keep_window: bool,
    verdicts: str | None,
    model: str | None,
    assume: tuple[str, ...],
    as_json: bool,
) -> None:
    """Open the ESP packets of a capture.

    IN is a pcap or pcapng capture (Ethernet, raw IP, Linux cooked, null or loopback). OUT gets the inner IP packets,
    in order of arrival, with the outer packets' times. FILE is what `ip xfrm state` or `ip -s xfrm state` prints, with
    keys, or `[ip] xfrm state add|update ...` lines; comments are allowed. SA selectors are judged, policies are not.

    Windows start empty (with ESN at FILE's high half) unless --keep-window. Without --model SAs are found as Linux
    finds them; with one the modelled device looks first, and the software lookup says where it was wrong.
    """
    from espsim.core.errors import InputError
    from espsim.io.atomic import atomic_output
    from espsim.io.capture import CaptureCut, CaptureWriter, open_capture
    from espsim.pipeline.stats import InboundStats, verdict_line

    if verdicts is not None and verdicts == output:
        raise InputError("--verdicts and -o name the same file", where=output)
    sad = common.load_sad(sad_path, keep_window=keep_window)
    common.warn_open_windows(sad)
    inbound = _path(sad, model, assume)
    stats = InboundStats()
    cut: CaptureCut | None = None
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(open_capture(capture))
        writer = stack.enter_context(CaptureWriter(output, nanosecond=reader.nanosecond))
        lines = stack.enter_context(atomic_output(verdicts)) if verdicts is not None else None
        try:
            for frame in reader:
                received = _receive(inbound, sad, frame)
                stats.count(received)
                if received is not None and received.inner is not None:
                    writer.write(received.inner, frame.time_ns)
                if lines is not None:
                    lines.write(json.dumps(verdict_line(frame.number, received)) + "\n")
        except CaptureCut as error:
            cut = error  # what was whole is kept, and the cut is named
        writer.commit()
    _report(stats, inbound, as_json)
    if cut is not None:
        raise cut


def _path(sad: Sad, model: str | None, assume: tuple[str, ...]) -> Inbound:
    from espsim.core.errors import InputError
    from espsim.reference.inbound import Inbound
    from espsim.reference.offloaded import OffloadedInbound
    from espsim.sad.association import PROTO_ESP, Direction

    if model is None:
        if assume:
            raise InputError("--assume goes with --model")
        return Inbound(sad)
    inbound = OffloadedInbound(sad, common.make_device(model, assume))
    for entry in sad:
        if entry.sa.proto == PROTO_ESP and entry.transform is not None and entry.sa.dir is not Direction.OUT:
            installed = inbound.offload(entry)
            if installed.errno is not None:
                common.warn(f"{entry.sa.name}: the device answers {installed.errno}: {installed.note}")
    return inbound


def _receive(inbound: Inbound, sad: Sad, frame: Frame) -> Received | None:
    if frame.number == 1:
        # Time limits count from the first frame: the capture is the only clock there is.
        for entry in sad:
            entry.added = frame.time_ns / 1e9
    return None if frame.ip is None else inbound.receive(frame.ip, frame.time_ns / 1e9)


def _report(stats: InboundStats, inbound: Inbound, as_json: bool) -> None:
    from espsim.reference.offloaded import OffloadedInbound

    result = stats.as_dict()
    if isinstance(inbound, OffloadedInbound):
        result.setdefault("device", {})
        result["model"] = inbound.device.model.id
        result["assumptions"] = list(inbound.device.assumptions)
    if as_json:
        common.print_json(result)
        return
    from espsim.report.terminal import print_inbound

    print_inbound(result)
