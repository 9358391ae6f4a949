"""Models with tables of a few rows, for tests of one policy at a time.

The capabilities are software's, so every SA is taken. What a test does not state about the driver is "unknown", so that
a run which asks for it stops.
"""

from __future__ import annotations

from typing import Any

from espsim.offload.device import Device, Installed, PacketKey, Reached
from espsim.offload.model import Model
from espsim.offload.schema import Spec
from espsim.sad.association import Mode, SecurityAssociation
from tests.support import gcm_sa

Table = dict[str, Any]

_BESIDE: Table = {"scope": "device", "multi_match": "impossible", "miss": "software"}
EXACT: Table = {"kind": "exact", "key": ["spi"], "capacity": 4, **_BESIDE}
"""Rows 0 to 3, with whole SPIs as keys."""
DIRECT: Table = {"kind": "direct", "key": ["spi"], "index": {"fn": "mask", "bits": 2}, "capacity": 4, **_BESIDE}
"""Slots 0 to 3, by the two low bits of the SPI."""
HASH: Table = {"kind": "hash", "key": ["spi"], "index": {"fn": "vendor_hash"}, "ways": 2, "sets": 1, "capacity": 2,
               **_BESIDE}  # fmt: skip
"""Two ways of one row: any two keys fit."""
ARRAY: Table = {"kind": "direct", "key": ["prev"], "index": {"fn": "slot_of_prev"}, "capacity": 3, **_BESIDE}
"""Three SA contexts after a key table."""

TO_DST = {**EXACT, "key": ["spi", "dst"]}
"""Rows in which the SAs of one SPI are apart."""
ONE_ROW = {**EXACT, "capacity": 1}

BY_SPI = ["spi"]
REJECT, OVERWRITE = {"policy": "reject", "errno": "EEXIST"}, {"policy": "overwrite"}
KEEP_FIRST, COEXIST, SOFTWARE = {"policy": "keep_first"}, {"policy": "coexist"}, {"policy": "software"}
FULL = {"policy": "reject", "errno": "ENOSPC"}
LOW24 = {"slot": "spi_low24", "full": FULL}
"""The low 24 bits of the SPI are the slot of the array."""

_UNKNOWN: Table = {"policy": "unknown"}
_PARTS: dict[str, Table] = {
    "classify": {"kind": "static", "key": ["port", "esp"], "rule": "any", "capacity": 0, "miss": "software"},
    "verify": {"always": [], "optional": [], "on_mismatch": "unknown", "on_invalid": "unknown"},
    "program": {
        "slot": "first_free", "identity": ["none"], "duplicate": _UNKNOWN, "full": _UNKNOWN, "spi_owner": "host",
        "delete": {"by": "handle", "duplicate_delete": "unknown", "first_delete": "unknown",
                   "silent_delete": "unknown"},
    },
    "result": {"sa_ref": "hw_index", "icv_fail": "unknown", "replay_fail": "unknown", "sa_ref_on_fail": True},
}  # fmt: skip
_CAPS: Table = {
    "offload": [], "dirs": ["in"], "modes": ["transport", "tunnel"], "encap": ["none", "udp"], "esn": True,
    "replay": {"where": "none"}, "algs": [],
    "lifetime": {"packets": "none", "bytes": "none", "time": "none", "hard": "none"},
}  # fmt: skip


def model_of(*lookup: Table, caps: Table | None = None, **parts: Table) -> Model:
    """A model of these tables; `parts` are keys of [inbound.classify], [inbound.program] and so on."""
    inbound: Table = {name: {**part, **parts.get(name, {})} for name, part in _PARTS.items()}
    raw: Table = {
        "schema": 1,
        "id": "small",
        "device": {"vendor": "-", "part": "-", "driver": "-", "status": "software", "sources": []},
        "caps": {**_CAPS, **(caps or {})},
        "inbound": {"lookup": list(lookup), **inbound},
        "outbound": {"capacity": 0, "full": "unknown"},
    }
    return Model("small", Spec.model_validate(raw), (), raw)


def device_of(*lookup: Table, **parts: Table) -> Device:
    """A device of such a model."""
    return Device(model_of(*lookup, **parts))


def sa(spi: int, dst: int = 1, src: int = 1, **options: Any) -> SecurityAssociation:
    """An SA from 192.0.2.src to 198.51.100.dst."""
    options = {"mode": Mode.TRANSPORT, "window": 0, **options}
    return gcm_sa(f"192.0.2.{src}", f"198.51.100.{dst}", spi, **options)


def packet(of: SecurityAssociation, **changes: Any) -> PacketKey:
    """A packet of an SA, as hardware sees it."""
    return PacketKey(of.src, of.dst, of.spi)._replace(**changes)


def delete(by: str = "handle", **policies: str) -> dict[str, str]:
    return {"by": by, "duplicate_delete": "unknown", "first_delete": "unknown", "silent_delete": "unknown", **policies}


def found(device: Device, of: SecurityAssociation, **changes: Any) -> int | str:
    """Whose context a packet of this SA gets; or what it meets."""
    answer = device.lookup(packet(of, **changes))
    return answer.sa_index if answer.reached is Reached.HIT else answer.reached.name


def written(number: int) -> Installed:
    return Installed(None, True, number, f"written to slot {number}")


def refused(errno: str, note: str) -> Installed:
    return Installed(errno, False, None, note)


def unnoticed(note: str, slot: int | None = None) -> Installed:
    return Installed(None, False, slot, f"{note}: not installed, and the driver reports success")
