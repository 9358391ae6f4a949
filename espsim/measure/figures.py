"""The speeds that espsim aims at, and the rows of `espsim bench --peers --json` that measure each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One cell. `low` and `high`: the least and the most of the rounds; None where there is one number only."""

    label: str
    value: float
    low: float | None
    high: float | None
    floor: float | None
    goal: float | None
    row: Row


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    `rows`: field values that select its rows; a `peer` is matched by the end of its name, versions by what they
    contain. `by`: the field that labels the cells. `unit`: "x" is the ratio of rates, "x its time" the inverse; "ns"
    and "B" are our own row's values. Less is better for all but "x". `steps`: floors and goals by label, where they
    differ.
    """

    what: str
    against: str
    rows: Mapping[str, Any]
    floor: float | None
    goal: float | None
    by: str | None = None
    unit: str = "x"
    only: Sequence[Any] = ()
    steps: Mapping[Any, tuple[float, float]] = field(default_factory=dict)

    @property
    def less_is_better(self) -> bool:
        """True for times and memory."""
        return self.unit != "x"

    def cells(self, rows: Sequence[Row]) -> list[Measured]:
        """The figure's cells from these rows; empty where nothing was measured."""
        found: dict[Any, Measured] = {}
        for row in rows:
            label = row[self.by] if self.by else None
            wanted = not self.only or label in self.only
            if wanted and all(_fits(row.get(key), value, key) for key, value in self.rows.items()):
                found.setdefault(label, self._cell(row, label))
        order = list(self.only) or list(found)
        return [found[label] for label in order if label in found] if self.by else list(found.values())

    def _cell(self, row: Row, label: Any) -> Measured:
        floor, goal = self.steps.get(label, (self.floor, self.goal))
        value, low, high = (row.get(f"ratio_{name}") for name in ("median", "min", "max"))
        if self.unit == "x its time":
            value, low, high = 1 / row["ratio_median"], 1 / row["ratio_max"], 1 / row["ratio_min"]
        elif self.unit == "ns":
            value, low, high = 1e3 / row["rate_mps"], None, None
        elif self.unit == "B":
            value, low, high = row["bytes_per_sa"], None, None
        return Measured(_words(label, self.by), float(value or 0), low, high, floor, goal, row)


_VERSIONS = ("engine_version", "peer_note")


def _fits(has: Any, wants: Any, key: str) -> bool:
    if key in _VERSIONS:
        return wants in str(has)
    return bool(has and str(has).endswith(wants)) if key == "peer" else has == wants


def _words(label: Any, by: str | None) -> str:
    """A cell's label, with its unit."""
    if label is None:
        return ""
    if by != "sas":
        return f"{label} B"
    for size, suffix in ((1_000_000, "M"), (1_000, "k")):
        if label >= size and label % size == 0:
            return f"{label // size}{suffix} SAs"
    return f"{label} SAs"


_SAS = (1_000, 100_000, 1_000_000)
_SIZES = (64, 256, 1024, 1424)
_MANY_SAS = {100_000: (0.45, 0.65), 1_000_000: (0.35, 0.5)}


def _lookup(what: str, **more: Any) -> dict[str, Any]:
    return {"bench": "lookup", "what": what, "peer": "dpdk-test-sad", "hit": 1.0, **more}


def _pipeline(peer: str | None, what: str = "in", **more: Any) -> dict[str, Any]:
    return {"bench": "pipeline", "what": what, "model": None, "hit": 1.0, **({"peer": peer} if peer else {}), **more}


def _beside_gcm(major: int) -> dict[str, Any]:
    """Rows whose engine is this version of Intel's library, and DPDK's driver over the same one."""
    library = f"intel-ipsec-mb {major}."
    return _pipeline("crypto_aesni_gcm", sas=100, engine_version=library, peer_note=library)


def _command(what: str, peer: str, **more: Any) -> dict[str, Any]:
    return {"bench": "command", "what": what, "peer": peer, "size": 64, **more}


