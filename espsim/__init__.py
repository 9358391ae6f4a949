"""espsim: an ESP (IPsec) dataplane emulator with a model of SPI-only hardware offload.

    >>> import espsim
    >>> sad = espsim.load_sad("host.sad")                          # doctest: +SKIP
    >>> espsim.open_packet(sad, packet).verdict.name               # doctest: +SKIP
    'DELIVERED'

The names in `__all__` are the library: stable, typed, documented (espsim/api.py), and loaded when they are first used.
The rooms of the house, and who may import whom, are in espsim/README.md and held by the import linter; start reading at
`espsim.reference`, which handles one packet at a time in the order of RFC 4303 (README, "A reader's hour").
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from espsim.version import __version__

if TYPE_CHECKING:
    from espsim.api import (
        audit,
        load_sad,
        odds,
        open_batch,
        open_packet,
        read_capture,
        run_scenario,
        seal_batch,
        seal_packet,
        write_capture,
    )
    from espsim.batch.lookup_table import LookupTable
    from espsim.core.answers import Received, Sent
    from espsim.core.errors import InputError
    from espsim.netlink.netns import Netns as Namespace
    from espsim.offload.device import Device
    from espsim.offload.model import load_model
    from espsim.sad.association import SecurityAssociation
    from espsim.sad.sad import Sad

__all__ = [
    "Device",
    "InputError",
    "LookupTable",
    "Namespace",
    "Received",
    "Sad",
    "SecurityAssociation",
    "Sent",
    "__version__",
    "audit",
    "load_model",
    "load_sad",
    "odds",
    "open_batch",
    "open_packet",
    "read_capture",
    "run_scenario",
    "seal_batch",
    "seal_packet",
    "write_capture",
]  # fmt: skip

_ELSEWHERE = {
    "Device": "offload.device", "InputError": "core.errors", "LookupTable": "batch.lookup_table",
    "Namespace": "netlink.netns:Netns", "Received": "core.answers", "Sad": "sad.sad",
    "SecurityAssociation": "sad.association", "Sent": "core.answers",
    "load_model": "offload.model",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'espsim' has no attribute {name!r}")
    module, _, other = _ELSEWHERE.get(name, "api").partition(":")
    found = getattr(importlib.import_module(f"espsim.{module}"), other or name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
