"""`espsim decap`: a capture of ESP in, the inner packets out, a verdict for every packet.

Reads SAs (secrets.py), chooses a path (packets.py), prints. Does not open packets: explain/run.py takes the capture
through reference/inbound.py, explain/run_batches.py through the batch path.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common, packets, secrets
from espsim.core.inputs import STANDARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from espsim.core.stopping import gently
    from espsim.explain.auditable import AuditLog
    from espsim.explain.known import Known
    from espsim.explain.run import Files, RanCapture
    from espsim.io.arrivals import Arrivals
    from espsim.reference.inbound import Inbound
    from espsim.text.found import Unused


@click.command()
@click.argument("capture", metavar="IN")
@click.option("-o", "--output", metavar="OUT", help="Where the inner packets go (pcap, raw IP).  [default: nowhere]")
@click.option(
    "--sad", "sad_path", metavar="FILE",
    help="SAs as `ip xfrm state`, setkey or Wireshark have them.  [default: IN's own secrets block]",
)  # fmt: skip
@click.option("--keep-window", is_flag=True, help="Start windows and counters where FILE's dump has them.")
@click.option("--verdicts", metavar="FILE", help="Write one JSON line for every frame of the capture.")
@click.option(
    "--no-reassemble", is_flag=True, help="Outer fragments are not put together: each is FRAGMENT (RFC 4303 3.4.1)."
)
@packets.audit_option
@click.option(
    "--fail-on-drop", is_flag=True, help="Exit status 1 where a packet failed, or one inside was refused (IP-TFS)."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    type=click.Choice(["strict-windows", "ring-windows", "rfc6040"]),
    help="strict-windows: every duplicate is refused, also where Linux's window passes one; rfc6040: ECN of tunnels is"
    " that RFC's, not Linux's.",
)
@packets.policy_options
@packets.wire_options
@packets.mark_options
@common.lookup_option
@packets.way_options
@common.model_options(multiple=False)
@common.width_options
@common.json_option
def decap(
    capture: str,
    output: str | None,
    sad_path: str | None,
    keep_window: bool,
    verdicts: str | None,
    no_reassemble: bool,
    audit_log: str | None,
    fail_on_drop: bool,
    options: tuple[str, ...],
    spd: str | None,
    local: tuple[str, ...],
    clear: bool,
    loss: float | None,
    duplicate: float | None,
    reorder: float | None,
    seed: int | None,
    mark: int | None,
    any_mark: bool,
    lookup: str | None,
    reference: bool,
    batch: bool,
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
    used. SA selectors are judged; policies only with --spd, after decapsulation as Linux asks them: the `in` policy
    that takes the inner packet, where none does the `fwd` policy (a capture does not say which addresses are this
    host's; --local does). An SA with an if_id comes by its xfrm interface. --clear judges packets that are not ESP,
    too, but for copies of packets that were opened, which a capture on the receiver has, and goes one at a time. An SA
    in `mode beet` takes the inner addresses from its selector. One in `mode iptfs` (RFC 9347, `iptfs-opts drop-time N
    reorder-window N`) gives inner packets as they are complete, by the capture's clock. `espsim engines --suites` lists
    the algorithms; an AEAD with an implicit IV (RFC 8750), for which Linux has no name, is `aead iiv(NAME)`:
    iiv(rfc4106(gcm(aes))).

    Without --sad the SAs are those of IN's Decryption Secrets Blocks before its first frame (pcapng; encap --secrets
    writes one, Wireshark 4.7 reads it), rows of Wireshark's esp_sa table. They say no mode (a packet whose next header
    is 4 or 41 is in tunnel mode, any other in transport mode), no encapsulation (it may be in UDP, on port 4500) and no
    replay window. With --sad such blocks are passed over.

    Outer fragments are put together before anything is looked up, as Linux does: a datagram is one packet, in the place
    and at the time of the frame that completes it, and one that is never completed counts as FRAGMENT.

    ESP in TCP (RFC 9329) is opened, too: streams of port 4500, of the ports of SAs with encap type espintcp, and those
    that begin with IKETCP are put together, and each ESP packet in them is one packet of the frame that completes it.

    ESP in ESP (a bundle of transport SAs, a tunnel in a tunnel) is opened up to six SAs deep, where what is inside goes
    to the destination of an SA that is not outbound; a seventh is DEPTH. OUT gets the innermost packet, and the verdict
    is the last layer's (`depth` in --verdicts); windows and counters of each SA that opened a layer move, and all their
    selectors are asked about the innermost packet. Inside ESP to such a destination an unknown SPI is NO_SA; ESP to
    anyone else, and a fragment of ESP, is delivered as it is.

    A capture has no marks: an SA with a mark is found with --mark, or with --any-mark, which takes the newest SA of an
    SPI and destination whatever its mark is.

    What this host sent itself is SENT: a frame with the source and destination of an outbound SA (dir out, or offload
    dir out), and an outgoing one of a Linux cooked capture whose SA is not dir in. It is opened, its inner packet goes
    to OUT, no window is asked and no Linux counter moves.

    What failed is explained (`why` in --json): one cause of a closed list for each SA and verdict, found by trying with
    the keys that are there. Up to 32 packets of each are tried; nothing that opens under another assumption is
    delivered. `notes` has what was odd but accepted.

    --audit-log writes a line for what RFC 4303 calls auditable: no valid SA, a refused number, a wrong ICV, and with
    --no-reassemble fragments; SPI, time, addresses, number and flow label, never a key. Of each event at most ten a
    second of the capture's clock are written, and a line counts the rest (`audit` in --json has totals).

    --loss, --duplicate and --reorder are faults of the wire, for a class: each frame is lost, comes twice, or is
    overtaken by up to 16 frames, with this chance; --seed draws others. The report says what they did (`wire` in
    --json), and frames are numbered as they arrive.

    Windows start empty (with ESN at FILE's high half) unless --keep-window. A window whose size does not divide 2^32
    (33, say) is kept as Linux keeps it, and one duplicate of the first packet passes; --option strict-windows refuses
    every duplicate. Without --model SAs are found as Linux finds them, or by longest match with --lookup longest; with
    one the modelled device looks first, and the software lookup says where it was wrong.
    """
    from espsim.core.stopping import gently
    from espsim.explain.known import Known
    from espsim.explain.run import Files
    from espsim.io.atomic import Outputs

    writes = {"-o": output, "--verdicts": verdicts, "--audit-log": audit_log}
    common.keep_apart({"IN": capture, "--sad": sad_path, "--spd": spd, "--model": common.by_path(model)}, writes)
    way = packets.way(
        capture, reference=reference, batch=batch, engine=engine, workers=workers, model=model, clear=clear
    )  # fmt: skip
    policies = packets.policies_of(spd, local, clear)
    strict = "strict-windows" in options
    brought = secrets.brought_along(capture, sad_path)
    sad, unused = secrets.load_sads_or_secrets(
        capture, sad_path, brought, model=model, keep_window=keep_window, strict_windows=strict, lookup=lookup
    )
    inbound = packets.inbound_path(sad, packets.mark_of(mark, any_mark), model, assume, policies)
    inbound.rfc6040 = "rfc6040" in options
    common.note_rings(sad)
    common.keep_apart({"--model": _model_files(inbound)}, writes)
    wire = packets.wire(loss, duplicate, reorder, seed)
    with Outputs() as outputs, gently(capture == STANDARD) as reading:
        lines = outputs.text(verdicts) if verdicts is not None else None
        audit = packets.audit_log_of(outputs, audit_log)
        files = Files(capture, output, verdicts, lines, outputs, reassemble=not no_reassemble, audit=audit)
        with _ended_by(reading):
            if wire is not None:
                wire.arrive(capture)
            ran = _run(files, inbound, Known(sad, unused, inbound.mark), way)
    secrets.note_secrets(capture, ran.secrets, ran.late_secrets, sad_path)
    with common.reporting(output, verdicts, audit_log):
        _report(ran, inbound, unused, way, wire, audit, as_json)
    if reading.asked:
        sys.exit(128 + signal.SIGINT)
    cut = ran.cut if wire is None else ran.cut or wire.cut
    if cut is not None:
        raise cut
    if fail_on_drop and (ran.stats.failed or ran.stats.refused_inside):
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


