"""Two SAs with one SPI, and four others, in a table that looks at some low bits of the SPI: a run for each width."""

from __future__ import annotations

import copy
from typing import Any

from espsim.core.address import format_address
from espsim.offload.compare import association
from espsim.offload.device import Device, Reached
from espsim.offload.keys import PacketKey
from espsim.offload.model import Model, load_model
from espsim.offload.schema import Spec
from espsim.sad.association import SecurityAssociation

MODEL = "marvell-cn10k-dpdk"
"""A model with a masked index. The page's slider sets its width."""
WIDTHS = range(1, 17)
_APART = (3, 6, 9, 12)
"""The SPI of each other SA differs from the first one's in one of these bits."""
_DEFAULT = 0x1234
_NAMES = "ABCDEF"


def masks(spi: int | None) -> dict[str, Any]:
    """`sas`, and in `runs`, for each width of the mask, where each SA went and what its packet meets."""
    model = load_model(MODEL)
    sas = _sas(model, spi or _DEFAULT)
    return {
        "model": MODEL,
        "device": f"{model.spec.device.vendor} {model.spec.device.part}",
        "sas": [
            {"name": name, "spi": f"0x{sa.spi:08x}", "dst": format_address(sa.dst)}
            for name, sa in zip(_NAMES, sas, strict=False)
        ],
        "runs": [{"bits": bits, "sas": _run(model, bits, sas)} for bits in WIDTHS],
    }


def _sas(model: Model, spi: int) -> list[SecurityAssociation]:
    """A and B with one SPI and two destinations, and the others. No SPI is 0."""
    others = [spi ^ 1 << bit for bit in _APART]
    if 0 in others:
        return _sas(model, spi | 1 << 20)
    return [association(model, n, each, reqid=n) for n, each in enumerate((spi, spi, *others), 1)]


def _masked(model: Model, bits: int) -> Model:
    """The model with an index of `bits` bits, and a slot for each of its values."""
    raw = copy.deepcopy(model.raw)
    lookup = raw["inbound"]["lookup"][0]
    lookup["index"]["bits"], lookup["capacity"] = bits, 1 << bits
    return Model(model.id, Spec.model_validate(raw), model.documents, raw)


def _run(model: Model, bits: int, sas: list[SecurityAssociation]) -> list[dict[str, Any]]:
    device = Device(_masked(model, bits))
    installed = [device.add(n, sa) for n, sa in enumerate(sas)]
    holders = dict(device.occupancy())
    found = []
    for n, (sa, answer) in enumerate(zip(sas, installed, strict=True)):
        slot = sa.spi & (1 << bits) - 1
        met = device.lookup(PacketKey(sa.src, sa.dst, sa.spi))
        uses = met.sa_index if met.action == "use" else None
        outcome = met.reached.name if uses is None or met.reached is not Reached.HIT else _whose(uses, n)
        found.append(
            {
                "slot": slot,
                "errno": answer.errno,
                "holder": _NAMES[holders[slot]] if slot in holders else None,
                "outcome": outcome,
                "uses": _NAMES[uses] if uses is not None else None,
            }
        )
    return found


def _whose(uses: int, own: int) -> str:
    return "HIT" if uses == own else "WRONG_SA"
