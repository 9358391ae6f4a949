"""Writes SAs: as one line of `ip xfrm state add`, and as `ip xfrm state` of iproute2 6.1 prints them (ip/ipxfrm.c).

`parse` reads back what is written here.

What this does not do: an `add` line has no words for the replay bitmap and for `lifetime current`. Only an `add` line
has IPTFS's options, as in iproute2 7.3. Port masks other than 0 and 0xffff have no words anywhere.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from espsim.aead.linux_names import linux_hash, linux_name
from espsim.aead.suites import Algorithm
from espsim.core.address import format_address
from espsim.core.numbers import MODE_IPTFS
from espsim.sad.association import (
    NO_MARK,
    PROTO_NAMES,
    Lifetime,
    Limits,
    Mark,
    Mode,
    ReplayState,
    SecurityAssociation,
    Selector,
)
from espsim.sad.entry import SaStats
from espsim.text.bitmap import to_circular
from espsim.text.iptfs_options import option_words
from espsim.text.names import EXTRA_FLAGS, FLAGS, GRE, LIMIT_WORDS, PROTOCOL_NAMES, TYPED, bits_of, proto_name, swapped


def format_sa_line(sa: SecurityAssociation, *, verb: str | None = None) -> str:
    """One line, with keys, that `parse_sa_line` reads back. With `verb` (add, update) it is a command for a shell."""
    words = [word for group in _groups(sa) for word in group]
    if verb is None:
        return " ".join(_quote_less(word) for word in words)
    return " ".join(["ip", "xfrm", "state", verb, *(shlex.quote(word) for word in words)])


def format_dump(
    sa: SecurityAssociation,
    *,
    stats: bool = False,
    nokeys: bool = False,
    refused: SaStats | None = None,
    contexts: bool = True,
    mode: str = "",
) -> str:
    """What `ip xfrm state` prints, with its line feeds; with `stats`, `ip -s xfrm state`. `refused` fills `stats:`.

    `mode` is printed in place of the SA's mode: a larval state may have another. Without `contexts` the replay context
    is left out, as the kernel leaves it out of an EXPIRE message.

    Dates are printed as `-`, because there is no clock here. `mode packet` (iproute2 6.2), `dir` (6.11) and `pcpu-num`
    are printed where an SA has them, although 6.1 could not.
    """
    rows = [*_head(sa, stats, mode), *mark_rows(sa.mark, sa.output_mark), *_algorithm_rows(sa, stats, nokeys)]
    rows += _attributes(sa, contexts)
    if not ("af-unspec" in sa.flags and sa.selector == Selector()):
        rows.append("\tsel " + selector_row(sa.selector, len(sa.dst), stats))
    if stats:
        rows += lifetime_rows(sa.limits, sa.current)
        counts = refused or SaStats()
        rows.append("\tstats:")
        rows.append(f"\t  replay-window {counts.replay_window} replay {counts.replay} failed {counts.integrity_failed}")
    if sa.label:
        rows.append(f"\tsecurity context {sa.label} ")
    return "".join(row + "\n" for row in rows)


# -- the line ---------------------------------------------------------------------------------------------------------


def _quote_less(word: str) -> str:
    """The word with quotes where our reader needs them. It needs none for parentheses and commas."""
    return word if word and not any(c.isspace() or c in "'\"\\#" for c in word) else shlex.quote(word)


def _groups(sa: SecurityAssociation) -> Iterator[list[str]]:
    yield ["src", format_address(sa.src), "dst", format_address(sa.dst)]
    yield ["proto", PROTO_NAMES[sa.proto], "spi", f"0x{sa.spi:08x}", "reqid", str(sa.reqid), "mode", sa.mode.value]
    if sa.seq:
        yield ["seq", str(sa.seq)]
    yield ["replay-window", str(sa.window)]
    yield from _replay_words(sa.replay)
    for word, flags, known in (("flag", sa.flags, FLAGS), ("extra-flag", sa.extra_flags, EXTRA_FLAGS)):
        if flags:
            yield [word, *(name for name in known if name in flags)]
    yield from _small_words(sa)
    for word, field in LIMIT_WORDS.items():
        value = getattr(sa.limits, field)
        if value is not None:
            yield ["limit", word, str(value)]
    for algorithm in sa.algorithms:
        yield _algorithm_words(algorithm)
    if sa.selector != Selector():  # last, because a selector takes every src, dst and dev after it
        yield ["sel", *_selector_words(sa.selector)]


def _replay_words(replay: ReplayState) -> Iterator[list[str]]:
    if not replay.stated:
        return
    yield ["replay-seq", f"0x{replay.seq:x}", "replay-oseq", f"0x{replay.oseq:x}"]
    if replay.seq_hi:
        yield ["replay-seq-hi", f"0x{replay.seq_hi:x}"]
    if replay.oseq_hi:
        yield ["replay-oseq-hi", f"0x{replay.oseq_hi:x}"]


def _small_words(sa: SecurityAssociation) -> Iterator[list[str]]:
    if sa.mark != NO_MARK:
        yield ["mark", *_mark_words(sa.mark)]
    if sa.output_mark is not None:
        yield ["output-mark", *_mark_words(sa.output_mark)]
    if sa.if_id:
        yield ["if_id", f"0x{sa.if_id:x}"]
    if sa.tfcpad:
        yield ["tfcpad", str(sa.tfcpad)]
    if sa.encap is not None:
        encap = sa.encap
        yield ["encap", encap.kind, str(encap.sport), str(encap.dport), format_address(encap.oaddr)]
    if sa.coa is not None:
        yield ["coa", format_address(sa.coa)]
    if options := option_words(sa.iptfs):
        yield options
    if sa.label:
        yield ["ctx", sa.label]
    if sa.dir is not None:
        yield ["dir", sa.dir.value]
    if sa.pcpu is not None:
        yield ["pcpu-num", str(sa.pcpu)]
    if sa.offload is not None:
        offload = sa.offload
        yield ["offload", *(["packet"] if offload.packet else []), "dev", offload.dev, "dir", offload.dir.value]


def _mark_words(mark: Mark) -> list[str]:
    return [f"0x{mark.value:x}", "mask", f"0x{mark.mask:x}"]


def _algorithm_words(algorithm: Algorithm) -> list[str]:
    words = [algorithm.kind, algorithm.name]
    if algorithm.kind != "comp":
        words.append(f"0x{algorithm.key.hex()}" if algorithm.key else "")
    if algorithm.kind in ("aead", "auth-trunc"):
        words.append(str(algorithm.bits))
    return words


def _selector_words(sel: Selector) -> list[str]:
    words = []
    if sel.src:
        words += ["src", f"{format_address(sel.src)}/{sel.src_prefix}"]
    if sel.dst:
        words += ["dst", f"{format_address(sel.dst)}/{sel.dst_prefix}"]
    if sel.dev:
        words += ["dev", sel.dev]
    return words + _upspec_words(sel)


def _upspec_words(sel: Selector) -> list[str]:
    words = ["proto", PROTOCOL_NAMES.get(sel.proto, str(sel.proto))] if sel.proto else []
    if sel.proto == GRE:
        if sel.sport_mask or sel.dport_mask:
            words += ["key", str(sel.sport << 16 | sel.dport)]
        return words
    names = ("type", "code") if sel.proto in TYPED else ("sport", "dport")
    if sel.sport_mask:
        words += [names[0], str(sel.sport)]
    if sel.dport_mask:
        words += [names[1], str(sel.dport)]
    return words


# -- the dump ---------------------------------------------------------------------------------------------------------


def _bitmap_mode(sa: SecurityAssociation) -> bool:
    """Whether the kernel keeps the window in XFRMA_REPLAY_ESN_VAL: with ESN, and for windows above 32."""
    return sa.esn or sa.window > 32


def _head(sa: SecurityAssociation, stats: bool, mode: str) -> Iterator[str]:
    """xfrm_id_info_print, and the line of replay-window and flags."""
    yield f"src {format_address(sa.src)} dst {format_address(sa.dst)}"
    spi = f"0x{sa.spi:08x}" + (f"({sa.spi})" if stats else "")
    reqid = f"{sa.reqid}" + (f"(0x{sa.reqid:08x})" if stats else "")
    yield f"\tproto {proto_name(sa.proto)} spi {spi} reqid {reqid} mode {mode or _printed(sa)}"
    row = f"\treplay-window {0 if _bitmap_mode(sa) else sa.window} "
    flags = " ".join(name for name in FLAGS if name in sa.flags)
    if stats:
        row += f"seq 0x{swapped(sa.seq):08d} "  # %08u of a number in network order, as on x86
    if stats or flags:
        row += f"flag {flags}"
    if stats:
        if sa.extra_flags:  # iproute2 prints no space before it
            row += "extra_flag " + " ".join(name for name in EXTRA_FLAGS if name in sa.extra_flags)
        row += f" (0x{bits_of(sa.flags, FLAGS):08b})"
    yield row


def _printed(sa: SecurityAssociation) -> str:
    """The mode as iproute2 7.3 prints it. It has no word for IPTFS."""
    return str(MODE_IPTFS) if sa.mode is Mode.IPTFS else sa.mode.value


def mark_rows(mark: Mark, output: Mark | None = None) -> Iterator[str]:
    """The line of `mark` and `output-mark`, if any."""
    text = "" if output is None else f"output-mark 0x{output.value:x}/0x{output.mask:x}"
    if mark != NO_MARK:
        yield f"\tmark {_sharp_hex(mark.value)}/{_sharp_hex(mark.mask)} {text}"
    elif text:
        yield f"\t{text}"


def _sharp_hex(value: int) -> str:
    """%#x: no 0x before a zero."""
    return f"0x{value:x}" if value else "0"


