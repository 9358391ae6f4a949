"""The words of an SA in a paste, one handler a word: those of `ip xfrm state add`, and those that only a dump has.

A dump has the words of a command, and more. A few words have two meanings; what follows them decides: `mark 1/0xff`,
`encap type ...`, and `seq`, which `-s` prints in network order, as 0x and decimal digits.

A word's handler is in `_COMMON`, or in `_DUMP` if only a dump has the word. It writes a field of the `Draft`
(draft.py), from which the SA is built.

What this does not do: judge an SA as a whole (draft.py, reader.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from espsim.aead.suites import Algorithm
from espsim.core.errors import InputError
from espsim.core.numbers import MODES
from espsim.sad.association import Direction, Encap, Lifetime, Mark, Offload
from espsim.text.algorithms import KINDS, read_algorithm
from espsim.text.cursor import Contradiction, Cursor
from espsim.text.draft import Draft
from espsim.text.iptfs_options import read_options
from espsim.text.lexer import Style, Word, shown
from espsim.text.names import (
    ENCAP_TYPES,
    EXTRA_FLAGS,
    FLAGS,
    FULL_MASK,
    INFINITE,
    LIMIT_WORDS,
    MAX_WINDOW,
    NUMBER_WORDS,
    REPLAY_WORDS,
    XFRM_PROTOCOLS,
    flags_of,
    swapped,
)  # fmt: skip
from espsim.text.notes import Notes
from espsim.text.selector import read_selector

Handler = Callable[[Cursor, Draft], None]

_MODES = (*MODES.values(), "iptfs")
_MASK = re.compile(r"\(0x[0-9a-f]+\)")


def read_words(cursor: Cursor, notes: Notes) -> Draft:
    """Read every word of an entry into a draft. An unknown word gets a note, or becomes the draft's `fault`.

    In a dump an unknown word gets a note, and so does a row that can't be read and on which no answer depends. In a
    command an unknown word is a fault: it may be a misspelt keyword. Raises Contradiction for what no reader may pass
    over.
    """
    draft = Draft()
    known = _COMMON if cursor.style is Style.COMMAND else _EVERY
    while (word := cursor.peek()) is not None:
        cursor.skip()
        handler = known.get(word.text)
        if handler is None:
            _unknown(cursor, draft, word, notes)
            continue
        try:
            handler(cursor, draft)
        except Contradiction:
            raise
        except InputError as error:
            if word.text in _NOT_NEEDED and cursor.style is not Style.COMMAND:
                notes.add(f"{error.what}, passed over", word.line)
            else:
                draft.fail(error)
            cursor.leave_row(word.row, ())
    for what in draft.remarks:
        notes.add(what, cursor.entry.line)
    return draft


def _unknown(cursor: Cursor, draft: Draft, word: Word, notes: Notes) -> None:
    error = cursor.unknown("word", word)
    if cursor.style is Style.DUMP or word.text in _NEWER or word.line != cursor.entry.line:
        notes.add(f"{error.what}, passed over with what follows it", word.line)
    else:
        draft.fail(error)
    cursor.leave_row(word.row, _EVERY)


def _algorithm(kind: str) -> Handler:
    def handler(cursor: Cursor, draft: Draft) -> None:
        draft.algorithm_line = cursor.line
        if kind in draft.kinds:
            raise cursor.error(f"{kind} is given twice")
        algorithm = read_algorithm(cursor, kind, _EVERY)
        (draft.algorithms if isinstance(algorithm, Algorithm) else draft.hidden).append(algorithm)  # type: ignore[arg-type]

    return handler


def _once(cursor: Cursor, value: object, word: str) -> None:
    if value is not None:
        raise cursor.error(f"{word} is given twice in one SA")


def _src(cursor: Cursor, draft: Draft) -> None:
    _once(cursor, draft.src, "src")
    draft.src = cursor.address("src")


def _dst(cursor: Cursor, draft: Draft) -> None:
    _once(cursor, draft.dst, "dst")
    draft.dst = cursor.address("dst")


def _proto(cursor: Cursor, draft: Draft) -> None:
    _once(cursor, draft.proto, "proto")
    word = cursor.peek()
    if word is not None and word.text not in XFRM_PROTOCOLS and re.fullmatch("[a-z][a-z0-9_-]*", word.text):
        cursor.skip()
        draft.proto, draft.other_proto = -1, shown(word.text).strip("'")
        return
    draft.proto = cursor.choice("proto", XFRM_PROTOCOLS)


def _spi(cursor: Cursor, draft: Draft) -> None:
    _once(cursor, draft.spi, "spi")
    draft.spi = cursor.number("spi")


def _mode(cursor: Cursor, draft: Draft) -> None:
    word = cursor.take("the mode")
    if word.text in ("0", "1", "2", "3", "4", "5"):
        draft.mode = _MODES[int(word.text)]
        return
    mode = next((m for m in _MODES if word.text and m.startswith(word.text)), None)
    if mode is None and not re.fullmatch("[0-9]{1,3}|[a-z][a-z_-]{1,14}", word.text):
        raise cursor.unknown("mode", word)
    draft.mode = mode or word.text


def _iptfs_options(cursor: Cursor, draft: Draft) -> None:
    _once(cursor, draft.iptfs, "iptfs-opts")
    draft.iptfs = read_options(cursor)


def _seq(cursor: Cursor, draft: Draft) -> None:
    word = cursor.peek()
    if cursor.style is not Style.COMMAND and word is not None and word.text.endswith(","):
        _replay_fields(cursor, draft, "seq")
        return
    match = re.fullmatch("0x([0-9]{8,10})", word.text) if word is not None else None
    if cursor.style is not Style.DUMP or match is None:
        draft.seq = cursor.number("seq")
        return
    cursor.skip()
    value = int(match[1])
    if value >> 32:
        raise cursor.error("seq has more than 32 bits")
    draft.seq = swapped(value)


def _mark(cursor: Cursor, draft: Draft) -> None:
    draft.mark = _value_and_mask(cursor, "mark")


def _output_mark(cursor: Cursor, draft: Draft) -> None:
    draft.output_mark = _value_and_mask(cursor, "output-mark")


def _value_and_mask(cursor: Cursor, what: str) -> Mark:
    word = cursor.peek()
    match = re.fullmatch("(-?)([0-9a-fA-Fx]+)/(0x[0-9a-fA-F]+|[0-9]+)", word.text) if word is not None else None
    if match is not None and cursor.style is not Style.COMMAND:
        cursor.skip()
        try:
            value, mask = int(match[2], 0), int(match[3], 0)
        except ValueError:
            raise cursor.error(f"{what} is not a number") from None
        if value >> 32 or mask >> 32:
            raise cursor.error(f"{what} has more than 32 bits")
        return Mark((-value if match[1] else value) & FULL_MASK, mask)  # iproute2 printed %d before 2018
    return Mark(cursor.number(what), cursor.number(f"the mask of {what}") if cursor.accept("mask") else FULL_MASK)


def _flag(cursor: Cursor, draft: Draft) -> None:
    _flag_list(cursor, draft, draft.flags, FLAGS, "flag")
    word = cursor.peek()
    # iproute2 forgets the space between the last flag and the word after it.
    if word is not None and word.text.endswith("extra_flag") and word.text.removesuffix("extra_flag") in FLAGS:
        cursor.skip()
        draft.flags.add(word.text.removesuffix("extra_flag"))
        _extra_flag(cursor, draft)


def _extra_flag(cursor: Cursor, draft: Draft) -> None:
    _flag_list(cursor, draft, draft.extra_flags, EXTRA_FLAGS, "extra-flag")


def _flag_list(cursor: Cursor, draft: Draft, flags: set[str], known: tuple[str, ...], what: str) -> None:
    """Read names of flags, and bits in hex: with 0x in a command, without it in a dump.

    A dump has bits without names where the kernel is newer than the iproute2 that printed it.
    """
    taken = False
    while (word := cursor.peek()) is not None:
        if word.text in known:
            cursor.skip()
            flags.add(word.text)
        elif (word.text.startswith("0x") and not taken) or _is_bits(cursor, word):
            cursor.skip()
            left = _flag_bits(cursor, word.text, flags, known)
            if left:
                draft.remarks.append(f"{what} has a bit that is not known, 0x{left:x}, passed over")
        elif _MASK.fullmatch(word.text) and cursor.style is not Style.COMMAND:
            cursor.skip()
            return
        else:
            break
        taken = True
    if not taken and cursor.style is not Style.DUMP:
        if word is None:
            raise cursor.error(f"{what} without a flag")
        raise cursor.unknown(what, word)


def _is_bits(cursor: Cursor, word: Word) -> bool:
    """Whether this word of a dump is bits of a flag."""
    before = cursor.peek(-1)
    same_row = before is not None and before.row == word.row and word.text not in _EVERY  # aead is a number too
    return cursor.style is Style.DUMP and same_row and re.fullmatch("[0-9a-f]{1,8}", word.text) is not None


def _flag_bits(cursor: Cursor, text: str, flags: set[str], known: tuple[str, ...]) -> int:
    """Add the names of bits to `flags`, and return the bits that have none."""
    try:
        bits = int(text, 16)
    except ValueError:
        raise cursor.error("the bits of a flag are not a number") from None
    flags |= flags_of(bits, known)
    left = bits >> len(known) << len(known)
    if left and cursor.style is Style.COMMAND:
        raise cursor.error("a flag has bits that are not known")
    return left


def _limit(cursor: Cursor, draft: Draft) -> None:
    word = cursor.take("what `limit` limits")
    if word.text not in LIMIT_WORDS:
        raise cursor.unknown("limit", word)
    draft.limit(LIMIT_WORDS[word.text], cursor.number(f"limit {word.text}", 64))


def _encap(cursor: Cursor, draft: Draft) -> None:
    dump = cursor.style is not Style.COMMAND and cursor.accept("type")
    word = cursor.take("the type of encap")
    kind = ENCAP_TYPES.get(word.text, word.text) if dump else word.text
    if kind not in ENCAP_TYPES.values():
        raise cursor.unknown("encap type", word)
    values = []
    for name in ("sport", "dport"):
        if dump and not cursor.accept(name):
            raise cursor.error(f"encap: {name} is missing")
        values.append(cursor.number(f"encap {name}", 16))
    if dump and not cursor.accept("addr"):
        raise cursor.error("encap: addr is missing")
    draft.encap = Encap(kind, values[0], values[1], cursor.address("encap addr"))


def _coa(cursor: Cursor, draft: Draft) -> None:
    draft.coa = cursor.address("coa")


def _label(cursor: Cursor, draft: Draft) -> None:
    draft.label = cursor.take("the security context").text


def _dir(cursor: Cursor, draft: Draft) -> None:
    draft.dir = _direction(cursor, "dir")


def _direction(cursor: Cursor, what: str) -> Direction:
    word = cursor.take(f"the direction after {what}")
    if word.text not in ("in", "out"):
        raise cursor.unknown(what, word)
    return Direction(word.text)


def _offload(cursor: Cursor, draft: Draft) -> None:
    """`offload [crypto|packet] dev DEV dir in|out`, and a dump's `crypto offload parameters: dev .. dir .. mode ..`."""
    packet = cursor.accept("packet")
    if not packet:
        cursor.accept("crypto")
    if not cursor.accept("dev"):
        raise cursor.error("offload needs dev DEV dir in|out")
    dev = cursor.device("offload dev")
    if not cursor.accept("dir"):
        raise cursor.error("offload needs dir in|out after its device")
    direction = _direction(cursor, "offload dir")
    if cursor.style is not Style.COMMAND and cursor.accept("mode"):
        word = cursor.take("the mode of offload")
        if word.text not in ("crypto", "packet"):
            raise cursor.unknown("offload mode", word)
        packet = word.text == "packet"
    draft.offload = Offload(dev, direction, packet)


