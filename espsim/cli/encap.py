"""`espsim encap`: seals a capture of clear packets, and writes the rows that let Wireshark decrypt the result."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from espsim.cli import common, packets
from espsim.cli.numbers import Number

if TYPE_CHECKING:
    from espsim.batch.run.capture import Piece
    from espsim.batch.run.lanes import OutboundLane
    from espsim.batch.run.stats import OutboundStats
    from espsim.core.arrays import U64
    from espsim.core.outbound_batch import OutboundBatch
    from espsim.explain.auditable import AuditEvent, AuditLog
    from espsim.io.atomic import OutputPlace, Outputs
    from espsim.io.batches import BatchWriter
    from espsim.io.capture import CaptureCut, CaptureWriter
    from espsim.reference.outbound import Outbound
    from espsim.sad.entry import SadEntry
    from espsim.sad.sad import Sad
    from espsim.text.parse import ParsedSa


@dataclass(frozen=True, slots=True)
class _Files:
    """The capture and the outputs: ESP packets (with `secrets` or without), rows of esp_sa, and `audit`, the log of SAs
    that have no sequence number left.
    """

    capture: str
    output: str
    rows: TextIO | None
    secrets: bool
    outputs: Outputs
    audit: AuditLog | None = None

    @property
    def wants_epochs(self) -> bool:
        """Whether an output needs the high halves of sequence numbers."""
        return self.secrets or self.rows is not None


@click.command()
@click.argument("capture", metavar="IN")
@click.option("-o", "--output", required=True, metavar="OUT", help="Write the ESP packets to OUT (pcap, raw IP).")
@click.option(
    "--sad",
    "sad_path",
    required=True,
    metavar="FILE",
    help="The SAs, in the words of `ip xfrm state`, setkey or Wireshark.",
)
@click.option("--esp-sa", metavar="FILE", help="Write the rows of Wireshark's esp_sa table that decrypt OUT.")
@click.option(
    "--secrets", is_flag=True, help="Write OUT as pcapng with the keys in it, so that decap and Wireshark 4.7 open it."
)
@click.option(
    "--mtu",
    type=Number(68, 65535, "an MTU in bytes"),
    metavar="N",
    help="The path's MTU: packets that do not fit are refused, cut or fragmented, as by Linux.  [default: none, but TFC"
    " padding ends at 1500]",
)
@click.option(
    "--insecure",
    metavar="WHAT",
    help="Allow SAs that protect nothing: null (the NULL cipher without authentication), ctr (AES-CTR without an ICV),"
    " or null,ctr. By default they are refused.",
)
@click.option(
    "--option", "options", multiple=True, type=click.Choice(["rfc6040"]),
    help="rfc6040: copy the inner header's ECN to a tunnel's outer header, even CE, for which Linux writes ECT(0).",
)  # fmt: skip
@packets.audit_option
@packets.mark_options
@packets.way_options
@common.width_options
@common.json_option
def encap(
    capture: str,
    output: str,
    sad_path: str,
    esp_sa: str | None,
    secrets: bool,
    mtu: int | None,
    options: tuple[str, ...],
    insecure: str | None,
    audit_log: str | None,
    mark: int | None,
    any_mark: bool,
    reference: bool,
    batch: bool,
    engine: str | None,
    workers: int | None,
    as_json: bool,
) -> None:
    """Seal the IP packets of a capture.

    IN and FILE may be - (standard input). OUT and the file of --esp-sa may be - (standard output), and the report then
    goes to standard error. FILE is what people paste, as `espsim decap --help` says. `espsim engines --suites` lists
    the algorithms; iiv(NAME) is an AEAD with an implicit IV (RFC 8750).

    A packet is sealed under the SA whose selector takes it; a transport SA also needs the packet's own addresses. The
    most specific selector wins, then the newest SA. SAs with `dir in` are not used, and neither are those whose mark
    differs from the packets' (--mark; --any-mark ignores marks). A packet that no SA takes is counted as no_sa and left
    out. Sequence numbers continue from FILE's replay-oseq (or its dump's oseq).

    Each packet is sealed under one SA; for a bundle run encap again on OUT. An SA in `mode beet` replaces the packet's
    addresses by its own. An SA in `mode iptfs` joins and cuts packets (RFC 9347, `iptfs-opts init-delay USECS pkt-size
    N max-queue-size N dont-frag`); the delay is measured by the capture's clock.

    --mtu works as in Linux: IPv4 packets with DF that do not fit are refused, IPv6 datagrams are cut before they are
    sealed into a tunnel, and other ESP packets that are too long are fragmented. The report says what would have
    fitted. A capture from the sending host may have TCP segments that were too long for the wire, because the network
    card cut them later.

    --audit-log writes a line when an SA has no sequence number left (RFC 4303 3.3.3), at most ten a second.

    --secrets writes the rows of the SAs that sealed packets into OUT, in a Decryption Secrets Block before the packets,
    which Wireshark before 4.7 ignores. OUT is complete only at the end, so a pipe gets it then.

    --esp-sa and --secrets write the SAs' keys. The file is readable for its owner alone; keep it as safe as FILE.
    """
    from espsim.core.collector import paused
    from espsim.io.atomic import Outputs
    from espsim.text.parse import read_sad

    allowed = _insecure_words(insecure)
    common.keep_apart({"IN": capture, "--sad": sad_path}, {"-o": output, "--esp-sa": esp_sa, "--audit-log": audit_log})
    way = packets.way(capture, reference=reference, batch=batch, engine=engine, workers=workers)
    with paused():
        text = read_sad(sad_path)
    _refuse_unprotected(text.sas, sad_path, allowed)
    with paused():
        sad, unused = common.sad_of_text(text, sad_path)
    outbound = packets.outbound_path(sad, packets.mark_of(mark, any_mark), mtu)
    outbound.rfc6040 = "rfc6040" in options
    with Outputs() as outputs:
        rows = outputs.text(esp_sa, private=True) if esp_sa is not None else None
        audit = packets.audit_log_of(outputs, audit_log)
        files = _Files(capture, output, rows, secrets, outputs, audit)
        stats, cut, ambiguous = _one_by_one(files, outbound) if way.reference else _in_batches(files, outbound, way)
    if ambiguous:
        common.warn("several SAs fit the same packet equally well; the newest was used: give selectors or dir")
    result = stats.as_dict() | {"unused": common.unused_json(unused), "path": way.path}
    if audit is not None:
        result["audit"] = audit.as_dict()
    if mtu is not None:
        result["mtu"] = _fitting(stats, mtu)
    with common.reporting(output, esp_sa, audit_log):
        if as_json:
            common.print_json(result)
        else:
            from espsim.report.terminal import print_outbound

            print_outbound(result)
    if cut is not None:
        raise cut


def _fitting(stats: OutboundStats, mtu: int) -> dict[str, Any]:
    """The effect of the path's MTU: packets cut and fragmented, and for SAs that refused some the size that fits."""
    from espsim.core.verdict import OutboundVerdict
    from espsim.reference.fitting import inner_mtu

    refusals = {OutboundVerdict.PMTU.name, OutboundVerdict.PMTU_SENDER.name}
    fits = [
        {"sa": count.entry.sa.name, "refused": refused, "inner": inner_mtu(count.entry.sa, mtu)}
        for count in stats.by_sa.values()
        if (refused := sum(count.dropped[name] for name in refusals))
    ]
    return {"mtu": mtu, "cut_inside": stats.cut_inside, "fragmented": stats.fragmented, "fits": fits}


