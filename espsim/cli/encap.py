"""`espsim encap`: a capture of clear packets in, ESP out, and the rows that let Wireshark decrypt it."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import click

from espsim.cli import common

if TYPE_CHECKING:
    from collections.abc import Iterable

    from espsim.reference.outbound import Outbound


@click.command()
@click.argument("capture", metavar="IN")
@click.option("-o", "--output", required=True, metavar="OUT", help="Where the ESP packets go (pcap, raw IP).")
@click.option("--sad", "sad_path", required=True, metavar="FILE", help="SAs as `ip xfrm state` prints or takes them.")
@click.option("--esp-sa", metavar="FILE", help="Write the rows of Wireshark's esp_sa table that decrypt OUT.")
@click.option("--mtu", default=1500, show_default=True, type=click.IntRange(576, 65535), help="Bounds TFC padding.")
@common.json_option
def encap(capture: str, output: str, sad_path: str, esp_sa: str | None, mtu: int, as_json: bool) -> None:
    """Seal the IP packets of a capture.

    Each packet goes out under the SA whose selector takes it: transport SAs want the packet's own addresses, the most
    specific selector wins, then the newest SA. SAs with `dir in` or a mark are passed over. Sequence numbers go on from
    FILE's replay-oseq (or its dump's oseq). Packets that no SA takes are counted as no_sa and left out.

    --esp-sa holds the SAs' keys: keep it as you keep FILE.
    """
    from espsim.core.errors import InputError
    from espsim.io.capture import CaptureCut, CaptureWriter, open_capture
    from espsim.pipeline.stats import OutboundStats
    from espsim.reference.outbound import Outbound

    if esp_sa is not None and esp_sa == output:
        raise InputError("--esp-sa and -o name the same file", where=output)
    sad = common.load_sad(sad_path)
    outbound = Outbound(sad, os.urandom, mtu=mtu)
    stats = OutboundStats()
    epochs: dict[int, list[int]] = {}
    cut: CaptureCut | None = None
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(open_capture(capture))
        writer = stack.enter_context(CaptureWriter(output, nanosecond=reader.nanosecond))
        try:
            for frame in reader:
                if frame.number == 1:
                    for entry in sad:
                        entry.added = frame.time_ns / 1e9
                sent = outbound.send(frame.ip, frame.time_ns / 1e9) if frame.ip is not None else None
                stats.count(sent)
                if sent is not None and sent.packet is not None and sent.entry is not None:
                    writer.write(sent.packet, frame.time_ns)
                    _note_epoch(epochs, sent.entry.sa_index, sent.seq64 or 0)
        except CaptureCut as error:
            cut = error
        if esp_sa is not None:
            _write_esp_sa(esp_sa, outbound, epochs)
        writer.commit()
    if outbound.ambiguous:
        common.warn("several SAs took the same packet equally well, and the newest was used: give selectors or dir")
    result = stats.as_dict()
    if as_json:
        common.print_json(result)
    else:
        from espsim.report.terminal import print_outbound

        print_outbound(result)
    if cut is not None:
        raise cut


def _note_epoch(epochs: dict[int, list[int]], sa_index: int, seq64: int) -> None:
    """Which high halves of the sequence number an SA's packets had, in order."""
    seen = epochs.setdefault(sa_index, [])
    if not seen or seen[-1] != seq64 >> 32:
        seen.append(seq64 >> 32)


def _write_esp_sa(path: str, outbound: Outbound, epochs: dict[int, list[int]]) -> None:
    from espsim.io.atomic import atomic_output
    from espsim.io.esp_sa import esp_sa_rows

    used = [entry for entry in outbound.sad if entry.sa_index in epochs]
    lines: Iterable[str] = esp_sa_rows([(e.sa, epochs[e.sa_index]) for e in used])
    with atomic_output(path, private=True) as file:
        file.writelines(f"{line}\n" for line in lines)