def _offload_parameters(cursor: Cursor, draft: Draft) -> None:
    if not cursor.accept("offload", "parameters:"):
        raise cursor.error("expected `crypto offload parameters:`")
    _offload(cursor, draft)


def _selector(cursor: Cursor, draft: Draft) -> None:
    before = cursor.peek()
    selector = read_selector(cursor)
    if cursor.peek() is before:
        raise cursor.error("sel without a selector")
    draft.selector = selector


def _number(field: str, word: str) -> Handler:
    """A word that takes one 32-bit number."""

    def handler(cursor: Cursor, draft: Draft) -> None:
        setattr(draft, field, cursor.number(word))

    return handler


def _replay_number(field: str, word: str) -> Handler:
    """A word that takes one number of the replay context."""

    def handler(cursor: Cursor, draft: Draft) -> None:
        draft.replay[field] = cursor.number(word)

    return handler


_COMMON: dict[str, Handler] = {
    "src": _src, "dst": _dst, "proto": _proto, "spi": _spi, "mode": _mode, "seq": _seq, "mark": _mark,
    "output-mark": _output_mark, "flag": _flag, "extra-flag": _extra_flag, "limit": _limit, "encap": _encap,
    "coa": _coa, "ctx": _label, "label": _label, "dir": _dir, "offload": _offload,
    "sel": _selector, "iptfs-opts": _iptfs_options,
    **{word: _number(field, word) for word, field in NUMBER_WORDS.items()},
    **{word: _replay_number(field, word) for word, field in REPLAY_WORDS.items()},
}  # fmt: skip