def _insecure_words(value: str | None) -> frozenset[str]:
    """The words of `--insecure`. InputError: it has another word."""
    from espsim.aead.suites import INSECURE
    from espsim.core.errors import InputError

    words = frozenset(word.strip() for word in (value or "").split(",")) if value is not None else frozenset()
    if not words <= INSECURE.keys():
        raise InputError("--insecure takes null, ctr or null,ctr")
    return words


def _refuse_unprotected(parsed: Iterable[ParsedSa], path: str, allowed: frozenset[str]) -> None:
    """InputError: an SA that could seal would protect nothing, and its word is not allowed."""
    from espsim.aead.suites import INSECURE, unprotected
    from espsim.core.errors import InputError
    from espsim.sad.association import Direction

    for item in parsed:
        word = unprotected(item.sa.keys) if item.sa.keys is not None and item.sa.dir is not Direction.IN else None
        if word is not None and word not in allowed:
            raise InputError(
                f"{item.sa.name}: {INSECURE[word]}: give it `auth-trunc`, or say --insecure {word}", where=path,
                line=item.line,
            )  # fmt: skip


class Epochs:
    """The high halves of each SA's sequence numbers, in order: Wireshark needs a row for each."""

    def __init__(self) -> None:
        self._seen: dict[int, list[int]] = {}

    def note(self, entry: SadEntry, seq64: int) -> None:
        """Note one packet of an SA."""
        seen = self._seen.setdefault(entry.sa_index, [])
        if not seen or seen[-1] != seq64 >> 32:
            seen.append(seq64 >> 32)

    def of_iptfs(self, outbound: Outbound) -> None:
        """Note all packets of SAs in mode IPTFS, at the end."""
        for entry, highs in outbound.senders.epochs.items():
            self._seen[entry.sa_index] = highs

    def write(self, file: TextIO | None, writer: CaptureWriter, sad: Sad) -> None:
        """Write the rows of esp_sa to the file, if there is one, and to the capture, if it takes secrets."""
        from espsim.io.secrets_writer import SecretsWriter
        from espsim.text.esp_sa_write import esp_sa_rows, secret_rows

        used = [(entry.sa, self._seen[entry.sa_index]) for entry in sad if entry.sa_index in self._seen]
        if file is not None:
            file.writelines(f"{line}\n" for line in esp_sa_rows(used))
        if isinstance(writer, SecretsWriter):
            rows = secret_rows(used)
            for note, names in rows.notes.items():
                common.warn(f"--secrets: {note}" + (f": {common.shortened(names)}" if names else ""))
            writer.rows, writer.comments = rows.rows, rows.comments


