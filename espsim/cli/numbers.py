"""Numbers on the command line: whole ones (also 1k, 100k, 1M), lists of them, percentages, marks."""

from __future__ import annotations

import re
from typing import Any

import click

from espsim.core.counts import parse_count
from espsim.core.echo import shortened
from espsim.core.errors import InputError

_PERCENT = re.compile(r"[0-9]{1,3}(\.[0-9]{1,9})?", re.ASCII)
_MARK = re.compile("0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}", re.ASCII)


class Number(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks alone
    """A whole number from `low` to `high`. `what`: its name in errors. Raises InputError."""

    name = "number"

    def __init__(self, low: int, high: int, what: str = "a whole number") -> None:
        self.low = low
        self.high = high
        self.what = what

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number that the user wrote, or the default unchanged."""
        return value if isinstance(value, int) else self.number(str(value), param)

    def number(self, text: str, param: click.Parameter | None) -> int:
        """The number of a text."""
        try:
            found = parse_count(text)
        except ValueError:
            found = None
        if found is None or not self.low <= found <= self.high:
            option = f"{max(param.opts, key=len)}: " if param is not None else ""
            raise InputError(f"{option}{shortened(text)!r} is not {self.what} from {self.low:,} to {self.high:,}")
        return found


class Numbers(Number):
    """Numbers with commas between them, and `words` that are legal beside numbers; each once, in order."""

    name = "numbers"

    def __init__(self, low: int, high: int, what: str, words: tuple[str, ...] = ()) -> None:
        super().__init__(low, high, what)
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The numbers that the user wrote."""
        parts = str(value).split(",")
        return list(dict.fromkeys(part if part in self.words else self.number(part, param) for part in parts))


class Percent(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks alone
    """A number from 0 to 100, with or without `%`. Raises InputError."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that the user wrote."""
        text = str(value).removesuffix("%")
        found = float(text) if _PERCENT.fullmatch(text) else -1.0
        if not 0 <= found <= 100:
            option = f"{max(param.opts, key=len)}: " if param is not None else ""
            raise InputError(f"{option}{shortened(str(value))!r} is not a percentage from 0 to 100")
        return found


class MarkType(click.ParamType):  # type: ignore[type-arg]  # generic in new clicks alone
    """A packet's mark as `ip` writes it: 32 bits, decimal or 0x and hex digits. Raises InputError."""

    name = "mark"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The mark that the user wrote."""
        found = _MARK.fullmatch(str(value))
        mark = -1 if found is None else int(found[0], 16 if found[0][:2] in ("0x", "0X") else 10)
        if not 0 <= mark <= 0xFFFFFFFF:
            raise InputError(f"--mark: {shortened(str(value))!r} is not a mark from 0 to 0xffffffff")
        return mark


SEED = Number(0, 2**64 - 1, "a seed")
ANY_SEED = Number(-(2**63), 2**64 - 1, "a seed")