FIGURES = (
    Figure("lookup (SPI, protocol, destination), IPv4", "`dpdk-test-sad`, SPI and DIP",
           _lookup("triple"), 2.0, 3.0, by="sas", only=_SAS),
    Figure("lookup, IPv6", "`dpdk-test-sad -6`", _lookup("triple6"), 1.5, 2.5, by="sas", only=_SAS),
    Figure("lookup by SPI alone, direct index", "`dpdk-test-sad`, SPI only",
           _lookup("spi-direct"), 4.0, 8.0, by="sas", only=_SAS),
    Figure("lookup by SPI alone, four ways of one row", "`dpdk-test-sad`, SPI only",
           _lookup("spi-hash", model="4-way shared"), 1.2, 2.0, by="sas", only=_SAS),
    Figure("lookup by SPI alone, four skewed ways", "`dpdk-test-sad`, SPI only",
           _lookup("spi-hash", model="4-way skewed"), 2.0, 3.0, by="sas", only=_SAS),
    Figure("lookup, 10M SAs", "a random gather of one cache line from a table of that size",
           {"bench": "lookup", "what": "triple", "peer": "random gather"}, 1.6, 1.3, unit="x its time"),
    Figure("whole inbound pipeline, AES-128-GCM, 100 SAs, ipsec-mb 1.x on both sides",
           "DPDK's crypto_aesni_gcm, decryption alone", _beside_gcm(1), None, 1.0, by="size", only=_SIZES,
           steps={64: (0.8, 1.0), 256: (0.8, 1.0), 1024: (1.0, 1.2), 1424: (1.0, 1.2)}),
    Figure("the same, ipsec-mb 2.x on both sides",
           "DPDK's crypto_aesni_gcm, decryption alone", _beside_gcm(2), None, 0.9, by="size", only=_SIZES,
           steps={64: (0.6, 0.9), 256: (0.6, 0.9), 1024: (0.9, 1.1), 1424: (0.9, 1.1)}),
    Figure("inbound pipeline, engine `libcrypto`", "DPDK's crypto_openssl",
           _pipeline("crypto_openssl", engine="libcrypto", sas=100), 1.2, 1.6, by="size", only=_SIZES),
    Figure("inbound pipeline, engine `cryptography`", "scapy opening",
           _pipeline("scapy", engine="cryptography", sas=100), 150.0, 250.0, by="size", only=_SIZES),
    Figure("outbound pipeline, 100 SAs", "inbound", _pipeline("inbound pipeline", "out", sas=100, workers=1),
           0.95, 1.0, by="size", only=_SIZES, steps={64: (0.95, 1.05)}),
    Figure("inbound pipeline of many SAs, 64 bytes", "itself at 100 SAs",
           _pipeline("100 SAs", size=64), None, None, by="sas", only=_SAS[1:], steps=_MANY_SAS),
    Figure("outbound pipeline of many SAs, 64 bytes", "itself at 100 SAs",
           _pipeline("100 SAs", "out", size=64), None, None, by="sas", only=_SAS[1:], steps=_MANY_SAS),
    Figure("`decap` by two workers, 64 bytes", "one", _command("decap", "1 worker", workers=2), 1.7, 1.9),
    Figure("`encap` by two workers, 64 bytes", "one", _command("encap", "1 worker", workers=2), 1.7, 1.9),
    Figure("`decap` by one worker, 64 bytes", "`cp` of the same file",
           _command("decap", "cp", workers=1), 2.0, 1.4, unit="x its time"),
    Figure("replay check and advance, 10,000 SAs", "",
           {"bench": "replay", "what": "window-64", "sas": 10_000}, 20.0, 10.0, unit="ns"),
    Figure("reading a pcap of a million packets into batches", "dpkt's reader",
           {"bench": "capture", "what": "read", "peer": "dpkt"}, 10.0, 20.0),
    Figure("memory an SA, inbound columns and table, key schedules apart", "",
           _pipeline(None, sas=100_000, size=64, workers=1), 512.0, 256.0, unit="B"),
    Figure("memory an SA, outbound", "",
           _pipeline(None, "out", sas=100_000, size=64, workers=1), 512.0, 256.0, unit="B"),
)  # fmt: skip
"""Floors and goals of medians. One core unless the line says otherwise; each line is measured in one run."""
