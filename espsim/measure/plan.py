"""Which groups `espsim bench` measures, by the command's options.

Without options a bench varies one thing at a time around a base: 100 SAs, the best engine, windows of 64 without ESN.
Where the user lists sizes, SAs, engines or windows, it measures every combination of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from espsim.aead.batch import BatchEngine
from espsim.aead.engines import AUTO, ENGINES, engine_by_name, find
from espsim.core.errors import InputError
from espsim.jit.compiling import compile_seconds
from espsim.measure import control_cases
from espsim.measure.aead_cases import aead_groups
from espsim.measure.capture_cases import capture_groups
from espsim.measure.cases import BenchGroup
from espsim.measure.command_cases import command_groups, powers_of_two
from espsim.measure.lookup_cases import GATHERED, lookup_groups, model_groups, replay_groups
from espsim.measure.model_tables import ModelTable, model_table
from espsim.measure.pipeline_cases import BASE, DIRECTIONS, IN, PipelinePoint, pipeline_groups
from espsim.measure.traffic import Size
from espsim.measure.tunnels import WINDOW

BENCHES = ("lookup", "aead", "replay", "pipeline", "capture", "command", "control")
SIZES: list[Size] = [64, 256, 512, 1024, 1424, "imix"]
FIGURED: list[Size] = [64, 256, 1024, 1424]
"""Sizes that have a figure."""
ENDS: list[Size] = [64, 1424]
WINDOWS = [(64, False), (64, True), (1024, True)]
"""(replay window, whether it has ESN)."""
MANY = 100_000
OPERATIONS, FEW_OPERATIONS = 2_000_000, 200_000
"""Operations of a peer's run."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """The command's options; None where the user gave none."""

    benches: tuple[str, ...] = BENCHES
    sas: list[int] | None = None
    sizes: list[Size] | None = None
    engines: list[str] | None = None
    workers: list[int] | None = None
    hit: float = 1.0
    model: str | None = None
    assume: tuple[str, ...] = ()
    window: list[int] | None = None
    esn: bool | None = None
    suite: str = "AES-128-GCM"
    peers: bool = False
    quick: bool = False
    seed: int = 1


@dataclass(slots=True)
class BenchPlan:
    """Yields the groups one after the other; each is set up when its turn comes.

    `notes` collects what is left out, and why. `compile_s`: seconds that engines spent in numba's compiler.
    """

    asked: BenchOptions
    notes: list[str] = field(default_factory=list)
    table: ModelTable | None = None
    engines: list[BatchEngine] = field(default_factory=list)
    compile_s: float = 0.0

    def __post_init__(self) -> None:
        """InputError, before anything is measured: a named model or engine cannot be used."""
        asked = self.asked
        if asked.model is not None:
            self.table = model_table(asked.model, asked.assume)
        if {"aead", "pipeline"} & set(asked.benches):
            with compile_seconds() as spent:
                self.engines = self._engines()
            self.compile_s = sum(spent)

    def groups(self) -> Iterator[BenchGroup]:
        """All of them."""
        for bench in self.asked.benches:
            yield from getattr(self, f"_{bench}")()

    def _engines(self) -> list[BatchEngine]:
        """Those asked for, or all that can be used, the fastest first."""
        if self.asked.engines is not None:
            named = [engine_by_name(name) for name in self.asked.engines]
            return list({engine.name: engine for engine in named}.values())
        found = [find(name) for name in ENGINES]
        self.notes += [f"engine {one.name} is {one.state}: {one.why}" for one in found if one.engine is None]
        return [one.engine for one in found if one.engine is not None]

    def _operations(self) -> int:
        return 0 if not self.asked.peers else FEW_OPERATIONS if self.asked.quick else OPERATIONS

    # -- the benches ------------------------------------------------------------------------------------------------

    def _lookup(self) -> Iterator[BenchGroup]:
        asked = self.asked
        if self.table is not None:
            sas = self._that_fit(self.table, asked.sas or [1000, MANY, 1_000_000])
            yield from model_groups(self.table, sas, asked.hit, asked.seed, asked.peers)
            return
        sas = asked.sas or [*([] if asked.quick else [1]), 1000, MANY, 1_000_000, GATHERED]
        yield from lookup_groups(sas, asked.hit, asked.seed, asked.peers)

    def _that_fit(self, table: ModelTable, sas: list[int]) -> list[int]:
        fitting = [count for count in sas if table.fits(count)]
        if len(fitting) < len(sas):
            self.notes.append(f"model {table.ident}: measured with {table.capacity:,} SAs at most")
        if not fitting and self.asked.sas is not None:
            raise InputError(f"its table is measured with {table.capacity:,} SAs at most", where=table.ident)
        return fitting or [table.capacity or BASE]

    def _replay(self) -> Iterator[BenchGroup]:
        asked, windows = self.asked, WINDOWS
        if asked.window is not None or asked.esn is not None:
            sizes = asked.window or [64, 1024]
            windows = [(size, esn) for size in sizes for esn in ([False, True] if asked.esn is None else [asked.esn])]
        yield from replay_groups(asked.sas or [10_000], windows, asked.seed, asked.peers)

    def _control(self) -> Iterator[BenchGroup]:
        asked = self.asked
        sas = asked.sas or (control_cases.FEW if asked.quick else control_cases.SAS)
        yield from control_cases.control_groups(sas, asked.seed, peers=asked.peers)

    def _capture(self) -> Iterator[BenchGroup]:
        yield from capture_groups(self.asked.peers, quick=self.asked.quick)

    def _command(self) -> Iterator[BenchGroup]:
        asked = self.asked
        workers = asked.workers or powers_of_two()
        yield from command_groups(
            asked.sizes or ENDS, workers, engine_by_name(AUTO), seed=asked.seed, peers=asked.peers, quick=asked.quick
        )

    def _aead(self) -> Iterator[BenchGroup]:
        asked = self.asked
        sizes = asked.sizes or (ENDS if asked.quick else SIZES)
        counts, operations = asked.sas or [BASE], self._operations()
        yield from aead_groups(
            sizes, counts, self.engines, asked.suite, seed=asked.seed, operations=operations, both=not asked.quick
        )

    def _pipeline(self) -> Iterator[BenchGroup]:
        asked = self.asked
        if self.table is not None:
            points = [p for p in self._combinations(self._that_fit(self.table, asked.sas or [BASE])) if p.what == IN]
        elif any(listed is not None for listed in (asked.sas, asked.sizes, asked.engines, asked.window, asked.esn)):
            points = self._combinations(asked.sas or [BASE])
        else:
            points = self._star()
        points = [replace(point, hit=asked.hit) for point in points]
        yield from pipeline_groups(list(dict.fromkeys(points)), asked.seed, self.table, self._operations())

    def _combinations(self, sas: list[int]) -> list[PipelinePoint]:
        """Every combination of what is listed; with peers also the cases that others are compared with."""
        asked = self.asked
        best = [engine_by_name(AUTO).name]
        engines = [engine.name for engine in self.engines] if asked.engines is not None else best
        windows, esn = asked.window or [WINDOW], bool(asked.esn)
        if asked.peers:
            sas = [BASE, *sas] if max(sas) > BASE else sas
            windows = list(dict.fromkeys([WINDOW, *windows]))
        sizes = asked.sizes or (ENDS if asked.quick else SIZES)
        numbers = list(dict.fromkeys([False, esn] if asked.peers else [esn]))
        return [
            # The outbound path has no replay window.
            PipelinePoint(what, *point, window=window if what == IN else WINDOW, esn=esn)
            for what in DIRECTIONS
            for point in itertools.product(sizes, sas, engines)
            for window, esn in itertools.product(windows, numbers)
        ]

    def _star(self) -> list[PipelinePoint]:
        """Vary one thing at a time: size, engine, SAs."""
        quick, best = self.asked.quick, engine_by_name(AUTO).name
        sizes = FIGURED if quick else SIZES
        points = [PipelinePoint(what, size, BASE, best) for what in DIRECTIONS for size in sizes]
        for engine in self.engines:
            few = ENDS if quick and engine.name == "cryptography" else sizes
            points += [PipelinePoint(IN, size, BASE, engine.name) for size in few]
        many = [MANY] if quick else [1, 1000, MANY, 1_000_000]
        return points + [PipelinePoint(what, 64, sas, best) for what in DIRECTIONS for sas in many]
