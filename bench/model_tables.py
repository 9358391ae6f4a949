"""The key table of a hardware model as a benchmark runs it: `--model`, in a lookup's place and in the pipeline's.

The table is of the model's kind, size and key fields, with SPIs that it takes without a collision: dense where a masked
SPI is the index, and for a hash those that found a free way, half full at most. What a driver does to SAs that collide
is for `espsim run` and `espsim audit` to say, and no question of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench import tunnels
from bench.keys import Keys, dense_keys, keys
from bench.spi_tables import WAYS, HashTable, direct_table, hash_table
from espsim.core.batch import I32, U32, U64, PacketBatch
from espsim.core.errors import InputError
from espsim.kernels import tables
from espsim.kernels.longest import DESTINATION, longest, longest_insert
from espsim.kernels.lookup import usable
from espsim.kernels.memory import zeros
from espsim.offload.caps import need
from espsim.offload.model import Model, load_model, parse_assumptions
from espsim.offload.schema import Lookup
from espsim.offload.tables import capacity_of
from espsim.stages.columns import SadColumns

SOURCE = int.from_bytes(tunnels.SOURCE)
"""Where all packets come from."""
_FIRST = "inbound.lookup.0"
# Fields that are the same for every SA and packet here take no word of the key.
_CONSTANT = frozenset({"match_id", "lf", "port", "profile", "frag0", "esp", "udp_ports"})
_SCALAR = {"spi": 0xFFFFFFFF, "spi24": 0xFFFFFF}

Find = Callable[[U32, U64, U64, I32], None]
"""find(spi, daddr, saddr, sa_index): fill `sa_index` for IPv4 packets of ESP."""
Make = Callable[[int, float, int, int], tuple[Keys, Find]]
"""make(sas, hit, packets, seed): SAs and packets that fit the table, and the table's lookup."""


@dataclass(frozen=True, slots=True)
class ModelTable:
    """`what` is the lookup's name in results, `capacity` the SAs that it is measured with at most (None: any)."""

    ident: str
    what: str
    capacity: int | None
    make: Make

    def fits(self, sas: int) -> bool:
        """Whether so many SAs go in."""
        return self.capacity is None or sas <= self.capacity


def stage_of(find: Find) -> Callable[[PacketBatch, SadColumns], None]:
    """A lookup stage that asks the device's table; an SA that the device's own check refuses counts as none."""

    def lookup(batch: PacketBatch, columns: SadColumns) -> None:
        find(batch.spi, batch.daddr, batch.saddr, batch.sa_index)
        np.maximum(batch.sa_index, np.int32(-1), out=batch.sa_index)
        usable(batch.sa_index, batch.dport, columns.standing, batch.verdict)

    return lookup


def model_table(name: str, assume: Iterable[str] = ()) -> ModelTable:
    """The first key table of a model. InputError where it has none that a kernel runs, UnknownReached as in a run."""
    model = load_model(name)
    model = model.assuming(parse_assumptions(model, assume))
    lookup = model.spec.inbound.lookup[0]
    kinds: dict[str, Callable[[Model, Lookup], tuple[str, int | None, Make]]] = {
        "direct": _direct, "hash": _hash, "exact": _exact, "longest": _longest,
    }  # fmt: skip
    if lookup.kind not in kinds:
        raise InputError(f"its table is of kind {lookup.kind}: there is nothing to time", where=model.id)
    what, capacity, make = kinds[lookup.kind](model, lookup)
    return ModelTable(model.id, what, capacity, make)


def _direct(model: Model, lookup: Lookup) -> tuple[str, int | None, Make]:
    index = need(model, f"{_FIRST}.index", lookup.index)
    if index.fn != "mask":
        raise InputError(f"its table is indexed by {index.fn}, and only masks have a kernel", where=model.id)
    slots = 1 << min(need(model, f"{_FIRST}.index.bits", index.bits), 26)

    def make(sas: int, hit: float, packets: int, seed: int) -> tuple[Keys, Find]:
        of = dense_keys(sas, hit=hit, packets=packets, seed=seed)
        table = direct_table(of, slots)
        mask = np.uint64(len(table) - 1)
        return of, lambda spi, _daddr, _saddr, out: tables.direct(spi, np.uint64(0), mask, table, out)

    return "spi-direct", min(slots, capacity_of(model, 0) or slots), make