def _model_files(inbound: Inbound) -> list[str]:
    """The files that the model was read from, those that it extends among them."""
    if not inbound.modelled:
        return []
    from espsim.reference.offloaded import OffloadedInbound

    return [d.name for d in inbound.device.model.documents] if isinstance(inbound, OffloadedInbound) else []


def _run(files: Files, inbound: Inbound, known: Known, way: packets.PathChoice) -> RanCapture:
    """The capture, through the path that was asked for."""

    def begin(now: float) -> None:
        packets.begin(inbound.sad, now)

    if way.reference:
        from espsim.explain.run import one_by_one

        return one_by_one(files, inbound, known, begin)
    from espsim.explain.run_batches import in_batches

    with packets.progress(files.capture) as advance:
        return in_batches(files, inbound, known, begin, way, advance=advance)


def _report(
    ran: RanCapture, inbound: Inbound, unused: list[Unused], way: packets.PathChoice, wire: Arrivals | None,
    audit: AuditLog | None, as_json: bool,
) -> None:  # fmt: skip
    result = ran.stats.as_dict() | {"why": ran.why, "notes": ran.notes, "unused": common.unused_json(unused)}
    result["path"] = way.path
    if audit is not None:
        result["audit"] = audit.as_dict()
    if wire is not None:
        result["wire"] = wire.as_dict()
    if inbound.modelled:
        result |= _device(inbound, result)
    if as_json:
        common.print_json(result)
        return
    from espsim.report.terminal import print_inbound

    print_inbound(result)


def _device(inbound: Inbound, result: dict[str, Any]) -> dict[str, Any]:
    """What the report says of the modelled device."""
    from espsim.reference.offloaded import OffloadedInbound

    assert isinstance(inbound, OffloadedInbound)  # noqa: S101 - `modelled` says so
    device = inbound.device
    return {"device": result.get("device", {}), "model": device.model.id, "assumptions": list(device.assumptions)}