def _leave(outbound: Outbound, writer: CaptureWriter, now: float) -> None:
    """Write what leaves the queues of IP-TFS up to `now` (seconds), with the times at which the delays end."""
    for leaves in outbound.senders.elapse(now):
        for packet in leaves.packets:
            writer.write(packet, leaves.time_ns)


def _finish(files: _Files, outbound: Outbound, writer: CaptureWriter, epochs: Epochs) -> None:
    """Write what is still to be written into all outputs, and give them their names."""
    _leave(outbound, writer, math.inf)
    epochs.of_iptfs(outbound)
    epochs.write(files.rows, writer, outbound.sad)
    if files.audit is not None:
        files.audit.finish()
    writer.commit()


_Note = tuple[list[tuple[int, int]], "list[AuditEvent]"]
"""What a worker reports of a piece: SAs and numbers that begin another epoch, and events for the audit log."""
_Done = tuple["OutboundStats", "CaptureCut | None", bool]


def _one_by_one(files: _Files, outbound: Outbound) -> _Done:
    """The reference path. If the capture is cut, its whole frames are kept and the cut is reported."""
    from espsim.aead.engines import engine_by_name
    from espsim.batch.run.stats import OutboundStats
    from espsim.explain.auditable import overflowed, pick
    from espsim.io.capture import CaptureCut, CaptureWriter, open_capture
    from espsim.io.secrets_writer import SecretsWriter

    engine = engine_by_name("cryptography")
    stats, epochs, cut = OutboundStats(), Epochs(), None
    kind = SecretsWriter if files.secrets else CaptureWriter
    with (
        open_capture(files.capture) as reader,
        kind(files.output, nanosecond=reader.nanosecond, outputs=files.outputs) as writer,
    ):
        try:
            for frame in reader:
                if frame.number == 1:
                    packets.begin(outbound.sad, frame.time_ns / 1e9)
                _leave(outbound, writer, frame.time_ns / 1e9)
                sent = outbound.send(frame.ip, frame.time_ns / 1e9) if frame.ip is not None else None
                stats.count(sent)
                if files.audit is not None and sent is not None:
                    files.audit.take(pick(overflowed(sent, frame.ip or b"", frame.number, frame.time_ns)))
                if sent is not None:
                    for packet in sent.wire():
                        writer.write(packet, frame.time_ns)
                    for entry, seq64 in sent.numbers():
                        epochs.note(entry, seq64)
        except CaptureCut as error:
            cut = error
        _finish(files, outbound, writer, epochs)
    stats.add_iptfs(outbound.senders.as_dict(), outbound.senders.counters)
    stats.ran_on(engine, {})
    return stats, cut, outbound.ambiguous


def _in_batches(files: _Files, outbound: Outbound, way: packets.PathChoice) -> _Done:
    """The batch path, with the same answers."""
    from espsim.batch.outbound.order import OutboundPipeline
    from espsim.batch.run.capture import run
    from espsim.batch.run.lanes import OutboundLane
    from espsim.io.batches import BatchWriter, SecretsBatchWriter, open_batches
    from espsim.io.capture import CaptureCut

    path = OutboundPipeline(outbound, way.engine)
    kind = SecretsBatchWriter if files.secrets else BatchWriter
    lane, epochs, cut = OutboundLane(path, kind.before), Epochs(), None
    with (
        open_batches(files.capture) as reader,
        kind(files.output, nanosecond=reader.nanosecond, outputs=files.outputs) as writer,
        packets.progress(files.capture) as advance,
    ):
        wanted = epochs if files.wants_epochs else None
        taker = SealedTaker(lane, wanted, writer, advance, files.audit, several=way.workers > 1)
        try:
            run(reader, lane, taker, way, lambda now: packets.begin(outbound.sad, now))
        except CaptureCut as error:
            cut = error
        _finish(files, outbound, writer, epochs)
    stats = taker.counts.stats()
    stats.add_iptfs(outbound.senders.as_dict(), outbound.senders.counters)
    stats.ran_on(path.engine, lane.alone)
    return stats, cut, lane.ambiguous