def _hash(model: Model, lookup: Lookup) -> tuple[str, int | None, Make]:
    ways, sets = need(model, f"{_FIRST}.ways", lookup.ways), need(model, f"{_FIRST}.sets", lookup.sets)
    skewed = bool(need(model, f"{_FIRST}.per_way_index", lookup.per_way_index))
    if ways != WAYS or _varying(model, lookup) != ["spi"]:
        raise InputError("only hashes of the SPI in four ways have a kernel", where=model.id)

    def make(sas: int, hit: float, packets: int, seed: int) -> tuple[Keys, Find]:
        made = hash_table(sas, skewed=skewed, hit=hit, seed=seed, sets=sets, packets=packets)
        find = find_hashed(made, skewed=skewed)
        return made.of, lambda spi, _daddr, _saddr, out: find(spi, out)

    return "spi-hash", ways * sets // 2, make


def find_hashed(made: HashTable, *, skewed: bool) -> Callable[[U32, I32], None]:
    """find(spi, sa_index) in a table of four ways."""
    if not skewed:
        return lambda spi, out: tables.spi_shared(spi, made.starts[0], made.cells, out)
    scratch = np.zeros((tables.AHEAD, 4), np.uint32)
    return lambda spi, out: tables.spi_skewed(spi, made.starts, made.cells, scratch, out)


def _exact(model: Model, lookup: Lookup) -> tuple[str, int | None, Make]:
    fields = _varying(model, lookup)
    _words(fields, np.zeros(1, np.uint32), np.zeros((1, 2), np.uint64), model.id)

    def make(sas: int, hit: float, packets: int, seed: int) -> tuple[Keys, Find]:
        of = keys(sas, hit=hit, packets=packets, seed=seed)
        table = zeros((2 * sas + 1, 8), np.uint64)
        tables.exact_insert(_words(fields, of.spi, of.daddr, model.id), np.arange(sas), table)
        return of, lambda spi, daddr, _saddr, out: tables.exact(_words(fields, spi, daddr, model.id), table, out)

    return "exact", capacity_of(model, 0), make


def _varying(model: Model, lookup: Lookup) -> list[str]:
    """The key's fields that tell SAs apart."""
    need(model, f"{_FIRST}.key", lookup.key)
    fields = lookup.key if isinstance(lookup.key, list) else []
    return [str(name) for name in fields if name not in _CONSTANT]


def _words(fields: list[str], spi: U32, daddr: U64, ident: str) -> npt.NDArray[np.uint64]:
    """The words of `tables.exact`, packed as a driver would: (keys, up to 7)."""
    words: list[npt.NDArray[np.uint64] | np.uint64] = []
    for name in fields:
        if name in _SCALAR:
            words.append(spi.astype(np.uint64) & np.uint64(_SCALAR[name]))
        elif name == "dst":
            words += [daddr[:, 0], daddr[:, 1]]
        elif name in ("src", "proto", "ipver", "mark"):
            words += {"src": [np.uint64(0), np.uint64(SOURCE)], "proto": [np.uint64(50)], "ipver": [np.uint64(4)],
                      "mark": [np.uint64(0)]}[name]  # fmt: skip
        else:
            raise InputError(f"its key has {name}, for which there is no kernel", where=ident)
    if len(words) > 7:
        raise InputError("its key has more than seven words", where=ident)
    packed = np.empty((len(spi), len(words)), np.uint64)
    for n, word in enumerate(words):
        packed[:, n] = word
    return packed


def _longest(model: Model, _lookup: Lookup) -> tuple[str, int | None, Make]:
    def make(sas: int, hit: float, packets: int, seed: int) -> tuple[Keys, Find]:
        of = keys(sas, hit=hit, packets=packets, seed=seed)
        table = zeros((4 * sas + 1, 8), np.uint64)
        family, source = np.full(max(sas, packets), 4, np.uint8), _source(sas)
        longest_insert(np.full(sas, DESTINATION, np.uint8), family[:sas], of.spi, of.daddr, source, table)
        verdict = np.zeros(packets, np.uint8)
        return of, lambda spi, daddr, saddr, out: longest(
            verdict[: len(spi)], family[: len(spi)], spi, daddr, saddr, table, out
        )

    return "longest", capacity_of(model, 0), make


def _source(rows: int) -> U64:
    saddr = np.zeros((rows, 2), np.uint64)
    saddr[:, 1] = SOURCE
    return saddr
