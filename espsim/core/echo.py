"""What a message may show of what a user wrote: no key, no control character, no list of a hundred names.

    hide_keys    a text without what may be a key: by its digits alone
    hide_words   the words of one command, also without what follows an algorithm's name
    printable    a text that moves no cursor, changes no colour and no direction, and stays on its line
    nearest      "did you mean", and where all names are listed

Every message that repeats input goes through these. `InputError` does it by itself. An address is not a key: it has
dots or colons, and no long run of digits. What prints keys on purpose (`ip xfrm state list`) does not come here.
"""

from __future__ import annotations

import difflib
import functools
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from typing import Any

HIDDEN = "<<Keys hidden>>"
KEYED = ("enc", "auth", "auth-trunc", "aead")
"""Words after which an algorithm's name comes, and then a key."""

LONGEST = 2000
"""Characters of a message; what is longer is cut in the middle."""

_LEAST_ALONE, _LEAST_BESIDE = 9, 6
_WORD = re.compile(r"\S+")
_TOKEN = re.compile(r"[0-9A-Za-z]+")
_PREFIX = re.compile(r"0[xX]")
_HEX_RUN = re.compile(r"[0-9a-fA-F]{16}")
_ALL_HEX = re.compile(r"[0-9a-fA-F]+")
_NOT_HEX = re.compile(r"[^0-9a-fA-F]+")
# Eight digits at a time, as setkey prints keys, and bytes with a separator, more of them than a MAC or an EUI-64 has.
_GROUPS = re.compile(
    r"(?<![0-9A-Za-z])(?:(?:0[xX])?[0-9a-fA-F]{8}(?:[ _,.:-][0-9a-fA-F]{8}){2,}(?:[ _,.:-][0-9a-fA-F]{1,7})?"
    r"|[0-9a-fA-F]{2}(?:[ :-][0-9a-fA-F]{2}){8,})(?![0-9A-Za-z])"
)
_GOES_ON = re.compile(r"(0[xX])?[0-9a-fA-F]{4,}")
_NAME = re.compile(r"\w\(")
_NUMBER_TWICE = re.compile(r"(0x)?[0-9a-fA-F]+\((0x)?[0-9a-fA-F]+\)")  # 1(0x00000001), as `ip -s` prints
_KEY_VALUE = re.compile(r"([\w-]*key=)(.+)", re.DOTALL)
_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of controls, formats (the bidirectional ones too), surrogates, and separators of lines."""


# -- keys -------------------------------------------------------------------------------------------------------------


def hide_keys(text: str) -> str:
    """A text with each word's key digits replaced.

    Digits of a key are 16 or more hex digits together, or 9 or more after `0x`, even if a few of them are mistyped.
    Hidden too is what may be the rest of a key that was cut: a word of 9 or more hex digits with letters among them,
    in a text that holds a key of 6 or more.
    """
    if len(text) < _LEAST_ALONE:
        return text
    hidden = _WORD.sub(lambda match: _hide_in_word(match[0], _LEAST_ALONE), _GROUPS.sub(HIDDEN, text))
    return hidden if hidden == text else _WORD.sub(lambda match: _hide_in_word(match[0], _LEAST_BESIDE), hidden)


def _hide_in_word(word: str, least: int) -> str:
    """A word without its key. What is glued to the token of a key may be its rest: both go."""
    if len(word) < least:
        return word
    tokens = list(_TOKEN.finditer(word))
    found = [token for token in tokens if _is_key(token[0])]
    if not found:
        rest = (t[0] for t in tokens if len(t[0]) >= least and _may_be_rest(word, t))
        return functools.reduce(lambda text, token: text.replace(token, HIDDEN), rest, word)
    start = next(t.start() for t in tokens if t is found[0] or _PREFIX.match(t[0]) or _long_hex(t[0]))
    end = tokens[-1].end()
    prefix = _before_digits(word[start:end]) if word[start:end] == found[0][0] else ""
    return word[:start] + prefix + HIDDEN + word[end:]


def _may_be_rest(word: str, token: re.Match[str]) -> bool:
    """Whether a token may be the rest of a key: hex digits, letters among them, and no part of a name with dashes."""
    text, around = token[0], word[max(0, token.start() - 1) : token.start()] + word[token.end() : token.end() + 1]
    plain = _ALL_HEX.fullmatch(text) and not text.isdecimal() and not text.isalpha()
    return bool(plain) and not set(around) & set("-_@")


def _long_hex(token: str) -> bool:
    return len(token) >= 6 and _ALL_HEX.fullmatch(token) is not None


def _before_digits(token: str) -> str:
    """What comes before the `0x` of a token that ends in a key, such as a name that is glued to it."""
    match = _PREFIX.search(token)
    return token[: match.start()] if match and not _HEX_RUN.search(token[: match.start()]) else ""


def _is_key(token: str) -> bool:
    match = _PREFIX.search(token)
    if match is not None:
        digits = token[match.end() :]
        if len(digits) >= 9 and 2 * _hex_count(digits) >= len(digits):
            return True
    if len(token) < 16:
        return False
    if _HEX_RUN.search(token):
        return True
    return 4 * _hex_count(token) >= 3 * len(token) and any(c.isdecimal() for c in token)


def _hex_count(text: str) -> int:
    return len(_NOT_HEX.sub("", text))


def hide_words(words: Sequence[str]) -> list[str]:
    """The words of one command as they may be shown.

    Beside `hide_keys`, hidden is whatever follows an algorithm's name, in the same word or as the next one: a word
    with brackets is such a name, and so is the word after one of KEYED. `NAME_key=VALUE` has a key too.
    """
    shown = [hide_in_name(word) for word in words]
    for at, word in enumerate(words):
        named = at + 1 if word in KEYED else at if names_algorithm(word) else None
        if named is None:
            continue
        for follow in range(named + 1, len(words)):
            # A name that has blanks in it goes on: `cbc (aes) KEY`.
            after_bracket = follow > named + 1 and not set(words[follow - 1]).isdisjoint("()")
            if follow > named + 1 and not after_bracket and not _GOES_ON.fullmatch(words[follow]):
                break
            shown[follow] = HIDDEN
    return shown


def names_algorithm(word: str) -> bool:
    """Whether a word has brackets as an algorithm's name has them, nothing being glued to it."""
    at = _name_end(word)
    return at is not None and not word[at:].strip("'\":;,)")