def _algorithm_rows(sa: SecurityAssociation, stats: bool, nokeys: bool) -> Iterator[str]:
    """The algorithms in iproute2's order. The kernel reports its own names, and `auth` with its truncated length."""
    order = ("auth", "auth-trunc", "aead", "enc", "comp")
    for algorithm in sorted(sa.algorithms, key=lambda a: order.index(a.kind)):
        kind, bits = algorithm.kind, algorithm.bits
        name = linux_name(algorithm.name)
        if kind == "auth" and (mac := linux_hash(name)) is not None:
            kind, bits = "auth-trunc", mac.default_bits
        key = "<<Keys hidden>>" if nokeys else ""
        if algorithm.key and not nokeys:
            key = f"0x{algorithm.key.hex()}" + (f" ({8 * len(algorithm.key)} bits)" if stats else "")
        yield f"\t{kind} {name} {key}" + (f" {bits}" if kind in ("aead", "auth-trunc") else "")


def _attributes(sa: SecurityAssociation, contexts: bool) -> Iterator[str]:
    """The rest of xfrm_xfrma_print, in its order."""
    if sa.encap is not None:
        encap = sa.encap
        yield f"\tencap type {encap.kind} sport {encap.sport} dport {encap.dport} addr {format_address(encap.oaddr)}"
    if sa.coa is not None:
        yield f"\tcoa {format_address(sa.coa)}"
    if contexts:
        yield from _contexts(sa)
    if sa.offload is not None:
        packet = " mode packet" if sa.offload.packet else ""
        yield f"\tcrypto offload parameters: dev {sa.offload.dev} dir {sa.offload.dir.value}{packet}"
    if sa.if_id:
        yield f"\tif_id 0x{sa.if_id:x}"
    if sa.tfcpad:
        yield f"\ttfcpad {sa.tfcpad}"
    if sa.dir is not None:
        yield f"\tdir {sa.dir.value}"
    if sa.pcpu is not None:
        yield f"\tpcpu-num {sa.pcpu}"


