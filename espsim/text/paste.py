r"""What people paste, line by line: lines that make SAs, lines that remove SAs, and lines passed over with a note.

    src A dst B ...                      a state of a dump, or the words of one; a network instead of A: a policy
    [PROMPT] [sudo] [ip ...] xfrm ...    a command: add, update make SAs, flush, delete remove them, others do nothing
    A B, then `esp mode=...`             an SA of `setkey -D`
    add A B esp SPI ... ;                a command of `setkey -c`
    "IPv4","A","B","SPI",...             a row of Wireshark's esp_sa, as a comment too (for a newer Wireshark)

A line after an SA's first belongs to the SA if its first word is one of a row. What a line is depends on the lines from
the last start up to it, never on later ones.

A lone # before a command starts a comment, or is root's prompt. It is a comment if the text has a command with another
prompt or with none. The entry is `commented`, and at the end `Paste.script` says whether that makes it a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from espsim.text.lexer import Line, SaEntry, Style, Word, logical_lines, shown, words_of
from espsim.text.notes import Notes
from espsim.text.pieces import SETKEY_HEAD
from espsim.text.words import DUMP_WORDS, ROW_WORDS

_MAX_WORDS = 4096

_SA_START = re.compile(r"[ \t]*(?:src|dst)[ \t]+[0-9a-fA-F:.]")
_ANOTHER_SA = re.compile(
    r"(?<!sel)(?<!tmpl)(?<![ \t])[ \t]++(?=src \S+ dst \S+[ \t]+proto (?:esp|ah|comp|[0-9]+) spi )"
)
_NETWORK = re.compile(r"[0-9a-fA-F:.]+/[0-9]+")
_EVENT = re.compile(
    r"[ \t]*(?:\[nsid [^\]]*\])?(Updated|Deleted|Expired|acquire|Async event|Mapping change|Flushed)\b[ \t]*"
)
_CONTINUES = re.compile(
    r"[0-9a-f]{8}|(?=\(|.*[0-9])(?:0x)?[0-9a-fA-F]+[,;]?(?:\([a-z]+\),?)?|\(INF\).*|\([0-9a-fx]+\)", re.ASCII
)
_PROMPT = re.compile(
    r"""[ \t]*(?:\([\w.-]+\)[ \t]*)?(?:
        \[[^\]\n]{1,80}\][#$%>]                     # [user@host ~]$
      | [\w.+-]+@[\w.-]+[^#$%>\n]{0,80}?[#$%>]      # root@host:~#
      | [\w.|-]*:[\w/~.-]*[ ]?[#$%>]                # generic_x86:/ #
      | [\w.-]*[$#%>]                               # $, #, bash-5.1#, host>
      | \+{1,3}                                     # a shell's trace
      | [➜❯»][ \t]+(?:~[ \t]+)?
    )[ \t]+""",
    re.VERBOSE,
)
_FENCE = re.compile(r"[ \t]*(?:```|~~~)\w*[ \t]*")
_SETKEY = re.compile(
    r"[ \t]*(?:(?:add|delete|deleteall|get)[ \t]+(?:-[46n]+[ \t]+)?\S+[ \t]+\S+[ \t]+(?:esp|ah|ipcomp|tcp)\b"
    r"|(?:flush|dump)[ \t]*(?:esp|ah|ipcomp)?[ \t]*;|spd(?:add|update|delete|flush|dump)\b)"
)
_SETKEY_ROW = re.compile(
    r"[ \t]*(?:(?:esp|ah|ipcomp|tcp|esp-udp|esp-old|ah-old|unknown)[ \t]+mode=|[EAC]:|NAT:|seq=0x|replay=|created:"
    r"|diff:|last:|current:|allocated:|sadb_seq=|[0-9a-f]{2,8}(?:[ \t]+[0-9a-f]{2,8})*[ \t]*$)"
)
_SPD = re.compile(r"[ \t]*[0-9a-fA-F:./]+\[(?:any|\d+)\][ \t]+[0-9a-fA-F:./]+\[(?:any|\d+)\][ \t]+\w+[ \t]*")
"""The first line of a policy of `setkey -DP`."""

_ESP_SA = re.compile(r"[ \t]*+(#?)[ \t]*+(\"IPv[46]\",.*)")
_HINT = re.compile(r"# (0x[0-9a-f]{8})@(\S+): (mode .*)")
"""The comment that `text.esp_sa_write` puts above a row, for what the row can't state."""

_OPTIONS_WITH_VALUE = ("-netns", "-family", "-loops", "-rcvbuf", "-batch")
_VERBS = (
    "add", "update", "allocspi", "delete", "deleteall", "delall", "list", "show", "lst", "get", "flush", "count",
    "help",
)  # fmt: skip
_SILENT = ("setkey", "EOF", "/sbin/setkey", "/usr/sbin/setkey")
_WRAPPERS = ("ip", "xfrm", "sudo", "doas", "ssh", "nsenter", "docker", "podman", "kubectl", "adb", "vtysh", "chroot")
"""Words with which a typed command starts. A comment about a command starts with others."""

_SEPARATORS = ("|", "||", "&&", "&", ";", ">", ">>", "2>", "2>&1", "<", ")")

JUNK = "a line that is not part of an SA, passed over"
POLICY = "a policy, passed over: only SAs are read here"
COMMENTED = "an `ip xfrm` command after a #, taken for a comment: other commands here have no # before them"


@dataclass(frozen=True, slots=True, repr=False)
class Act:
    """A command that removes SAs above it. `words` are those after `xfrm state`, or all of setkey's."""

    words: list[str]
    line: int
    commented: bool = False
    setkey: bool = False


Statement: TypeAlias = SaEntry | Act


class Paste:
    """A reader of one text, block after block. `script`: a command had no prompt, or one that is not a #."""

    def __init__(self, notes: Notes, rows: Style = Style.ESP_SA) -> None:
        """`rows` is the style of `esp_sa` rows: a file's or a secrets block's."""
        self.notes = notes
        self._rows = rows
        self.script = False
        self._entry: SaEntry | None = None
        self._policy = False
        self._hint: re.Match[str] | None = None
        self._esn_row = ""
        self._setkey: tuple[list[str], int] | None = None

    @property
    def carries(self) -> bool:
        """Whether what was read affects later lines."""
        return self.script or self._hint is not None

    def statements(self, text: str, first: int) -> Iterator[Statement]:
        """What a block holds. `first` is the number of its first line."""
        for line in logical_lines(text, first):
            if line.text and not line.text.isspace():
                yield from self._line(line)
        yield from self._close()

    def _close(self) -> Iterator[SaEntry]:
        """End the SA above: no later line is a row of it."""
        entry, self._entry, self._policy = self._entry, None, False
        if self._setkey is not None:
            self.notes.add("a setkey command without a ; at its end, passed over", self._setkey[1])
            self._setkey = None
        if entry is not None:
            yield entry

    def _line(self, line: Line) -> Iterator[Statement]:
        if self._setkey is not None:
            yield from self._setkey_text(line.text, line.number)
        elif _SA_START.match(line.text):
            yield from self._state(line, "dump")
        elif not self._row(line):
            yield from self._other(line)

    # -- rows of the SA above -----------------------------------------------------------------------------------------

    def _row(self, line: Line) -> bool:
        """Whether the line belongs to the SA or policy above. An SA's rows are kept, a policy's are not."""
        entry = self._entry
        first = line.text.split(None, 1)[0]
        if self._policy:
            return line.text[0] in " \t" or first in ROW_WORDS or first in ("tmpl", "socket", "action")
        if entry is None or entry.style in (Style.COMMAND, self._rows, Style.SETKEY_ADD):
            return False
        if entry.style is Style.SETKEY_DUMP:
            belongs = _SETKEY_ROW.match(line.text) is not None
            entry.text += f"\n{line.text}" if belongs and len(entry.text) < _MAX_WORDS else ""
            return belongs
        continues = _CONTINUES.fullmatch(first) is not None
        if not continues and (first not in ROW_WORDS or _SETKEY.match(line.text)):
            return False
        words = line.words()
        if continues and entry.words:
            words = [Word(w.text, w.line, entry.words[-1].row) for w in words]
        if len(entry.words) < _MAX_WORDS:
            entry.words += words
        return True

    # -- starts -------------------------------------------------------------------------------------------------------

    def _state(self, line: Line, verb: str) -> Iterator[Statement]:
        yield from self._close()
        if not line.oneline and _ANOTHER_SA.search(line.text):  # the paste lost its line feeds
            for part in _ANOTHER_SA.split(line.text):
                yield from self._state(Line(part, line.number, [(part, line.number)], False), verb)
            return
        words = line.words()
        texts = [word.text for word in words]
        header = len(words) == 4 and texts[2] in ("src", "dst")
        if "spi" not in texts and any(_NETWORK.fullmatch(text) for text in texts[1:4:2]):
            self._policy = True
            self.notes.add(POLICY, line.number)
        elif header or line.oneline or any(text in DUMP_WORDS for text in texts):
            self._entry = SaEntry(Style.DUMP, verb, line.number, words)
        elif any(text in ROW_WORDS for text in texts[2:]):
            self._entry = SaEntry(Style.BARE, "add" if verb == "dump" else verb, line.number, words)
        else:
            self.notes.add(JUNK, line.number)

    def _other(self, line: Line) -> Iterator[Statement]:
        """A line that is neither a state's start nor a row: a command, setkey's or Wireshark's, a comment, or junk."""
        text = line.text
        if row := _ESP_SA.fullmatch(text):
            yield from self._close()
            self._esp_sa(row[2], line.number)
        elif SETKEY_HEAD.fullmatch(text):
            yield from self._close()
            self._entry = SaEntry(Style.SETKEY_DUMP, "dump", line.number, [], text=text)
        elif _SPD.fullmatch(text):
            yield from self._close()
            self._policy = True
            self.notes.add(POLICY, line.number)
        elif _SETKEY.match(text):
            yield from self._close()
            self._setkey = ([], line.number)
            yield from self._setkey_text(text, line.number)
        elif event := _EVENT.match(text):
            yield from self._monitored(line, event)
        else:
            yield from self._typed(line)

    def _esp_sa(self, text: str, number: int) -> None:
        """A row of `esp_sa`. Rows that differ only in the high half of the numbers are one SA: the first counts.

        A row without a high half after them is the same SA too, for an older Wireshark.
        """
        front, esn, _ = text.partition(',"64-bit"')
        if front == self._esn_row:
            return
        self._esn_row = front if esn else ""
        hint = self._hint
        words = words_of(hint[3], number, number) if hint and hint[1] in text and f'"{hint[2]}"' in text else []
        self._entry = SaEntry(self._rows, "dump", number, words, text=text)

    def _monitored(self, line: Line, event: re.Match[str]) -> Iterator[Statement]:
        """A line of `ip xfrm monitor`. A state after `Updated` is an update; all else is passed over."""
        rest = line.text[event.end() :]
        if event[1] == "Updated" and _SA_START.match(rest):
            yield from self._state(Line(rest, line.number, [(rest, line.number)], line.oneline), "update")
            return
        yield from self._close()
        self._policy = True  # its rows are passed over
        self.notes.add("a message of `ip xfrm monitor`, passed over", line.number)

    def _typed(self, line: Line) -> Iterator[Statement]:
        """A command, with or without a prompt; a comment; or junk."""
        text = line.text
        prompt = _PROMPT.match(text)
        mark = text[: prompt.end()].strip() if prompt else ""
        rest = text[prompt.end() :] if prompt else text
        if mark == ">":  # a mail's quotation
            yield from self._quoted(rest, line)
            return
        if hint := _HINT.fullmatch(text):
            self._hint = hint
            return
        if mark != "#" and text.lstrip().startswith("#"):
            self.script = self.script or text.startswith("#!")
            return
        words = line.words(rest)
        commands = list(_commands(words))
        if mark == "#" and not (commands and words[0].text.rsplit("/", 1)[-1] in _WRAPPERS):
            return
        if commands:
            yield from self._close()
            for command in commands:
                yield from self._command(command, mark == "#")
        elif mark or (words and words[0].text in ("ip", "sudo", "xfrm")):
            yield from self._close()
            self.notes.add("a command that makes no SA, passed over", line.number)
        elif not (_FENCE.fullmatch(text) or (words and words[0].text in _SILENT)):
            self._junk(text, line.number)

    def _quoted(self, rest: str, line: Line) -> Iterator[Statement]:
        text = rest.lstrip("> \t") if rest.lstrip().startswith(">") else rest
        if text and not text.isspace():
            yield from self._line(Line(text, line.number, [(text, line.number)], line.oneline))

    def _junk(self, text: str, number: int) -> None:
        first = text.split(None, 1)[0]
        inside = self._entry is not None and text[0] in " \t"
        self.notes.add(
            f"a line that starts with an unknown word {shown(first)}, passed over" if inside else JUNK, number
        )

    # -- commands -----------------------------------------------------------------------------------------------------

    def _command(self, words: list[Word], commented: bool) -> Iterator[Statement]:
        """A command from its words after `xfrm`, at least one."""
        line, what = words[0].line, words[0].text
        if not ("state".startswith(what) or what == "sa"):
            self.notes.add(POLICY if "policy".startswith(what) else "a command that makes no SA, passed over", line)
            return
        given = words[1].text if len(words) > 1 else "list"
        verb = next((full for full in _VERBS if full.startswith(given)), "")
        if verb in ("list", "show", "lst", "get", "count"):
            return
        self.script = self.script or not commented
        if verb in ("add", "update"):
            yield SaEntry(Style.COMMAND, verb, line, words[2:], commented)
        elif verb in ("flush", "delete", "deleteall", "delall"):
            yield Act([verb, *(word.text for word in words[2:])], line, commented)
        else:
            self.notes.add("a command that makes no SA, passed over", line)

    # -- setkey -c ----------------------------------------------------------------------------------------------------

    def _setkey_text(self, text: str, number: int) -> Iterator[Statement]:
        """Commands up to their semicolons. The last may continue on the next line."""
        assert self._setkey is not None  # noqa: S101 - only called where one is open
        parts, first = self._setkey
        text = re.sub(r"(?:^|\s)#.*", "", text)
        *whole, left = text.split(";")
        for end in whole:
            yield from self._setkey_command(" ".join([*parts, end]), first)
            parts, first = [], number
        if left.strip():
            parts.append(left)
        self._setkey = (parts, first) if parts and sum(map(len, parts)) < _MAX_WORDS else None

    def _setkey_command(self, text: str, line: int) -> Iterator[Statement]:
        verb = text.split(None, 1)[0] if text.strip() else ""
        self.script = True
        if verb == "add":
            yield SaEntry(Style.SETKEY_ADD, "add", line, [], text=text)
        elif verb in ("flush", "delete", "deleteall"):
            yield Act(text.split(), line, setkey=True)
        elif verb:
            self.notes.add(POLICY if verb.startswith("spd") else "a command that makes no SA, passed over", line)


def _commands(words: list[Word]) -> Iterator[list[Word]]:
    """The `ip xfrm` commands of a line, each without `xfrm` and what precedes it."""
    at = 0
    while at < len(words):
        text = words[at].text
        if " " in text and "xfrm" in text:  # ssh host "ip xfrm state add ..."
            yield from _commands(words_of(text, words[at].line, words[at].row))
        elif text.rsplit("/", 1)[-1] == "ip" or (text == "xfrm" and at == 0):
            after = _after_options(words, at)
            if (
                after < len(words)
                and words[after].text
                and "xfrm".startswith(words[after].text)
                and len(words) > after + 1
            ):
                end = _end_of(words, after + 1)
                yield _cut(words[after + 1 : end])
                at = end
                continue
        at += 1


def _after_options(words: list[Word], at: int) -> int:
    """Where an `ip` command's object (`xfrm`) is, after the options."""
    if words[at].text == "xfrm":
        return at
    at += 1
    while at < len(words) and words[at].text.startswith("-"):
        option = words[at].text.replace("--", "-", 1)
        takes = len(option) > 1 and option != "-r" and any(o.startswith(option) for o in _OPTIONS_WITH_VALUE)
        at += 2 if takes else 1
    return at


def _end_of(words: list[Word], at: int) -> int:
    """Where a command ends: at the line's end, or at a word or semicolon that ends it in a shell."""
    while at < len(words):
        if words[at].text in _SEPARATORS:
            return at
        at += 1
        if words[at - 1].text.endswith(";"):
            return at
    return at


def _cut(words: list[Word]) -> list[Word]:
    last = words[-1]
    return [*words[:-1], Word(last.text.rstrip(";"), last.line, last.row)] if last.text.endswith(";") else words
