"""Everything on a page, as JSON values: the explanation cut to a size, what can be saved, the four questions.

Without `show_keys` it has no key and no salt: the nonce is shown in parts, with the salt hidden.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from espsim.core.echo import printable_values, shortened
from espsim.core.verdict import OutboundVerdict
from espsim.explain.page.flip import flips
from espsim.explain.page.gathered import Gathered
from espsim.explain.page.mask import masks
from espsim.explain.page.twice import twice
from espsim.explain.page.who import who_may
from espsim.io.linktype import RAW
from espsim.io.pcap import file_header, frame_header
from espsim.io.pcapng import packet_block, section_start
from espsim.io.secrets import emit
from espsim.sad.sad import Sad
from espsim.text.esp_sa_write import secret_rows
from espsim.text.show import format_dump

MOST_BYTES = 2048
"""At most so many bytes of the frame are drawn, and of a field that is not in the frame."""
_MOST_STEPS, _FIRST_STEPS = 60, 20
_MOST_TEXT, _MOST_SADS = 3000, 48 << 10
_MOST_FIELDS = 48
_PCAPNG = bytes.fromhex("0a0d0d0a")


def contents(
    result: Mapping[str, Any], gathered: Gathered, *, source: str, mark: int | None, show_keys: bool, sealed: bool
) -> dict[str, Any]:
    """A page's contents. `result` is what `espsim explain --json` prints; `sealed`: of `--seal`."""
    steps = [_step(step) for step in result["steps"]]
    left_out = len(steps) - _MOST_STEPS
    if left_out > 0:
        steps = [*steps[:_FIRST_STEPS], *steps[_FIRST_STEPS + left_out :]]
    head = {name: result[name] for name in _HEAD if name in result}
    found = {
        **head,
        "source": shortened(source, 200),
        "sealed": sealed,
        "show_keys": show_keys,
        "bytes": result["bytes"][: 2 * MOST_BYTES],
        "length": len(result["bytes"]) // 2,
        "steps": steps,
        "steps_left_out": max(left_out, 0),
        "first_steps": _FIRST_STEPS,
        "unsent": _unsent(result, show_keys),
        "save": _save(
            gathered, _capture(result, gathered, sealed, _secrets(result, gathered) if show_keys else b""), show_keys
        ),
        "questions": _questions(result, gathered, mark, sealed),
    }
    cut: dict[str, Any] = json.loads(json.dumps(printable_values(found, keep="\n\t")))
    return cut


_HEAD = ("frame", "frames", "verdict", "linux_counter", "cause", "detail", "sa", "spi_hex", "seq", "seq64",
         "wire_length", "model", "assumptions", "engine", "engine_version", "engine_isa")  # fmt: skip


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    """A step, cut to a size. Of bytes in the frame only their place is given."""
    fields = [_field(field) for field in step["fields"][:_MOST_FIELDS]]
    repeat = [
        each if len(each["command"]) <= _MOST_TEXT else {"of": each["of"], "command": None} for each in step["repeat"]
    ]
    return {
        "step": shortened(step["step"], 200),
        "source": step["source"],
        "says": shortened(step["says"], _MOST_TEXT),
        "fields": fields,
        "fields_left_out": len(step["fields"]) - len(fields),
        "repeat": repeat,
    }


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    digits, value = field["hex"], field["value"]
    cut = digits is not None and len(digits) > 2 * MOST_BYTES
    return {
        **field,
        "name": shortened(field["name"], 200),
        "hex": digits[: 2 * MOST_BYTES] if cut else digits,
        "value": shortened(value, _MOST_TEXT) if isinstance(value, str) else value,
        "cut": cut,
    }


def _unsent(result: Mapping[str, Any], show_keys: bool) -> list[dict[str, Any]]:
    """The values that both ends compute and the wire does not carry, in this order."""
    found: list[dict[str, Any]] = []
    if result["seq64"] is not None:
        found.append({"name": "seq64", "parts": [], "value": str(result["seq64"]), "step": "ESN"})
    for name in ("nonce", "AAD", "MAC input"):
        step = next((step for step in result["steps"] if step["step"] == name), None)
        if step is not None:
            parts = [_field(field) for field in step["fields"]]
            found.append({"name": name, "parts": parts, "value": step["says"], "step": name})
    for each in found:
        for part in each["parts"]:
            if part["name"] == "SALT" and not show_keys:
                part["hex"] = None
    return found