# -- what only a dump says --------------------------------------------------------------------------------------------

_CONTEXT = {"seq-hi": "seq_hi", "seq": "seq", "oseq-hi": "oseq_hi", "oseq": "oseq", "bitmap": "bitmap"}
_MAX_WORDS = MAX_WINDOW // 32


def _anti_replay(cursor: Cursor, draft: Draft) -> None:
    """`anti-replay context: seq .., oseq .., bitmap ..`, or `anti-replay esn context:` and the lines after it."""
    if not cursor.accept("context:") and not cursor.accept("esn", "context:"):
        raise cursor.error("expected `anti-replay context:` or `anti-replay esn context:`")
    while (word := cursor.peek()) is not None:
        if word.text in _CONTEXT:
            cursor.skip()
            draft.replay[_CONTEXT[word.text]] = cursor.number(f"anti-replay {word.text}")
        elif word.text in ("replay_window", "bitmap-length"):
            cursor.skip()
            _DUMP[word.text](cursor, draft)
        else:
            return


def _replay_fields(cursor: Cursor, draft: Draft, first: str) -> None:
    """A context without its heading, as iproute2 prints it for an SA with `dir in` or `dir out`."""
    draft.replay[_CONTEXT[first]] = cursor.number(f"anti-replay {first}")
    while (word := cursor.peek()) is not None and word.text in _CONTEXT:
        cursor.skip()
        draft.replay[_CONTEXT[word.text]] = cursor.number(f"anti-replay {word.text}")