def _name_end(word: str) -> int | None:
    """Where the first name with brackets in a word ends, None where there is none."""
    opened = _NAME.search(word)
    if opened is None or _NUMBER_TWICE.fullmatch(word):
        return None
    depth = 0
    for at in range(opened.start() + 1, len(word)):
        depth += (word[at] == "(") - (word[at] == ")")
        if depth == 0:
            return at + 1
    closed = word.rfind(")")  # one bracket short
    return closed + 1 if closed > 0 else len(word)


def hide_in_name(word: str) -> str:
    """An algorithm's name, or another word, without a key that is glued to it."""
    if len(word) < _LEAST_ALONE and "(" not in word and "=" not in word:
        return word
    found = _KEY_VALUE.fullmatch(word)
    if found is not None:
        return found[1] + HIDDEN
    at = _name_end(word)
    if at is None or not word[at:].strip("'\":;,)"):
        return hide_keys(word)
    rest = word[at:]
    return hide_keys(word[:at]) + rest[: len(rest) - len(rest.lstrip(":,;=/"))] + HIDDEN


# -- characters -------------------------------------------------------------------------------------------------------


def printable(text: str, keep: str = "") -> str:
    r"""A text with its control characters escaped (`\x1b`, `\u202e`, `\n`), but for those of `keep`."""
    if text.isprintable():
        return text
    return "".join(c if c in keep or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _CONTROLS:
        return character
    code = ord(character)
    if character in _ESCAPES:
        return _ESCAPES[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def printable_values(value: Any, keep: str = "") -> Any:
    """The lists and dictionaries of a result with every text in them printable, names too."""
    if isinstance(value, str):
        return printable(value, keep)
    if isinstance(value, Mapping):
        return {printable_values(name, keep): printable_values(item, keep) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(item, keep) for item in value]
    return value


def message(text: str) -> str:
    """A text that repeats input as one line of a message: no key, no control character, at most LONGEST characters."""
    return shortened(printable(hide_keys(text)), LONGEST)


def shortened(text: str, most: int = 60) -> str:
    """A text of at most `most` characters or so: the middle is left out, and its length said."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}...({len(text) - 2 * half} characters)...{text[-half:]}"


# -- names ------------------------------------------------------------------------------------------------------------


def nearest(name: str, known: Collection[str], most: int = 3) -> list[str]:
    """The few of `known` that are most like a name, the likest first; none where nothing is."""
    wanted = name[:100].lower()
    lower = {other.lower(): other for other in known}
    like = [other for other in lower if len(wanted) >= 3 and (wanted in other or other in wanted)]
    like += difflib.get_close_matches(wanted, lower, n=most, cutoff=0.5)
    return [lower[other] for other in dict.fromkeys(like)][:most]


def did_you_mean(name: str, known: Collection[str], all_of_them: str) -> str:
    """What to say of a name that is not known: the nearest few, and how to list all (`all_of_them`)."""
    like = nearest(name, known)
    if not like:
        return all_of_them
    return f"did you mean {' or '.join([', '.join(like[:-1]), like[-1]] if like[1:] else like)}? {all_of_them}"
