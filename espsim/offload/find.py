"""Finding the model of a device by what people call it: a product, a chip, a family, a driver.

    ConnectX-7, x520, OCTEON 10, "Intel X540-T2", ixgbe

Names are compared without case, spaces and signs. `differences` says how models that fit differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from espsim.core.echo import printable

if TYPE_CHECKING:
    from espsim.offload.model import Model

_LONGER = 2
_LEAST = 3  # letters and digits of a name that may be found inside a longer text
COMPARED = {
    "device.driver": "driver", "device.status": "status", "caps.offload": "offload", "caps.modes": "mode",
    "inbound.lookup.0.kind": "table", "inbound.lookup.0.key": "key", "inbound.lookup.0.capacity": "capacity",
    "inbound.program.duplicate.policy": "duplicate SPI", "caps.encap": "encapsulation", "caps.esn": "ESN",
    "caps.replay.where": "replay check", "inbound.program.full.errno": "full table",
    "inbound.program.delete.by": "deletes by", "inbound.result.icv_fail": "ICV failure",
}  # fmt: skip
"""Keys in which models of one device differ, the most telling first, and the words for them."""


def names_of(model: Model) -> list[str]:
    """The names of a model's device: its parts, its aliases, its driver."""
    device = model.spec.device
    parts = [part.strip() for part in re.split(r"[/,]", device.part)]
    return [*device.aliases, device.part, *parts, f"{device.vendor} {device.part}", device.driver, model.id]


def matching(text: str, models: Iterable[Model]) -> list[Model]:
    """The models that a text may mean, those first of which it is a whole name.

    A text that is longer than a name, as `Intel X540-T2` is, counts only where no name is longer than the text.
    """
    wanted = _plain(text)
    ranked = [(rank, model) for model in models if (rank := _rank(wanted, names_of(model))) is not None]
    within = any(rank < _LONGER for rank, _ in ranked)
    ranked.sort(key=lambda pair: pair[0])
    return [model for rank, model in ranked if not within or rank < _LONGER]


def _rank(wanted: str, names: list[str]) -> int | None:
    """0: a whole name; 1: a part of one; 2: it has a name in it; None: neither."""
    if not wanted:
        return None
    plain = [_plain(name) for name in names]
    if wanted in plain:
        return 0
    if len(wanted) >= 2 and any(wanted in name for name in plain):
        return 1
    return _LONGER if any(len(name) >= _LEAST and name in wanted for name in plain) else None


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def differences(models: Sequence[Model]) -> dict[str, list[Any]]:
    """The facts in which models differ: by key, the value of each, in their order. Empty for less than two."""
    found = {}
    for key in COMPARED:
        values = [_value(model, key) for model in models]
        if any(value != values[0] for value in values):
            found[key] = values
    return found


def _value(model: Model, key: str) -> Any:
    try:
        return model.value(key)
    except KeyError:
        return None


def told_apart(models: Sequence[Model]) -> Iterator[str]:
    """A phrase a model: its id, its driver, and the first few facts in which it differs from the others."""
    differ = differences(models)
    driver = differ.pop("device.driver", None)
    keys = list(differ)[:4]
    for n, model in enumerate(models):
        facts = [model.spec.device.driver] if driver else []
        facts += [f"{COMPARED[key]} {words(differ[key][n])}" for key in keys]
        yield f"{model.id} ({', '.join(facts)})" if facts else model.id


def words(value: Any) -> str:
    """A fact as a person reads it."""
    if isinstance(value, list):
        return "+".join(map(words, value)) or "none"
    return str(value).lower() if isinstance(value, bool) else printable(str(value))
