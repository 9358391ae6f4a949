"""`espsim decap`: opens the ESP of a capture, writes the inner packets, and has a verdict for every packet.

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
@click.option(
    "-o", "--output", metavar="OUT", help="Write the inner packets to OUT (pcap, raw IP).  [default: not written]"
)
@click.option(
    "--sad", "sad_path", metavar="FILE",
    help="The SAs, in the words of `ip xfrm state`, setkey or Wireshark.  [default: IN's own secrets block]",
)  # fmt: skip
@click.option("--keep-window", is_flag=True, help="Start windows and counters with the values in FILE.")
@click.option("--verdicts", metavar="FILE", help="Write one JSON line for every frame of the capture.")
@click.option(
    "--no-reassemble", is_flag=True, help="Do not reassemble outer fragments: each is FRAGMENT (RFC 4303 3.4.1)."
)
@packets.audit_option
@click.option(
    "--fail-on-drop", is_flag=True, help="Exit status 1 if a packet failed, or an inner packet of IP-TFS was refused."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    type=click.Choice(["strict-windows", "ring-windows", "rfc6040"]),
    help="strict-windows: refuse every duplicate, even one that Linux's window passes; rfc6040: treat ECN of tunnels as"
    " RFC 6040 says, not as Linux does.",
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
    loopback) of any length; - is standard input, and ^C ends reading it: the report so far is printed, exit status 130.
    OUT gets the inner IP packets, in order of arrival, with the outer packets' times; - is standard output, and the
    report then goes to standard error. Frames that are not ESP are counted by what they are.

    FILE is what people paste: the output of `ip xfrm state` or `ip -s xfrm state` with keys, `[ip] xfrm state
    add|update ...` lines, setkey's words (-D, -c), or Wireshark's esp_sa table. Prompts, policies and other lines are
    passed over with a note. SAs that are not modelled, or whose keys are hidden, are named and not used. `espsim
    engines --suites` lists the algorithms. Linux has no name for an AEAD with an implicit IV (RFC 8750): write `aead
    iiv(NAME)`, such as iiv(rfc4106(gcm(aes))). An SA in `mode beet` has the inner addresses in its selector. An SA in
    `mode iptfs` (RFC 9347, `iptfs-opts drop-time N reorder-window N`) delivers each inner packet when it is complete,
    by the capture's clock.

    Without --sad the SAs come from Decryption Secrets Blocks before IN's first frame (pcapng; encap --secrets writes
    one, Wireshark 4.7 reads it). Such a block has rows of Wireshark's esp_sa table, without mode, encapsulation and
    replay window: a packet whose next header is 4 or 41 is in tunnel mode, any other in transport mode; it may be in
    UDP on port 4500; replays pass. With --sad such blocks are ignored.

    Outer fragments are reassembled before any lookup, as Linux does. A datagram is one packet, at the place and time of
    the frame that completes it. A datagram that is never completed counts as FRAGMENT.

    ESP in TCP (RFC 9329) is opened, too: in streams of port 4500, of the ports of SAs with encap type espintcp, and in
    those that begin with IKETCP. Each ESP packet belongs to the frame that completes it.

    ESP in ESP (a bundle of transport SAs, a tunnel in a tunnel) is opened up to six SAs deep if the inner packet goes
    to the destination of an SA that is not outbound; a seventh layer is DEPTH. OUT gets the innermost packet. The
    verdict is that of the last layer (`depth` in --verdicts). Windows and counters of every SA that opened a layer
    move, and all their selectors must accept the innermost packet. Inner ESP to such a destination with an unknown SPI
    is NO_SA. ESP to any other destination, and a fragment of ESP, is delivered unopened.

    Selectors of SAs are checked. Policies are checked only with --spd, after decapsulation, as Linux does: the `in`
    policy for the inner packet, and if there is none the `fwd` policy, because a capture does not say which addresses
    are this host's; --local does. A packet of an SA with an if_id arrives at that xfrm interface. --clear also checks
    packets that are not ESP, except copies of opened packets, which a capture on the receiver has; it runs packets one
    at a time.

    A capture has no marks. --mark gives every packet a mark; --any-mark takes the newest SA of an SPI and destination,
    whatever its mark.

    Packets that this host sent are SENT: frames with the source and destination of an outbound SA (dir out, or offload
    dir out), and outgoing frames of a Linux cooked capture whose SA is not dir in. They are opened and go to OUT; no
    window and no Linux counter moves.

    `why` in --json explains failures: one cause from a closed list for each SA and verdict, found by trying the
    available keys on up to 32 packets of each. A packet that opens under another assumption is not delivered. `notes`
    has what was odd but accepted.

    --audit-log writes a JSON line for each event that RFC 4303 calls auditable: no valid SA, a replay, a wrong ICV, and
    with --no-reassemble a fragment. A line has the SPI, time, addresses, sequence number and flow label, never a key.
    At most ten lines a second of the capture's clock are written of each event; one line counts the rest (`audit` in
    --json has totals).

    --loss, --duplicate and --reorder are faults of the wire, for teaching: each is the chance that a frame is lost,
    comes twice, or is overtaken by up to 16 others. --seed changes the draw. The report says what happened (`wire` in
    --json). Frames are numbered in order of arrival.

    Windows start empty (with ESN at FILE's high half) unless --keep-window is given. A window whose size does not
    divide 2^32 (33, say) works as in Linux, which passes one duplicate of the first packet; --option strict-windows
    refuses every duplicate. Without --model SAs are found as Linux finds them, or by longest match with --lookup
    longest. With --model the modelled device looks first, and the report says where it differs from software.
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
    """End the command on ^C before the capture has begun: there is nothing to report."""
    from espsim.core.errors import InputError
    from espsim.core.stopping import Stopped

    try:
        yield
    except InputError as error:
        if reading.asked and error.where == STANDARD:
            raise Stopped(signal.SIGINT) from None
        raise


def _model_files(inbound: Inbound) -> list[str]:
    """The files that the model was read from, including those that it extends."""
    if not inbound.modelled:
        return []
    from espsim.reference.offloaded import OffloadedInbound

    return [d.name for d in inbound.device.model.documents] if isinstance(inbound, OffloadedInbound) else []


def _run(files: Files, inbound: Inbound, known: Known, way: packets.PathChoice) -> RanCapture:
    """Run the capture through the chosen path."""

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
    """The part of the report about the modelled device."""
    from espsim.reference.offloaded import OffloadedInbound

    assert isinstance(inbound, OffloadedInbound)  # noqa: S101 - `modelled` says so
    device = inbound.device
    return {"device": result.get("device", {}), "model": device.model.id, "assumptions": list(device.assumptions)}
