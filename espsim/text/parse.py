"""The reader for SAs that packets run through: every field of every SA, in whatever people paste.

    a SAD's text        `parse_sad`, `read_sad`: what people paste (paste.py lists the forms). An SA that espsim can't
                        run is `Unmodelled`, an SA without its keys is `hidden`; all else is passed over with notes
    a secrets block     `parse_secrets`: rows of `esp_sa` in a capture
    one SA of a user    `parse_sa_line`: everything that is not understood is an error

Errors of a SAD's text: no SA at all, one SA with two keys, a damaged key.

What this does not do: read a million SAs in little memory (`scan` does, without keys).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from espsim.core.address import Address
from espsim.core.errors import InputError
from espsim.sad.association import SecurityAssociation
from espsim.text.found import (
    Identity,
    Ignored,
    KeyFingerprint,
    ParsedSa,
    SadText,
    Unmodelled,
    Unused,
    Verb,
    crypto_of,
    cut_off,
)
from espsim.text.lexer import Style
from espsim.text.notes import Notes, Refuse
from espsim.text.pieces import blocks, file_pieces, text_pieces
from espsim.text.reader import Reader

__all__ = [
    "Ignored", "ParsedSa", "SadText", "Unmodelled", "Unused", "Verb", "parse_sa_line", "parse_sad",
    "parse_sad_text", "parse_secrets", "read_sad", "read_sad_file",
]  # fmt: skip


def read_sad_file(path: str) -> list[ParsedSa]:
    """The usable SAs of a file. Raises as `read_sad`."""
    return read_sad(path).sas


def parse_sad_text(text: str) -> list[ParsedSa]:
    """The usable SAs of a text. Raises as `parse_sad`."""
    return parse_sad(text).sas


def parse_sa_line(text: str, where: str | None = None, line: int | None = None) -> SecurityAssociation:
    """The one SA of a text that a user wrote in another file, on its line `line`. Raises InputError."""
    try:
        parsed = parse_sad(text, where, strict=True).sas
    except InputError as error:
        at = error.line if line is None else line + (error.line or 1) - 1
        raise InputError(error.what, where=where, line=at) from None
    if len(parsed) > 1:
        raise InputError(f"one SA is wanted here, not {len(parsed)}", where=where, line=line)
    return parsed[0].sa


def read_sad(path: str) -> SadText:
    """What a file holds, or standard input for `-`. Raises as `parse_sad`; an unreadable file is an InputError too."""
    return _settled(file_pieces(path), path, Notes())


def parse_sad(text: str, where: str | None = None, *, strict: bool = False) -> SadText:
    """What a text holds. InputError, with the line where there is one: no SA in it, or a contradiction.

    `strict`: InputError also for everything that would be passed over, or not used.
    """
    return _settled(text_pieces(text, where), where, Refuse(where) if strict else Notes(), strict=strict)


def parse_secrets(text: str, where: str | None = None) -> SadText:
    """What the text of a capture's secrets block holds. Raises as `parse_sad`.

    Its rows state no mode, no encapsulation and no window. Each packet shows its mode and encapsulation (Mode.ANY,
    ANY_ENCAP), and there is no window.
    """
    return _settled(text_pieces(text, where), where, Notes(), rows=Style.SECRETS)


def _settled(
    pieces: Iterable[str], where: str | None, notes: Notes, *, strict: bool = False, rows: Style = Style.ESP_SA
) -> SadText:
    result = SadText(notes=notes)
    reader = Reader(where, notes, strict=strict, rows=rows)
    items = _Items([])
    for block in blocks(pieces):
        for found in reader.read(block):
            (result.ignored if isinstance(found, Ignored) else items.items).append(found)  # type: ignore[arg-type]
    gone = reader.settle(items)
    for index, item in enumerate(items.items):
        if index in gone:
            continue
        if isinstance(item, Unmodelled):
            result.unmodelled.append(item)
        else:
            (result.hidden if item.hidden else result.sas).append(item)
    if not (result.sas or result.hidden or result.unmodelled):
        raise no_sa(where, len(result.ignored), len(gone), notes)
    return result


def no_sa(where: str | None, ignored: int, gone: int, notes: Notes) -> InputError:
    """The error for a text without an SA. It has the first of the notes."""
    why = [str(note) for note in notes][:1]
    if ignored:
        why.append(f"{ignored} {'state' if ignored == 1 else 'states'} of other protocols ignored")
    if gone:
        why.append(f"{gone} {'SA' if gone == 1 else 'SAs'} removed again by the commands in it")
    because = f" ({', '.join(why)})" if why else ""
    return InputError(f"no SA in it{because}; give what `ip xfrm state` prints, or its commands", where=where)


class _Items:
    """Parsed SAs as a `SaRows`."""

    def __init__(self, items: list[ParsedSa | Unmodelled]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def identity(self, index: int) -> Identity:
        sa = self.items[index].sa
        return sa.dst, sa.spi, sa.proto, sa.mark

    def source(self, index: int) -> Address:
        return self.items[index].sa.src

    def reqid_of(self, index: int) -> int:
        return self.items[index].sa.reqid

    def mode_of(self, index: int) -> str:
        item = self.items[index]
        return item.mode if isinstance(item, Unmodelled) else item.sa.mode.value

    def line_of(self, index: int) -> int:
        return self.items[index].line

    def verb_of(self, index: int) -> Verb:
        return self.items[index].verb

    def name(self, index: int) -> str:
        return self.items[index].sa.name

    def crypto(self, index: int) -> KeyFingerprint:
        return crypto_of(self.items[index])

    def repeated(self) -> Iterator[int]:
        seen: set[int] = set()
        spis = [item.sa.spi for item in self.items]
        again = {spi for spi in spis if spi in seen or seen.add(spi)}  # type: ignore[func-returns-value]
        return (index for index, spi in enumerate(spis) if spi and spi in again)

    def end_in_the_middle(self, index: int, what: str) -> None:
        item = self.items[index]
        self.items[index] = cut_off(item, what)