def _headless(field: str) -> Handler:
    return lambda cursor, draft: _replay_fields(cursor, draft, field)


def _bitmap_words(cursor: Cursor, draft: Draft) -> None:
    """`bitmap-length N`, then N words of 32 bits, the highest first."""
    count = cursor.number("bitmap-length")
    if count > _MAX_WORDS:
        raise cursor.error(f"bitmap-length {count} is not in 0 to {_MAX_WORDS}")
    if draft.context_window is None:
        draft.context_window = draft.window
    draft.circular = 0
    for _ in range(count):
        word = cursor.take("a word of the replay bitmap")
        if not re.fullmatch("[0-9a-fA-F]{8}", word.text):
            raise cursor.error(f"the replay bitmap has fewer than {count} words")
        draft.circular = draft.circular << 32 | int(word.text, 16)


def _lifetime(cursor: Cursor, draft: Draft) -> None:
    if cursor.accept("config:"):
        return
    if not cursor.accept("current:"):
        raise cursor.error("expected `lifetime config:` or `lifetime current:`")
    bytes_ = _amount(cursor, "bytes")
    draft.current = Lifetime(bytes_, _amount(cursor, "packets"))
    for word in ("add", "use"):
        if cursor.accept(word):
            _lastused(cursor, draft)


def _amount(cursor: Cursor, unit: str) -> int:
    """`17(bytes),`: a 64-bit number; (INF) is XFRM_INF."""
    text = cursor.take(f"a number of {unit}").text.removesuffix(",")
    match = re.fullmatch(r"([0-9]{1,20}|\(INF\))\(([a-z]+)\)", text)
    if match is None or match[2] != unit:
        raise cursor.error(f"expected a number of {unit}, such as 0({unit})")
    value = INFINITE if match[1] == "(INF)" else int(match[1])
    if value >> 64:
        raise cursor.error(f"a number of {unit} of more than 64 bits")
    return value


