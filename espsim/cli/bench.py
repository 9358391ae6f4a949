"""`espsim bench`: what a lookup or a replay check costs here, beside other people's programs on the same work."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from espsim.cli.common import warn
from espsim.core.errors import InputError

if TYPE_CHECKING:
    from bench.cases import Group

_MOST = 20_000_000
_SUFFIX = {"k": 1_000, "m": 1_000_000}
_DEFAULT = {"lookup": "1k,100k,1M", "replay": "10k"}
_ROUNDS = 9
_QUICK = 40.0  # seconds of measuring, so that compiling and set-up fit into a minute


@click.command()
@click.argument("benches", metavar="[lookup|replay]...", nargs=-1, type=click.Choice(list(_DEFAULT)))
@click.option(
    "--sas", metavar="N,...", help="Numbers of SAs: 1000, 100k, 1M. Without it lookup 1k,100k,1M; replay 10k."
)
@click.option("--hit", type=click.FloatRange(0, 1), default=1.0, show_default=True, help="Share of lookups that hit.")
@click.option("--peers", is_flag=True, help="Run other people's programs on the same work in turn, and print ratios.")
@click.option("--quick", is_flag=True, help="Fewer rounds: done in about a minute.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Where all draws come from.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
def bench(
    benches: tuple[str, ...], sas: str | None, hit: float, peers: bool, quick: bool, seed: int, as_json: bool
) -> None:
    """Measure the kernels: medians over rounds, compiling apart.

    lookup: the software triple (IPv4 and IPv6), an array that the SPI indexes, four-way hashes of the SPI; the peer is
    dpdk-test-sad of DPDK. replay: check and advance. Without a name all of them. Peers run between our own rounds, so
    that a noisy machine is noisy for both; each ratio is of one round.
    """
    names = benches or tuple(_DEFAULT)
    sizes = {name: _sizes(_DEFAULT[name] if sas is None else sas) for name in names}
    about = _about(seed)
    rows = []
    for group in _measured(sizes, hit, seed, peers=peers, quick=quick):
        for row in group.rows():
            rows.append(row)
            if as_json:
                click.echo(json.dumps({**row, **about}))
    for why in dict.fromkeys(str(row["peer_note"]) for row in rows if peers and row["peer"] is None):
        warn(f"no peer: {why}")
    if not as_json:
        _print(rows, about)


def _sizes(text: str) -> list[int]:
    """`1000,100k,1M` as numbers."""
    sizes = []
    for word in text.split(","):
        factor = _SUFFIX.get(word[-1:].lower(), 1)
        digits = word[:-1] if factor > 1 else word
        if not digits.isascii() or not digits.isdigit() or not 1 <= int(digits) * factor <= _MOST:
            raise InputError(f"--sas: {word!r} is not a number of SAs from 1 to {_MOST:,}")
        sizes.append(int(digits) * factor)
    return sizes


def _measured(sizes: dict[str, list[int]], hit: float, seed: int, *, peers: bool, quick: bool) -> Iterator[Group]:
    """Group after group, measured."""
    try:
        from bench import cases
        from bench import peers as others
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "bench":
            raise
        raise InputError("the benchmarks are in bench/ of a checkout: install with `pip install -e .`") from error
    make: dict[str, Callable[[list[int], float, int, bool], Iterator[Group]]] = {
        "lookup": cases.lookup_groups,
        "replay": cases.replay_groups,
    }
    each = _QUICK / sum(3 * len(counts) for counts in sizes.values()) if quick else float("inf")
    for name, counts in sizes.items():
        for group in make[name](counts, hit, seed, peers):
            try:
                group.run(3 if quick else _ROUNDS, each)
            except others.Unavailable as reason:
                group.peer, group.why = None, str(reason)
            yield group


def _about(seed: int) -> dict[str, Any]:
    """What a record names besides its figures."""
    from espsim import __version__

    versions = {name: importlib.metadata.version(name) for name in ("numba", "numpy")}
    return {
        "machine": _machine(),
        "versions": {"espsim": __version__, "python": platform.python_version(), **versions},
        "seed": seed,
        "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _machine() -> str:
    from bench.interleave import machine

    return f"{machine()}, {platform.system()} {platform.release()}"


def _print(rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    from espsim.report.terminal import console, table

    heads = ("bench", "what", "SAs", "table", "hit", "M/s", "ns each", "peer M/s", "ratio", "min", "max", "set-up s")
    lines = [
        (
            row["bench"], row["what"], f"{row['sas']:,}", row["model"] or "", _number(row["hit"], 2),
            _number(row["rate_mps"], 1), _number(1e3 / row["rate_mps"], 1), _number(row["peer_rate_mps"], 1),
            _number(row["ratio_median"], 2), _number(row["ratio_min"], 2), _number(row["ratio_max"], 2), row["setup_s"],
        )
        for row in rows
    ]  # fmt: skip
    out = console()
    out.print(table(heads, lines))
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    out.print(
        f"{about['machine']}; {versions}; seed {about['seed']}; one core, batches of 4096; set-up holds compiling"
    )
    for note in dict.fromkeys(f"{row['peer']}: {row['peer_note']}" for row in rows if row["peer"]):
        out.print(note)
    sys.stdout.flush()


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
