"""`espsim explain`: one packet, byte by byte, and what each line of a dump does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common, packets
from espsim.cli.numbers import Number
from espsim.core.inputs import STANDARD

if TYPE_CHECKING:
    from espsim.explain.frames import Seen
    from espsim.explain.packet import Explained
    from espsim.reference.inbound import Inbound
    from espsim.xfrm.found import Unused


@click.command()
@click.argument("source", metavar="IN")
@click.option("--sad", "sad_path", metavar="FILE", help="SAs as `ip xfrm state`, setkey or Wireshark have them.")
@click.option(
    "--frame", "number", type=Number(1, 1 << 62, "a frame"), metavar="N", help="Which frame.  [default: the first ESP]"
)
@click.option("--keep-window", is_flag=True, help="Start windows and counters where FILE's dump has them.")
@click.option("--show-keys", is_flag=True, help="Show keys and salts, not their fingerprints.")
@click.option(
    "--option", "options", multiple=True, type=click.Choice(["strict-windows", "ring-windows"]),
    help="strict-windows: every duplicate is refused, also where Linux's window passes one.",
)  # fmt: skip
@packets.mark_options
@common.lookup_option
@common.model_options(multiple=False)
@common.width_options
@common.json_option
def explain(
    source: str,
    sad_path: str | None,
    number: int | None,
    keep_window: bool,
    show_keys: bool,
    options: tuple[str, ...],
    mark: int | None,
    any_mark: bool,
    lookup: str | None,
    model: str | None,
    assume: tuple[str, ...],
    as_json: bool,
) -> None:
    """Explain one ESP packet, byte by byte.

    IN is a capture, - for standard input, or hex digits of an IP packet or an Ethernet frame (blanks, colons and 0x are
    passed over). Frames before N are run first, so that the verdict is `espsim decap`'s for that frame; nothing behind
    N is read.

    Each step of the run names its source and shows its bytes (offsets from the frame's first byte), and lines for a
    shell that compute a value again with openssl or a few lines of Python. In them $KEY, $SALT and $AUTH_KEY are the
    SA's keys in hex: of AES-GCM and the like the last 3 or 4 bytes of the key in FILE are the salt. A key is shown by
    its fingerprint, the first 8 hex digits of its SHA-256: who can guess a key can check the guess by that, as by the
    packet's ICV. `nonce` of --json is whole, its salt included.

    The options are those of `espsim decap`. Exit status 0: a packet was explained, also one that failed.
    """
    from espsim.core.errors import InputError

    if sad_path is None:
        raise InputError("--sad FILE is needed: the SAs with their keys")
    common.keep_apart({"IN": source, "--sad": sad_path, "--model": common.by_path(model)}, {})
    inbound, _unused = _inbound(sad_path, keep_window, "strict-windows" in options, lookup,
                               (packets.mark_of(mark, any_mark), model, assume))  # fmt: skip
    explained = _explained(inbound, source, number, show_keys)
    result = explained.as_dict() | common.reference_engine()
    _add_model(result, inbound)
    if as_json:
        common.print_json(result)
        return
    from espsim.report.explain import print_explained

    print_explained(result, "the digits" if _is_hex(source) else source)


def _inbound(
    sad_path: str, keep_window: bool, strict: bool, lookup: str | None,
    way: tuple[int | None, str | None, tuple[str, ...]],
) -> tuple[Inbound, list[Unused]]:  # fmt: skip
    """The path that decap would run, and the SAs that can't be used. `way`: mark, model and assumptions."""
    from espsim.cli.decap import _path

    sad, unused = common.load_sads(sad_path, keep_window=keep_window, strict_windows=strict, lookup=lookup)
    common.warn_open_windows(sad)
    inbound = _path(sad, *way)
    common.note_rings(sad)
    return inbound, unused


def _is_hex(source: str) -> bool:
    """Whether IN is digits: no file has that name, and it looks like them."""
    from espsim.explain.frames import looks_like_hex

    return source != STANDARD and looks_like_hex(source) and not os.path.exists(source)


def _frames(source: str) -> Iterator[Seen]:
    from espsim.core.inputs import open_input
    from espsim.explain.frames import hex_frame, seen_frames

    if _is_hex(source):
        yield hex_frame(source)
        return
    with open_input(source, buffering=1 << 16) as file:
        yield from seen_frames(file, source)


def _explained(inbound: Inbound, source: str, number: int | None, show_keys: bool) -> Explained:
    """Frames one after another up to the one that is wanted. InputError: it is not there, or not ESP."""
    from espsim.core.errors import InputError
    from espsim.explain.packet import explain_packet, explain_why
    from espsim.reference.outer import parse_outer

    seen, where = None, "IN" if _is_hex(source) else source
    for seen in _frames(source):
        frame, now = seen.frame, seen.frame.time_ns / 1e9
        if frame.number == 1:
            packets.begin(inbound.sad, now)
        if frame.number == number or (
            number is None and frame.ip is not None and parse_outer(frame.ip, inbound.ports) is not None
        ):
            explained = explain_packet(inbound, seen, show_keys=show_keys)
            if explained is None:
                raise InputError(_not_esp(seen, inbound), where=where, frame=frame.number)
            explain_why(inbound, explained, seen)
            return explained
        if frame.ip is not None:
            inbound.receive(frame.ip, now)
    had = f"it has {seen.frame.number}" if seen is not None else "it has none"
    if number is not None:
        raise InputError(f"there is no frame {number}: {had}", where=where)
    raise InputError(f"no ESP packet in {had.removeprefix('it has ')} frames", where=where)


def _not_esp(seen: Seen, inbound: Inbound) -> str:
    from espsim.reference.layers import layer_of

    frame = seen.frame
    kind = frame.link if frame.ip is None else layer_of(frame.ip, inbound.ports)
    return f"is not ESP, but {kind.label}"


def _add_model(result: dict[str, Any], inbound: Inbound) -> None:
    from espsim.reference.offloaded import OffloadedInbound

    if isinstance(inbound, OffloadedInbound):
        result["model"] = inbound.device.model.id
        result["assumptions"] = list(inbound.device.assumptions)