def _secrets(result: Mapping[str, Any], gathered: Gathered) -> bytes:
    """The secrets block of a capture that Wireshark can open: rows for the high halves of the SAs and this packet."""
    pairs = []
    for entry in gathered.texts:
        epochs = {entry.sa.replay.seq_hi, entry.sa.replay.oseq_hi}
        if entry.sa.name == result["sa"] and result["seq64"] is not None:
            epochs.add(result["seq64"] >> 32)
        pairs.append((entry.sa, sorted(epochs)))
    rows = secret_rows(pairs)
    return emit(rows.rows, rows.comments)


def _capture(result: Mapping[str, Any], gathered: Gathered, sealed: bool, secrets: bytes) -> bytes | None:
    """The capture to save: the frames that were read, or the one packet that was made."""
    if not sealed or result["verdict"] != OutboundVerdict.SEALED.name or gathered.seen is None:
        return gathered.capture(secrets)
    packet = bytes.fromhex(result["bytes"])
    if secrets:
        return section_start(RAW, True) + secrets + packet_block(packet, gathered.seen.record.time_ns, True)
    return file_header(RAW, True) + frame_header(gathered.seen.record.time_ns, len(packet), True) + packet


def _save(gathered: Gathered, capture: bytes | None, show_keys: bool) -> dict[str, Any]:
    """The capture in base64 (None: too long), and the SAs as `ip xfrm state` prints them."""
    texts: list[str] = []
    size = 0
    for entry in gathered.texts:
        text = format_dump(entry.sa, nokeys=not show_keys)
        size += len(text)
        if size > _MOST_SADS:
            break
        texts.append(text)
    return {
        "capture": None if capture is None else base64.b64encode(capture).decode(),
        "capture_name": "explained.pcapng" if show_keys and capture and capture[:4] == _PCAPNG else "explained.pcap",
        "frames_left_out": 0 if gathered.seen is None else gathered.left_out,
        "sad": "".join(texts),
        "sas_left_out": len(gathered.texts) - len(texts),
        "keys": show_keys,
    }


def _questions(result: Mapping[str, Any], gathered: Gathered, mark: int | None, sealed: bool) -> dict[str, Any]:
    spi = int(result["spi_hex"], 16) if result["spi_hex"] else None
    entry = next((entry for entry in (*gathered.sad, *gathered.texts) if entry.sa.name == result["sa"]), None)
    window = entry.sa.window if entry is not None else None
    return {
        "flip": _flip(result, gathered, mark, sealed),
        "twice": twice(result["seq"], window),
        "mask": masks(spi),
        "who": who_may(spi),
    }


def _flip(result: Mapping[str, Any], gathered: Gathered, mark: int | None, sealed: bool) -> dict[str, Any] | None:
    """The flips of the frame. None: the frame is not a whole packet (a fragment, or ESP in TCP)."""
    seen = gathered.seen
    if seen is None or not gathered.alone or len(result["frames"]) > 1:
        return None
    now = seen.record.time_ns / 1e9
    if not sealed:
        return flips(
            gathered.sad, seen.record.data, seen.record.linktype, mark=mark, now=now, outgoing=seen.frame.outgoing,
            own=gathered.own,
        )  # fmt: skip
    if result["verdict"] != OutboundVerdict.SEALED.name:
        return None
    return flips(_peers(gathered, result), bytes.fromhex(result["bytes"]), RAW, mark=mark, now=now)


def _peers(gathered: Gathered, result: Mapping[str, Any]) -> Sad:
    """The SAD of the receiver of a sealed packet: the same SA, inbound and unused."""
    peer = Sad()
    for entry in gathered.texts:
        if entry.sa.name == result["sa"]:
            peer.newsa(replace(entry.sa, dir=None))
            break
    return peer
