"""The whole batch path, in and out: cases by size, SAs, engine, window and share of hits, each beside its peers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from espsim.aead.engines import AUTO, engine_by_name
from espsim.measure import aead_peers
from espsim.measure.cases import BenchCase, BenchGroup, engine_facts, ready
from espsim.measure.inbound_work import InboundWork
from espsim.measure.model_tables import ModelTable
from espsim.measure.outbound_work import OutboundWork
from espsim.measure.path_work import PathWork
from espsim.measure.peers import BenchPeer, Unavailable
from espsim.measure.traffic import Size, mean_size
from espsim.measure.tunnels import WINDOW, room_for

BASE = 100
"""Number of SAs of the case that others are compared with."""
IN, OUT = "in", "out"
DIRECTIONS = (IN, OUT)


@dataclass(frozen=True, slots=True)
class PipelinePoint:
    """One case to measure. `engine`: the name of an engine that can be used."""

    what: str
    size: Size
    sas: int
    engine: str
    hit: float = 1.0
    window: int = WINDOW
    esn: bool = False


def work_of(point: PipelinePoint, seed: int, model: ModelTable | None = None) -> PathWork:
    """A point's packets and path, in this process."""
    engine = engine_by_name(point.engine)
    if point.what == IN:
        return InboundWork(
            point.sas, point.size, point.hit, engine, seed, model=model, window=point.window, esn=point.esn
        )
    return OutboundWork(point.sas, point.size, point.hit, engine, seed, esn=point.esn)


def case_of(point: PipelinePoint, seed: int, model: ModelTable | None = None) -> BenchCase:
    """A point as a case. Raises Unavailable where there is no memory for it."""
    room_for(point.sas, point.engine)
    case = BenchCase(
        "pipeline", point.what, point.sas, size=point.size, engine=point.engine, model=model.ident if model else None,
        hit=point.hit, extra={**engine_facts(engine_by_name(point.engine)), "mean_size": round(mean_size(point.size))},
    )  # fmt: skip
    case.extra |= {"window": point.window if point.what == IN else None, "esn": point.esn}
    return ready(functools.partial(_set_up, case, point, seed, model))


def _set_up(case: BenchCase, point: PipelinePoint, seed: int, model: ModelTable | None) -> BenchCase:
    work = work_of(point, seed, model)
    case.once, case.stages = work.once, work.staged
    case.extra["bytes_per_sa"] = round(work.bytes_per_sa, 1)
    return case


def pipeline_groups(
    points: list[PipelinePoint], seed: int, model: ModelTable | None, operations: int
) -> Iterator[BenchGroup]:
    """One group for each size. `operations`: of each peer, 0 runs none."""
    for size in dict.fromkeys(point.size for point in points):
        cases: dict[PipelinePoint, BenchCase] = {}
        group = BenchGroup([])
        for point in points:
            if point.size != size:
                continue
            try:
                cases[point] = case_of(point, seed, model)
            except Unavailable as reason:
                group.skipped.append(str(reason))
        if operations:
            _add_peers(cases, size, operations)
        group.cases = list(cases.values())
        yield group


def _add_peers(cases: dict[PipelinePoint, BenchCase], size: Size, operations: int) -> None:
    """The peers: programs that open the same packets, and our own case that differs in one thing."""
    best = engine_by_name(AUTO).name
    gcm, openssl = (
        functools.cache(functools.partial(aead_peers.crypto_perf, driver, "open", size, operations))
        for driver in (aead_peers.GCM, aead_peers.OPENSSL)
    )
    scapy = functools.cache(functools.partial(aead_peers.scapy, size))
    by_engine: dict[str, list[Callable[[], BenchPeer]]] = {"libcrypto": [openssl], "cryptography": [scapy]}
    for point, case in cases.items():
        # Other programs have one key, and every packet of theirs has an SA.
        if point.what == IN and point.hit == 1 and point.sas <= BASE:
            first = [gcm] if point.engine == best != "cryptography" else []
            for make in first + by_engine.get(point.engine, []):
                case.against(make)
        others = (
            ("inbound pipeline", point.what == OUT, replace(point, what=IN)),
            (f"{BASE} SAs", point.sas > BASE, replace(point, sas=BASE)),
            (f"window {WINDOW}", point.window != WINDOW, replace(point, window=WINDOW)),
            ("without ESN", point.esn, replace(point, esn=False)),
        )
        case.peers += [cases[other].as_peer(name) for name, applies, other in others if applies and other in cases]
