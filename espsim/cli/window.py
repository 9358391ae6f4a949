"""`espsim window`: which replay window a capture needs. No keys are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common, packets
from espsim.cli.numbers import Number
from espsim.cli.pages import html_option, html_page

if TYPE_CHECKING:
    from espsim.analysis.window import Configured, Key
    from espsim.io.capture import CaptureCut
    from espsim.io.tcp import TcpStreams


@click.command()
@click.argument("capture", metavar="CAPTURE")
@click.option("--sad", "sad_path", metavar="FILE", help="SAs: their windows, and which have ESN.")
@click.option(
    "--list",
    "most",
    default=20,
    show_default=True,
    type=Number(0, 1 << 20, "a number of streams"),
    metavar="N",
    help="How many SPIs and destinations to show; JSON has all of them.",
)
@click.option("--plot", metavar="FILE", help="Draw packets lost against the window (.png or .svg; needs matplotlib).")
@html_option
@common.width_options
@common.json_option
def window(
    capture: str, sad_path: str | None, most: int, plot: str | None, html_path: str | None, as_json: bool
) -> None:  # fmt: skip
    """Say which replay window a capture needs, from the sequence numbers alone.

    For each SPI and destination the report has: packets, missing numbers, duplicates, how late packets came, how many
    of them windows of 32 to 4096 and each shipped device's largest window refuse, and the smallest window that refuses
    none. A sender that starts again at 1 is recognised. CAPTURE is read as by decap; - is standard input.

    With --sad the SAs' own windows are checked, too, and the report names the counter that shows a loss:
    XfrmInStateSeqError, or with ESN XfrmInStateProtoError, because the receiver infers the next high half and the ICV
    fails.
    """
    from espsim.report.html.window import window_html
    from espsim.report.plots import image_format, need_matplotlib

    if plot is not None:
        image_format(plot)
        need_matplotlib()
    common.keep_apart({"CAPTURE": capture, "--sad": sad_path}, {"--plot": plot, "--html": html_path})
    with html_page(html_path) as page:
        result, cut = _asked(capture, sad_path)
        if plot is not None:
            _draw(plot, result)
        page.write(lambda made: window_html(result, capture, most, made))
    with common.reporting(plot, html_path):
        if as_json:
            common.print_json(result)
        else:
            from espsim.report.window import print_window

            print_window(result, most)
    if cut is not None:
        raise cut


def _asked(capture: str, sad_path: str | None) -> tuple[dict[str, Any], CaptureCut | None]:
    """The result for a capture, and where the capture is cut, if it is."""
    from espsim.analysis.window import EspStreams, device_windows, summary
    from espsim.batch.numbers import numbers
    from espsim.io.batches import open_batches
    from espsim.io.capture import CaptureCut
    from espsim.io.fragments import Joiner
    from espsim.reference.layers import judge

    configured, ports, in_tcp = _configured(sad_path)
    joiner = Joiner(judge(ports), streams=in_tcp)
    streams, cut = EspStreams(), None
    with (
        open_batches(capture, joiner) as reader,
        packets.progress(capture) as advance,
    ):
        try:
            for spi, dst, seq in numbers(reader, ports, advance):
                streams.add(spi, dst, seq)
        except CaptureCut as error:
            cut = error
    streams.finish()
    return summary(streams, configured, device_windows()), cut


def _configured(path: str | None) -> tuple[dict[Key, Configured], frozenset[int], TcpStreams]:
    """From the SAD: the window of each SPI and destination, the UDP ports of ESP, and its possible TCP streams."""
    from espsim.analysis.window import Configured
    from espsim.core.numbers import PROTO_ESP
    from espsim.io.tcp import TcpStreams, streams_of
    from espsim.reference.outer import encap_ports
    from espsim.wire.udp import PORT_NAT_T

    if path is None:
        return {}, frozenset({PORT_NAT_T}), TcpStreams()
    sad = common.load_sad(path)
    found = {
        (entry.sa.spi, entry.sa.dst): Configured(entry.sa.window, entry.sa.esn)
        for entry in sad
        if entry.sa.proto == PROTO_ESP
    }
    return found, encap_ports(sad), streams_of(sad)


def _draw(path: str, result: dict[str, Any]) -> None:
    from espsim.io.atomic import OutputFile
    from espsim.report.plots import image_format
    from espsim.report.window import draw_window

    output = OutputFile(path)
    try:
        output.file.write(draw_window(result, image_format(path)))
        output.commit()
    finally:
        output.discard()