def _contexts(sa: SecurityAssociation) -> Iterator[str]:
    replay = sa.replay
    if not _bitmap_mode(sa):
        yield f"\tanti-replay context: seq 0x{replay.seq:x}, oseq 0x{replay.oseq:x}, bitmap 0x{replay.bitmap:08x}"
        return
    yield "\tanti-replay esn context:"
    yield (f"\t seq-hi 0x{replay.seq_hi:x}, seq 0x{replay.seq:x}, oseq-hi 0x{replay.oseq_hi:x}, oseq 0x{replay.oseq:x}")
    length = (sa.window + 31) // 32
    yield f"\t replay_window {sa.window}, bitmap-length {length}"
    circular = to_circular(replay.bitmap, replay.seq, sa.window) if sa.window else 0
    words = [f"{circular >> 32 * i & 0xFFFFFFFF:08x} " for i in range(length)][::-1]
    for i in range(0, length, 8):
        yield "\t " + "".join(words[i : i + 8])


def selector_row(sel: Selector, length: int, stats: bool) -> str:
    """xfrm_selector_print() without its prefix. `length`: bytes of an address that the selector does not give."""
    any_address = bytes(len(sel.src or sel.dst) or length)
    src, dst = format_address(sel.src or any_address), format_address(sel.dst or any_address)
    words = [f"src {src}/{sel.src_prefix} dst {dst}/{sel.dst_prefix}", *_upspec_words(sel)]
    if sel.dev:
        words += ["dev", sel.dev]
    return " ".join(words) + " " + ("uid 0" if stats else "")


def lifetime_rows(limits: Limits, current: Lifetime) -> Iterator[str]:
    """xfrm_lifetime_print()."""
    yield "\tlifetime config:"
    for unit in ("bytes", "packets"):
        soft, hard = getattr(limits, f"soft_{unit}"), getattr(limits, f"hard_{unit}")
        yield f"\t  limit: soft {_limit(soft)}({unit}), hard {_limit(hard)}({unit})"
    for since in ("add", "use"):
        soft, hard = getattr(limits, f"soft_{since}") or 0, getattr(limits, f"hard_{since}") or 0
        yield f"\t  expire {since}: soft {soft}(sec), hard {hard}(sec)"
    yield "\tlifetime current:"
    yield f"\t  {current.bytes}(bytes), {current.packets}(packets)"
    yield "\t  add - use -"


def _limit(value: int | None) -> str:
    return "(INF)" if value is None else str(value)
