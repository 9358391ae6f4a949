"""SAs for commands that open packets: from `--sad`, or from the capture's own secrets block.

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
    """The secrets of a capture; None: `--sad` is given instead. Raises as `io.opening.read_secrets`."""
    from espsim.io.opening import read_secrets

    return read_secrets(capture) if sad_path is None else None


def load_sads_or_secrets(
    capture: str, sad_path: str | None, secrets: Secrets | None, *,
    model: str | None, keep_window: bool, strict_windows: bool = False, lookup: str | None = None,
) -> tuple[Sad, list[Unused]]:  # fmt: skip
    """As `common.load_sads`, of `sad_path`, else of the secrets of `capture`.

    Also warns of windows that refuse no replays. InputError: there is neither a file nor a secrets block.
    """
    from espsim.core.errors import InputError

    if sad_path is not None:
        found = common.load_sads(sad_path, keep_window=keep_window, strict_windows=strict_windows, lookup=lookup)
        common.warn_open_windows(found[0])
        return found
    if model is not None:
        raise InputError("--model needs --sad: a secrets block does not state the mode, which devices need")
    if keep_window:
        raise InputError("--keep-window needs --sad: a secrets block has no windows")
    for fault in secrets.faults if secrets is not None else ():
        common.warn(f"{capture}: secrets block: not used: {fault}")
    if secrets is None or not secrets.text:
        none = secrets is None or not secrets.blocks
        why = "no secrets block for ESP before its first frame" if none else "no usable secrets"
        raise InputError(f"{why}, and no --sad: give the file with the SAs", where=capture)
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
        f"note: {where}: {count} {'SA' if count == 1 else 'SAs'}, without a mode (each packet shows it), an"
        " encapsulation and a replay window: replays are not refused"
    )
    return sad, unused


def _at_port(sa: SecurityAssociation, ports: dict[str, int]) -> SecurityAssociation:
    """An SA, with UDP encapsulation at the port that a comment names, if one does."""
    port = ports.get(sa.name, 0)
    if sa.encap is None or not 0 < port < 65536:
        return sa
    return replace(sa, encap=replace(sa.encap, dport=port))


def _in_mode(sa: SecurityAssociation, aggregated: set[str]) -> SecurityAssociation:
    """An SA, in mode IPTFS if a comment says so: a packet alone does not show whether it is IP-TFS."""
    from espsim.sad.association import Mode

    return replace(sa, mode=Mode.IPTFS) if sa.name in aggregated else sa


def note_secrets(capture: str, blocks: int, late: int, sad_path: str | None) -> None:
    """Note which of a capture's `blocks` of secrets were not used; `late` of them came after a frame."""
    count = blocks if sad_path is not None else late
    if not count:
        return
    which, be = ("secrets block", "is") if count == 1 else ("secrets blocks", "are")
    if sad_path is not None:
        common.warn(f"note: {capture}: {count} {which} {be} not used, because --sad is given")
    else:
        common.warn(f"note: {capture}: {count} {which} after the first frame {be} not used, only those before it")
