"""Reads rows of Wireshark's `esp_sa` table: what `text.esp_sa_write` writes, and what people have in their profiles.

A row states no mode, no encapsulation and no window. `encap --esp-sa` writes mode and encapsulation into a comment
above the row, in the words of `ip xfrm state`. A row without such a comment is taken for tunnel mode. A row of
Wireshark 4.4 may state 64-bit numbers and their high half. Then the widest window is taken, because the numbers of a
capture may start anywhere.

For a row in a capture's secrets block nothing is assumed: each packet shows its mode and encapsulation, and there is no
window.
"""

from __future__ import annotations

import re

from espsim.core.address import parse_address
from espsim.core.errors import InputError
from espsim.core.numbers import PROTO_ESP
from espsim.text.cursor import Contradiction, Cursor
from espsim.text.draft import Draft
from espsim.text.esp_sa_write import AUTHENTICATION_OF_ROW, CIPHER_OF_ROW
from espsim.text.lexer import SaEntry, Style, shown
from espsim.text.names import MAX_WINDOW
from espsim.text.notes import Notes
from espsim.text.words import read_words

_CELL = re.compile(r'"((?:[^"\\]|\\.)*)"')
_AEAD_BITS = re.compile(r"AES-GCM(?: with (8|12|16) octet ICV)?")
_ANY = re.compile(r"ANY (\d+) bit authentication")
_TUNNEL = "esp_sa states no mode: tunnel mode is assumed"


def read_row(entry: SaEntry, where: str | None, notes: Notes) -> Draft:
    """One row as a draft. Contradiction: a damaged key."""
    cells = _CELL.findall(entry.text)
    if entry.style is Style.SECRETS:
        draft = Draft(unsaid=True)
    elif entry.words:
        words = SaEntry(Style.DUMP, "dump", entry.line, entry.words)
        draft = read_words(Cursor(words, where), notes)
    else:
        draft = Draft(mode="tunnel")
        notes.add(_TUNNEL, entry.line)
    draft.proto, draft.algorithm_line = PROTO_ESP, entry.line
    try:
        _addresses(draft, cells)
        _crypto(draft, cells, where, entry.line)
        if len(cells) > 9 and cells[8] == "64-bit":
            draft.flags.add("esn")
            draft.window = draft.window or (0 if draft.unsaid else MAX_WINDOW)
            draft.replay["seq_hi"] = draft.replay["oseq_hi"] = int(cells[9] or "0", 16)
    except Contradiction:
        raise
    except (ValueError, IndexError) as error:
        what = str(error) if "is not" in str(error) else "an incomplete row of esp_sa"
        draft.fail(InputError(what, where=where, line=entry.line))
    return draft


def _addresses(draft: Draft, cells: list[str]) -> None:
    for side, text in zip(("src", "dst"), cells[1:3], strict=True):
        try:
            setattr(draft, side, parse_address(text))
        except ValueError:
            raise ValueError(f"{side} {shown(text)} is not an address") from None
    try:
        draft.spi = int(cells[3], 0)
    except ValueError:
        raise ValueError(f"the SPI {shown(cells[3])} is not a number") from None


def _crypto(draft: Draft, cells: list[str], where: str | None, line: int) -> None:
    encryption, authentication = (cell.partition(" [")[0].strip() for cell in (cells[4], cells[6]))
    key, auth_key = (_key(cell, where, line) for cell in (cells[5], cells[7]))
    any_length = _ANY.match(authentication)
    gcm = _AEAD_BITS.fullmatch(encryption)
    if gcm is not None or encryption.startswith("ChaCha20"):
        name = "rfc4106(gcm(aes))" if gcm is not None else "rfc7539esp(chacha20,poly1305)"
        said = gcm[1] if gcm is not None else None
        bits = 8 * int(said) if said else int(any_length[1]) if any_length else 128
        draft.add("aead", name, key, bits)
        return
    draft.add("enc", CIPHER_OF_ROW.get(encryption, _lower(encryption)), key, 0)
    if any_length is not None:  # the row states no MAC and no key; another row of the SA may
        draft.algorithms, draft.hidden = [], []
        raise ValueError(f"{shown(cells[6].partition(' [')[0])} is not an authentication with a key")
    name, length = AUTHENTICATION_OF_ROW.get(authentication, (_lower(authentication), 0))
    draft.add("auth-trunc", name, auth_key, 8 * length)


def _lower(name: str) -> str:
    """A Wireshark name without a known Linux name, in the letters that an algorithm's name may have."""
    return re.sub("[^a-z0-9()+,.-]", "-", name.lower()) or "none"


def _key(text: str, where: str | None, line: int) -> bytes | None:
    """The key: 0x and digits, or a string. None: it is hidden."""
    if text[:2] not in ("0x", "0X"):
        hidden = re.search(r"\.\.|\*\*|<|\[|hidden|redacted", text, re.IGNORECASE)
        return None if hidden else text.encode("utf-8", "replace")
    digits = text[2:]
    if not re.fullmatch("[0-9a-fA-F]*", digits):
        return None
    if len(digits) % 2:
        what = f"a key of odd hex length ({len(digits)} digits) in a row of esp_sa; copy the whole key"
        raise Contradiction(what, where=where, line=line)
    return bytes.fromhex(digits)
