"""`espsim explain`: one packet, byte by byte, and what each line of a dump does."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click

from espsim.cli import common, packets, secrets
from espsim.cli.numbers import Number

if TYPE_CHECKING:
    from espsim.explain.page.gathered import Gathered
    from espsim.reference.inbound import Inbound


@click.command()
@click.argument("source", metavar="IN")
@click.option(
    "--sad", "sad_path", metavar="FILE",
    help="The SAs, in the words of `ip xfrm state`, setkey or Wireshark.  [default: IN's own secrets block]",
)  # fmt: skip
@click.option(
    "--frame",
    "number",
    type=Number(1, 1 << 62, "a frame"),
    metavar="N",
    help="The number of the frame.  [default: the first ESP frame]",
)
@click.option("--keep-window", is_flag=True, help="Start windows and counters with the values in FILE.")
@click.option("--no-reassemble", is_flag=True, help="Do not reassemble outer fragments (RFC 4303 3.4.1).")
@click.option("--seal", is_flag=True, help="Explain how a clear IP packet is sealed, as by encap.")
@click.option(
    "--mtu",
    type=Number(68, 65535, "an MTU in bytes"),
    metavar="N",
    help="With --seal: the path's MTU, as for encap.",
)
@click.option("--show-keys", is_flag=True, help="Show keys and salts instead of fingerprints of keys.")
@click.option(
    "--html",
    "html_path",
    metavar="FILE",
    help="Write a page for a browser, too: steps, bytes, four questions; one file that fetches nothing.",
)
@click.option(
    "--option", "options", multiple=True, type=click.Choice(["strict-windows", "ring-windows", "rfc6040"]),
    help="strict-windows: refuse every duplicate, even one that Linux's window passes; rfc6040: as for decap.",
)  # fmt: skip
@packets.policy_options
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
    no_reassemble: bool,
    seal: bool,
    mtu: int | None,
    show_keys: bool,
    html_path: str | None,
    options: tuple[str, ...],
    spd: str | None,
    local: tuple[str, ...],
    clear: bool,
    mark: int | None,
    any_mark: bool,
    lookup: str | None,
    model: str | None,
    assume: tuple[str, ...],
    as_json: bool,
) -> None:
    """Explain one ESP packet, byte by byte.

    IN is a capture, - for standard input, or the hex digits of an IP packet or an Ethernet frame (blanks, colons and 0x
    are ignored; a file may have hex digits, too). Frames before N are run first, so that verdict, counter and cause are
    the same as those of `espsim decap`. Frames after N are read only if the cause depends on them (damage or a wrong
    key, a restart) or N is a fragment, and at most 1,024 of them.

    Each step names its source and shows its bytes (offsets from the frame's first byte). For computed values it prints
    shell lines that compute them again with openssl or Python. In these lines $KEY, $SALT and $AUTH_KEY are the SA's
    keys in hex; for AES-GCM and other AEADs the salt is the last 3 or 4 bytes of the key in FILE. A key is shown as a
    fingerprint, the first 8 hex digits of its SHA-256. Someone who guesses a key can check the guess by it, as by the
    packet's ICV. `nonce` in --json includes the salt.

    --html writes a page that shows the steps one by one, and for each byte its field and its steps. The capture and the
    SAs can be saved from it. It also answers what happens to this packet if a bit flips, if it comes twice or late, if
    a device looks at a part of the SPI, and who else may have its SPI. It has no key or salt without --show-keys.

    If IN is the text of `ip xfrm state`, each word of it is explained: the field that it sets and its effect.

    The options are those of `espsim decap`. Exit status 0: a packet was explained, even one that failed.
    """
    from espsim.core.errors import InputError
    from espsim.explain.frames import open_source
    from espsim.explain.known import Known
    from espsim.explain.page.gathered import Gathered
    from espsim.explain.single import Single

    reads = {"IN": _file(source), "--sad": sad_path, "--spd": spd, "--model": common.by_path(model)}
    common.keep_apart(reads, {"--html": html_path})
    path = _file(source)
    brought = secrets.brought_along(path, sad_path) if path is not None and not seal else None
    ear: Gathered | None = None
    with open_source(source) as found:
        if isinstance(found, str):
            if html_path is not None:
                raise InputError("--html needs a packet, and IN is the text of `ip xfrm state`")
            _explain_dump(found, source, as_json)
            return
        if sad_path is None and not (brought is not None and brought.blocks):
            raise InputError("opening a packet needs SAs with their keys: give --sad FILE")
        asked = packets.mark_of(mark, any_mark)
        if seal:
            _refuse_with_seal(
                {
                    "--keep-window": keep_window,
                    "--no-reassemble": no_reassemble,
                    "--option": set(options) - {"rfc6040"},
                    "--lookup": lookup,
                    "--model": model,
                    "--spd": spd,
                }
            )
            outbound = packets.outbound_path(common.load_sad(str(sad_path)), asked, mtu)
            outbound.rfc6040 = "rfc6040" in options
            begin = functools.partial(packets.begin, outbound.sad)
            if html_path is not None:
                ear = Gathered(outbound.sad)
            single = Single(found, _name(source), begin, show_keys=show_keys, ear=ear)
            result = single.sealed(outbound, number).as_dict()
        else:
            if mtu is not None:
                raise InputError("--mtu needs --seal: it limits packets that leave, not those that arrive")
            strict = "strict-windows" in options
            sad, unused = secrets.load_sads_or_secrets(
                source, sad_path, brought, model=model, keep_window=keep_window, strict_windows=strict, lookup=lookup
            )
            inbound = packets.inbound_path(sad, asked, model, assume, packets.policies_of(spd, local, clear))
            inbound.rfc6040 = "rfc6040" in options
            common.note_rings(sad)
            known = Known(inbound.sad, unused, inbound.mark)
            begin = functools.partial(packets.begin, inbound.sad)
            if html_path is not None:
                ear = Gathered(inbound.sad, inbound.ports, own=inbound.sent is not None)
            single = Single(found, _name(source), begin, show_keys=show_keys, reassemble=not no_reassemble, ear=ear)
            result = single.opened(inbound, known, number).as_dict()
            if model is not None:
                _add_model(result, inbound)
    result = result | common.reference_engine()
    if html_path is not None and ear is not None:
        _write_page(html_path, result, ear, _name(source), asked, show_keys=show_keys, sealed=seal)
    with common.reporting(html_path):
        _print(result, source, as_json)


def _file(source: str) -> str | None:
    """IN if it is a path, else None."""
    from espsim.explain.frames import is_digits

    return None if is_digits(source) else source


def _name(source: str) -> str:
    """The name of IN in messages."""
    from espsim.explain.frames import DIGITS

    return _file(source) or DIGITS


def _explain_dump(text: str, source: str, as_json: bool) -> None:
    from espsim.explain.dump import explain_dump

    lines = [line.as_dict() for line in explain_dump(text, source)]
    if as_json:
        common.print_json({"lines": lines})
        return
    from espsim.report.explain_dump import print_dump

    print_dump(lines)


def _print(result: dict[str, Any], source: str, as_json: bool) -> None:
    if as_json:
        common.print_json(result)
        return
    from espsim.report.explain import print_explained

    print_explained(result, _name(source))


def _write_page(
    path: str, result: dict[str, Any], ear: Gathered, name: str, mark: int | None, *, show_keys: bool, sealed: bool
) -> None:
    """Write the page, whole or not at all; with keys in it, readable for its owner alone."""
    from espsim.explain.page.contents import contents
    from espsim.io.atomic import atomic_output
    from espsim.report.page import page_html

    found = contents(result, ear, source=name, mark=mark, show_keys=show_keys, sealed=sealed)
    with atomic_output(path, private=show_keys) as output:
        output.write(page_html(found))


def _refuse_with_seal(given: dict[str, Any]) -> None:
    """InputError: an option is for opening packets only."""
    from espsim.core.errors import InputError

    for name, value in given.items():
        if value:
            raise InputError(f"{name} is for opening packets, and --seal explains how one is sealed")


def _add_model(result: dict[str, Any], inbound: Inbound) -> None:
    from espsim.reference.offloaded import OffloadedInbound

    if isinstance(inbound, OffloadedInbound):
        result["model"] = inbound.device.model.id
        result["assumptions"] = list(inbound.device.assumptions)