class SealedTaker:
    """Takes pieces as they are done: counts them, notes their epochs, writes the sealed packets."""

    def __init__(
        self, lane: OutboundLane, epochs: Epochs | None, writer: BatchWriter, advance: Callable[[int], None],
        audit: AuditLog | None = None, *, several: bool,
    ) -> None:  # fmt: skip
        import numpy as np

        from espsim.batch.run.counts import OutboundCounts
        from espsim.batch.run.workers import shared_zeros

        memory: Callable[..., Any] = shared_zeros if several else np.zeros
        self.counts = OutboundCounts(lane.entries, memory)
        self._audit = audit
        self._aggregated = lane.path.aggregated
        self._entries, self._epochs, self._writer, self._advance = lane.entries, epochs, writer, advance
        self._last: U64 = memory((len(lane.entries),), np.uint64)

    def order(self, piece: Piece[OutboundBatch], _ask: object) -> _Note | None:
        """As batch.run.capture.Taker, like the next ones."""
        self.counts.count(piece.batch)
        begun = [] if self._epochs is None else new_epochs(piece.batch, self._last)
        events = [] if self._audit is None else overflows(piece, self._entries)
        return (begun, events) if begun or events else None

    def place(self) -> OutputPlace | None:
        """The place for the sealed packets."""
        return self._writer.place()

    def room(self, piece: Piece[OutboundBatch]) -> int:
        """As Taker."""
        _at, length, _time_ns, leaves = piece.batch.leaving(0, piece.time_ns)
        return self._writer.room(length, leaves)

    def records(self, piece: Piece[OutboundBatch]) -> Iterator[memoryview]:
        """As Taker."""
        if self._aggregated is None:
            batch = piece.batch
            yield from self._writer.records(batch.out, *batch.leaving(0, piece.time_ns), before=batch.before)
            return
        for rows, out in self._aggregated.pieces(len(piece.batch)):
            yield from self._writer.records(piece.batch.out, *piece.batch.leaving(0, piece.time_ns, rows))
            if out is not None and out.time_ns is not None:  # sent by the clock; what rows sent is in `several`
                for packet in out.packets:
                    self._writer.write(packet, out.time_ns)  # in order: all that was yielded is written already

    def write(self, data: memoryview) -> None:
        """As Taker."""
        self._writer.append(data)

    def answer(self, request: object) -> None:
        """Nothing is asked."""

    def heard(self, note: _Note | None, at: int) -> None:
        """As Taker."""
        begun, events = note or ([], [])
        for row, seq64 in begun:
            if self._epochs is not None:
                self._epochs.note(self._entries[row], seq64)
        if self._audit is not None:
            self._audit.take(events)
        self._advance(at)


def overflows(piece: Piece[OutboundBatch], entries: list[SadEntry]) -> list[AuditEvent]:
    """An event for each packet of a piece that found no sequence number left."""
    import numpy as np

    from espsim.core.answers import Sent
    from espsim.core.verdict import OutboundVerdict
    from espsim.explain.auditable import overflowed, pick

    batch, verdict = piece.batch, OutboundVerdict.SEQ_OVERFLOW
    found = (
        overflowed(Sent(verdict, entries[sa]), batch.packet(row), int(piece.frames[row]), int(piece.time_ns[row]))
        for row in np.flatnonzero(batch.verdict == verdict).tolist()
        if (sa := int(batch.sa_index[row])) >= 0
    )
    return pick(itertools.chain.from_iterable(found))


def new_epochs(batch: OutboundBatch, last: U64) -> list[tuple[int, int]]:
    """(SA, number) of each sealed packet whose high half differs from that of the SA's packet before, in order.

    `last` (uint64[SAs], one more than the last high half) is updated.
    """
    import numpy as np

    if batch.several:
        return list(_epochs_of_several(batch, last))
    rows = np.flatnonzero(batch.verdict == 0)
    sas, epoch = batch.sa_index[rows], (batch.seq64[rows] >> np.uint64(32)) + np.uint64(1)
    found = rows[epoch != last[sas]]
    last[sas] = epoch
    return list(zip(batch.sa_index[found].tolist(), batch.seq64[found].tolist(), strict=True))


def _epochs_of_several(batch: OutboundBatch, last: U64) -> Iterator[tuple[int, int]]:
    """As `new_epochs`, where a row may have several consecutive numbers."""
    rows = zip(*(column.tolist() for column in (batch.verdict, batch.sa_index, batch.seq64)), strict=True)
    for row, (verdict, sa, seq64) in enumerate(rows):
        several = batch.several.get(row)
        numbers = [] if verdict else [seq64]
        for number in numbers if several is None else [found for _entry, found in several.sent.numbers()]:
            if last[sa] != (number >> 32) + 1:
                last[sa] = (number >> 32) + 1
                yield sa, number
