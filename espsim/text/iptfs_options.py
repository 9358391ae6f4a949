"""Reads and writes the options of IPTFS in the words of newer iproute2.

    iptfs-opts [drop-time USECS] [reorder-window N] [init-delay USECS] [max-queue-size N] [pkt-size N] [dont-frag]

Braces around the options are read too. iproute2 7.3 has none of these words.
"""

from __future__ import annotations

from espsim.sad.association import IPTFS_DEFAULTS, IptfsOptions
from espsim.text.cursor import Cursor

_WORDS = {
    "drop-time": ("drop_time", 32), "reorder-window": ("reorder_window", 16), "init-delay": ("init_delay", 32),
    "max-queue-size": ("max_qsize", 32), "pkt-size": ("pkt_size", 32), "dont-frag": ("dont_frag", 0),
}  # fmt: skip
"""An option's word: its field, and the bits of its number; 0: the word takes no number."""
_BRACES = ("{", "}")


def read_options(cursor: Cursor) -> IptfsOptions:
    """What follows `iptfs-opts`. InputError: an option twice, not a number, or a number that is too large."""
    said: dict[str, int] = {}
    while (word := cursor.peek()) is not None and (word.text in _WORDS or word.text in _BRACES):
        cursor.skip()
        if word.text in _BRACES:
            continue
        name, bits = _WORDS[word.text]
        if name in said:
            raise cursor.error(f"{word.text} is given twice")
        said[name] = cursor.number(word.text, bits) if bits else 1
    dont_frag = bool(said.pop("dont_frag", 0))
    return IptfsOptions(**said, dont_frag=dont_frag)


def option_words(options: IptfsOptions | None) -> list[str]:
    """The words of the options that are not at their defaults; [] where all are."""
    words = []
    for word, (name, bits) in _WORDS.items():
        value = getattr(options or IPTFS_DEFAULTS, name)
        if value != getattr(IPTFS_DEFAULTS, name):
            words += [word, str(value)] if bits else [word]
    return ["iptfs-opts", *words] if words else []
