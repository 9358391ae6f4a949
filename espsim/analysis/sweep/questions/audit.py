"""What a device does with a generated SAD: `espsim audit` of SAs whose SPIs come from an allocator.

Every SA has a source and a destination of its own, and is one that the model takes. Allocators:

    independent   independent uniform draws: many key managers, or a kernel that compares within a destination only
    unique        uniform draws without repetition
    sequential    one after another, from the range's lowest
    an SPI rule   ALLOCSPI of a namespace under that rule, for each destination in turn (`espsim policies`)
"""

from __future__ import annotations

import random
from dataclasses import replace

from espsim.analysis.audit import audit
from espsim.analysis.inventory import Inventory, take_inventory
from espsim.analysis.odds import Range, acceptable
from espsim.analysis.sweep.questions.kind import (
    LOSES_NONE,
    LOSES_SOME,
    UNKNOWN,
    Axis,
    Given,
    Params,
    QuestionKind,
    TaskResult,
    Value,
    model_name,
    range_of,
    spi_range,
    whole,
)
from espsim.core.errors import InputError
from espsim.core.numbers import PROTO_ESP
from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest
from espsim.offload.device import Device
from espsim.sad.association import Direction, SecurityAssociation
from espsim.sad.spi import SPI_RULES
from espsim.text.survey import SaTemplate, Survey

NO_INBOUND = "takes no inbound SA"
ALLOCATORS = ("independent", "unique", "sequential")


def run(params: Params, seed: int, given: Given) -> TaskResult:
    """Generate the SAD, offer it to the device, and count the SAs by their fate."""
    rng = random.Random(seed)
    model = given.model(params["model"])
    try:
        like = acceptable(model)
    except InputError:
        return TaskResult(NO_INBOUND, {})
    spis = draw_spis(params["allocator"], params["sas"], range_of(params["range"]), rng)
    found = audit(generated(like, spis), Device(model, seed=rng.getrandbits(32)), most=0)
    works, fates, sas = found.works, found.fates, len(spis)
    lost, unknown = found.lost, works["unknown"]
    answer = LOSES_SOME if lost else UNKNOWN if unknown else LOSES_NONE
    return TaskResult(answer, {
        "lost": lost, "lost_share": None if unknown else lost / sas, "wrong_sa": works["wrong_sa"],
        "hardware": works["hardware"],
        "software": works["software"], "unknown": unknown, "collides": fates["collides"], "aliases": fates["aliases"],
        "overflows": fates["overflows"], "refused": fates["refused"],
    })  # fmt: skip


def draw_spis(allocator: str, sas: int, span: Range, rng: random.Random) -> list[int]:
    """The SPIs of `sas` SAs, each with its own destination. InputError: the range has too few."""
    if allocator in SPI_RULES:
        return _from_kernel(allocator, sas, span, rng)
    if allocator == "independent":
        return [rng.randint(span.low, span.high) for _ in range(sas)]
    if sas > len(span):
        raise InputError(f"{sas} SAs with SPIs of their own, and the range has {len(span)}")
    if allocator == "unique":
        return rng.sample(range(span.low, span.high + 1), sas)
    return list(range(span.low, span.low + sas))


def _from_kernel(policy: str, sas: int, span: Range, rng: random.Random) -> list[int]:
    netns = Netns(policy, seed=rng.getrandbits(64))
    return [
        netns.allocspi(SpiRequest(bytes(4), _address(10, number), PROTO_ESP, span.low, span.high)).sa.spi
        for number in range(1, sas + 1)
    ]


def generated(like: SecurityAssociation, spis: list[int]) -> Inventory:
    """Inbound SAs of one form, each with its own source and destination, in order."""
    survey = Survey()
    template = survey.number_of(SaTemplate(replace(like, dir=Direction.IN), dump=False, mode=like.mode.value))
    for number, spi in enumerate(spis, 1):
        survey.add(template, number, _address(11, number), _address(10, number), spi, 1)
    return take_inventory(survey)


def _address(first: int, number: int) -> bytes:
    return (first << 24 | number).to_bytes(4)


def _allocator(value: Value) -> Value:
    if value not in (*ALLOCATORS, *SPI_RULES):
        raise ValueError(f"{str(value)[:40]!r} is not legal; legal: {', '.join((*ALLOCATORS, *SPI_RULES))}")
    return value


KIND = QuestionKind(
    "audit", "what a device does with a generated SAD", {
        "model": Axis("a hardware model", model_name),
        "sas": Axis("inbound SAs", whole(1, 1_000_000)),
        "range": Axis("the range of the SPIs, MIN-MAX", spi_range, "0x100-0xffffffff"),
        "allocator": Axis("who gives SPIs: independent, unique, sequential, or an SPI rule", _allocator, "independent"),
    }, run, headline="lost_share", shown=("lost_share", "software"), along="sas",
)  # fmt: skip
