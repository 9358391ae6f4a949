"""SAs for commands that open packets: from `--sad`, or from the secrets that the capture brings along.

secrets = brought_along(capture, sad_path)      before the capture is opened
sad, unused = load_sads_or_secrets(...)
note_secrets(...)                               after it was read
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from espsim.cli import common

if TYPE_CHECKING:
    from espsim.io.opening import Secrets
    from espsim.sad.association import SecurityAssociation
    from espsim.sad.sad import Sad
    from espsim.text.found import Unused

_PORT = re.compile(r"(0x[0-9a-f]{8}@\S+): mode .* dport ([0-9]{1,5}) addr .*")
_IPTFS = re.compile(r"(0x[0-9a-f]{8}@\S+): mode iptfs\b.*")
"""Comments of a secrets block (io/secrets.py)."""


def brought_along(capture: str, sad_path: str | None) -> Secrets | None:
    """The secrets of a capture, None where `--sad` is there in their place. Raises as `io.opening.read_secrets`."""
    from espsim.io.opening import read_secrets

    return read_secrets(capture) if sad_path is None else None


def load_sads_or_secrets(
    capture: str, sad_path: str | None, secrets: Secrets | None, *,
    model: str | None, keep_window: bool, strict_windows: bool = False, lookup: str | None = None,
) -> tuple[Sad, list[Unused]]:  # fmt: skip
    """As `common.load_sads`, of `sad_path` or else of the secrets of `capture`.

    Windows that refuse no replays are warned of, too. InputError also where there is neither.
    """
    from espsim.core.errors import InputError

    if sad_path is not None:
        found = common.load_sads(sad_path, keep_window=keep_window, strict_windows=strict_windows, lookup=lookup)
        common.warn_open_windows(found[0])
        return found
    if model is not None:
        raise InputError("--model goes with --sad: a secrets block says no mode, and devices ask for it")
    if keep_window:
        raise InputError("--keep-window goes with --sad: a secrets block says nothing of windows")
    for fault in secrets.faults if secrets is not None else ():
        common.warn(f"{capture}: secrets block: not used: {fault}")
    if secrets is None or not secrets.text:
        none = secrets is None or not secrets.blocks
        why = "no secrets block of ESP before its first frame" if none else "no secrets that can be used"
        raise InputError(f"{why}, and no --sad: name the file with the SAs", where=capture)
    return _load_secrets(capture, secrets, strict_windows=strict_windows, lookup=lookup)


def _load_secrets(
    capture: str, secrets: Secrets, *, strict_windows: bool, lookup: str | None
) -> tuple[Sad, list[Unused]]:  # fmt: skip
    from espsim.text.parse import parse_secrets

    where = f"{capture}: secrets block"
    text = parse_secrets(secrets.text, where)
    ports = {found[1]: int(found[2]) for found in map(_PORT.fullmatch, secrets.comments) if found is not None}
    aggregated = {found[1] for found in map(_IPTFS.fullmatch, secrets.comments) if found is not None}
    text.sas = [replace(item, sa=_in_mode(_at_port(item.sa, ports), aggregated)) for item in text.sas]
    sad, unused = common.sad_of_text(text, where, strict_windows=strict_windows, lookup=lookup)
    count = sum(1 for _ in sad)
    common.warn(
        f"note: {where}: {count} {'SA' if count == 1 else 'SAs'}, of which it says no mode (each packet shows it), no"
        " encapsulation and no replay window: replays are not refused"
    )
    return sad, unused


def _at_port(sa: SecurityAssociation, ports: dict[str, int]) -> SecurityAssociation:
    """An SA whose packets come in UDP to a port of its own, where a comment says so."""
    port = ports.get(sa.name, 0)
    if sa.encap is None or not 0 < port < 65536:
        return sa
    return replace(sa, encap=replace(sa.encap, dport=port))


def _in_mode(sa: SecurityAssociation, aggregated: set[str]) -> SecurityAssociation:
    """An SA in mode IPTFS, where a comment says so: what its packets hold is an SA's, and no packet's own."""
    from espsim.sad.association import Mode

    return replace(sa, mode=Mode.IPTFS) if sa.name in aggregated else sa


def note_secrets(capture: str, blocks: int, late: int, sad_path: str | None) -> None:
    """Which of the `blocks` of secrets of a capture, of which `late` came after a frame, were not used."""
    count = blocks if sad_path is not None else late
    if not count:
        return
    which, be = ("secrets block", "is") if count == 1 else ("secrets blocks", "are")
    if sad_path is not None:
        common.warn(f"note: {capture}: {count} {which} {be} not used, because --sad is given")
    else:
        common.warn(f"note: {capture}: {count} {which} after the first frame {be} not used, only those before it")
