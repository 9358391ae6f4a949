"""Which SPIs may be allocated twice: the policies of the netdev thread, one small class each (XFRM.md 3.2).

A policy answers one question: does a state that exists forbid this SPI for this request? It is chosen when the SAD is
made, because that is the very thing people come to compare. It is asked by ALLOCSPI only; NEWSA's own rule (the
triple and the mark) is the same under the policies here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from espsim.core.address import Address

if TYPE_CHECKING:
    from espsim.sad.sad import Sad


class SpiPolicy(Protocol):
    """A rule of SPI uniqueness at ALLOCSPI. `name` is what `--policy` takes, `summary` one line for people."""

    name: str
    summary: str

    def taken(self, sad: Sad, spi: int, proto: int, daddr: Address, mark: int) -> bool:
        """Whether some state forbids to allocate (spi, proto) for daddr under a request's mark."""


class Rfc2401:
    """RFC 2401's triple: Linux before 94f39804d891 (xfrm_state_lookup), and what Android relies on."""

    name = "rfc2401"
    summary = "(SPI, protocol, destination), mark matching: Linux before 94f39804d891"

    def taken(self, sad: Sad, spi: int, proto: int, daddr: Address, mark: int) -> bool:
        """Taken where a state has the triple and its mark matches."""
        return sad.lookup(daddr, spi, proto, mark) is not None


class Rfc4301:
    """RFC 4301's SPI alone (with the protocol): Linux since 94f39804d891 (xfrm_state_lookup_spi_proto)."""

    name = "rfc4301"
    summary = "(SPI, protocol) anywhere, whatever destination, family, mark or direction: Linux since 94f39804d891"

    def taken(self, sad: Sad, spi: int, proto: int, daddr: Address, mark: int) -> bool:
        """Taken where any state has the SPI and the protocol."""
        return sad.holds(spi, proto)


POLICIES: dict[str, Callable[[], SpiPolicy]] = {p.name: p for p in (Rfc2401, Rfc4301)}
DEFAULT_POLICY = "rfc4301"