def _limit_line(cursor: Cursor, draft: Draft) -> None:
    """`limit: soft (INF)(bytes), hard (INF)(bytes)`."""
    for hardness in ("soft", "hard"):
        if not cursor.accept(hardness):
            raise cursor.error(f"limit: {hardness} is missing")
        word = cursor.peek()
        unit = "packets" if word is not None and "(packets)" in word.text else "bytes"
        draft.limit(f"{hardness}_{unit}", _amount(cursor, unit))


def _expire_line(cursor: Cursor, draft: Draft) -> None:
    """`expire add: soft 0(sec), hard 0(sec)`."""
    word = cursor.take("add: or use: after expire")
    if word.text not in ("add:", "use:"):
        raise cursor.unknown("expire", word)
    for hardness in ("soft", "hard"):
        if not cursor.accept(hardness):
            raise cursor.error(f"expire: {hardness} is missing")
        draft.limit(f"{hardness}_{word.text[:3]}", _amount(cursor, "sec"))


def _stats(cursor: Cursor, draft: Draft) -> None:
    """`stats:`, then counts of what the SA refused. They are read and dropped: they don't configure the SA."""
    while (word := cursor.peek()) is not None and word.text in ("replay-window", "replay", "failed"):
        cursor.skip()
        cursor.number(f"stats {word.text}")


def _lastused(cursor: Cursor, draft: Draft) -> None:
    """`-`, or a date and a time. They are dropped: they are of the printing machine's clock."""
    word = cursor.take("a time")
    if word.text == "-":
        return
    clock = cursor.peek()
    if not re.fullmatch("[0-9]{4,}-[0-9]{2}-[0-9]{2}", word.text) or clock is None:
        raise cursor.error("expected a date and a time, or -")
    cursor.skip()
    if not re.fullmatch("[0-9]{2}:[0-9]{2}:[0-9]{2}", clock.text):
        raise cursor.error("expected a time after the date")


def _security_context(cursor: Cursor, draft: Draft) -> None:
    if not cursor.accept("context"):
        raise cursor.error("expected `security context`")
    _label(cursor, draft)


_DUMP: dict[str, Handler] = {
    "extra_flag": _extra_flag, "anti-replay": _anti_replay, "crypto": _offload_parameters, "lifetime": _lifetime,
    "limit:": _limit_line, "expire": _expire_line, "stats:": _stats, "lastused": _lastused,
    "security": _security_context, "replay_window": _number("context_window", "replay_window"),
    "bitmap-length": _bitmap_words,
    "seq-hi": _headless("seq-hi"), "oseq-hi": _headless("oseq-hi"), "oseq": _headless("oseq"),
}  # fmt: skip
_ALGORITHMS: dict[str, Handler] = {kind: _algorithm(kind) for kind in KINDS}
_COMMON |= _ALGORITHMS
_EVERY: dict[str, Handler] = _COMMON | _DUMP

_NOT_NEEDED = frozenset({
    "lifetime", "limit:", "expire", "stats:", "lastused", "security", "label", "ctx", "coa", "pcpu-num", "output-mark",
    "if_id", "seq",
})  # fmt: skip
"""Words of a dump on which no answer depends. If one can't be read, the SA is used without it."""

_NEWER = frozenset({"nat-keepalive-interval"})
"""Words of newer commands that nothing in the model depends on."""

DUMP_WORDS = frozenset({"anti-replay", "lifetime", "limit:", "stats:", "lastused", "replay_window", "bitmap-length"})
"""Words that only a dump has."""

ROW_WORDS = (_EVERY.keys() | {"flag", "add", "use", "bitmap", "hard", "soft"}) - {"src", "dst"}
"""The words with which an SA's rows start."""
