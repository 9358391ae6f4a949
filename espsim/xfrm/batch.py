"""A batch of `ip` commands, run on a namespace of the model: what each prints, or how it is refused.

    [ip] [-options] xfrm state add|update|allocspi|get|delete|deleteall|flush|list|count ...
    [ip] [-options] xfrm policy add|update|get|delete|deleteall|flush|list|count|set|setdefault|getdefault ...
    [ip] [-options] xfrm monitor [all|acquire|expire|SA|aevent|policy|report|nokeys]
    pfkey getspi|add|update|get|delete|flush ...      android allocate ADDR [SPI]      (views.py)
    sleep SECONDS        sysctl NAME=VALUE            the model's clock, and net.core.xfrm_*

`xfrm monitor` prints the messages since the last `xfrm monitor`.

Two things differ from `ip -batch`: the batch continues after a `list`, where `ip` ends the process, and a line that the
kernel refuses gets its `Command failed FILE:LINE` too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from espsim.core.address import AF_INET, AF_INET6
from espsim.core.errors import EspsimError, XfrmError
from espsim.netlink.netns import Netns
from espsim.netlink.request import SpiRequest, StateKey
from espsim.netlink.view import StateView
from espsim.sad.linux import KernelHang
from espsim.text.iproute import IpRefusal, matches, not_modelled
from espsim.text.names import proto_name
from espsim.text.state_words import Count, Flush, Get, Listing, Modify, StateCommand, parse_state
from espsim.xfrm.batch_lines import BatchLine
from espsim.xfrm.monitor import Monitor
from espsim.xfrm.options import Options, read_options
from espsim.xfrm.policy import PolicyCommand, apply_policy
from espsim.xfrm.policy_text import format_defaults, format_policy
from espsim.xfrm.policy_words import parse_policy_words
from espsim.xfrm.state_text import format_view, oneline, passes
from espsim.xfrm.views import android, pfkey

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_OBJECTS = (
    "address", "addrlabel", "maddress", "route", "rule", "neighbor", "neighbour", "ntable", "ntbl", "link", "l2tp",
    "fou", "ila", "macsec", "tunnel", "tunl", "tuntap", "tap", "token", "tcpmetrics", "tcp_metrics", "monitor",
    "mroute", "mrule", "netns", "netconf", "vrf", "sr", "nexthop", "mptcp", "ioam", "stats", "help",
)  # fmt: skip
"""The other objects of iproute2 6.1."""

_USAGE = "Usage: ip xfrm XFRM-OBJECT { COMMAND | help }\nwhere  XFRM-OBJECT := state | policy | monitor"


@dataclass(frozen=True, slots=True)
class LineOutcome:
    """The outcome of one line. `errno` is None where `ip` itself refuses it, before the kernel is asked.

    `result` is OK, the errno's name, REFUSED, or HANG. `stdout` and `stderr` are what `ip` prints, with line feeds.
    """

    _line: BatchLine
    errno: int | None
    result: str
    extack: str | None
    stdout: str
    stderr: str

    @property
    def line(self) -> int:
        """The number of the line."""
        return self._line.number

    @property
    def command(self) -> str:
        """The command, without keys."""
        return self._line.shown

    @property
    def ok(self) -> bool:
        """Whether the line was carried out."""
        return self.result == "OK"

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "line": self.line, "command": self.command, "errno": self.errno, "result": self.result,
            "extack": self.extack, "stdout": self.stdout, "stderr": self.stderr,
        }  # fmt: skip


class _Terminated(Exception):  # noqa: N818 - iproute2 ends here, and keeps what it has printed
    """The kernel refused one request of a command with several, which ends there. `text` goes to standard error."""

    def __init__(self, error: XfrmError, text: str) -> None:
        self.error = error
        self.text = text


class Batch:
    """Runs a batch on a namespace, line after line."""

    def __init__(self, netns: Netns) -> None:
        self.netns = netns
        self._notes: list[str] = []  # what a command prints on standard error although it succeeds

    def run(self, line: BatchLine) -> LineOutcome:
        """Run one command. A refusal is in the outcome; nothing is raised for bad input."""
        printed: list[str] = []
        self._notes.clear()
        try:
            self._command(list(line.words), printed)
        except IpRefusal as refusal:
            answer: tuple[int | None, str, str | None] = (None, "REFUSED", None)
            why = refusal.text
        except XfrmError as error:
            answer, why = (error.errno, error.name, error.extack), sentence(error)
        except _Terminated as end:
            answer, why = (end.error.errno, end.error.name, end.error.extack), end.text
        except KernelHang as hang:
            answer, why = (None, "HANG", None), str(hang)
        else:
            answer, why = (0, "OK", None), ""
        stderr = "".join(self._notes) + (f"{line.hide(why)}\n" if why else "")
        return LineOutcome(line, *answer, "".join(printed), stderr)

    def _command(self, words: list[str], printed: list[str]) -> None:
        if words[0] == "pfkey":
            request, command = pfkey(words[1:])
            printed.append(request + "\n")
            self._state(command, Options(), printed)
        elif words[0] == "android":
            self._android(words[1:], printed)
        elif words[0] == "sleep":
            self._sleep(words[1:])
        elif words[0] == "sysctl":
            self._sysctl(words[1:])
        else:
            options, rest = read_options(words)
            self._xfrm(options, rest, printed)

    def _xfrm(self, options: Options, words: list[str], printed: list[str]) -> None:
        if not words:
            raise IpRefusal("Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }")
        if not matches(words[0], "xfrm"):
            raise _not_xfrm(words[0])
        where = words[1] if len(words) > 1 else ""
        if matches(where, "state") or matches(where, "sa"):
            self._state(parse_state(words[2:], options.family), options, printed)
        elif matches(where, "policy"):
            self._policy(words[2:], options, printed)
        elif matches(where, "monitor"):
            self._monitor(Monitor(words[2:]), options, printed)
        else:
            raise IpRefusal(_USAGE)

    # -- states -------------------------------------------------------------------------------------------------------

    def _state(self, command: StateCommand, options: Options, printed: list[str]) -> None:
        netns = self.netns
        match command:
            case Modify(update, request):
                (netns.updsa if update else netns.newsa)(request)
            case SpiRequest():
                printed.append(_text(netns.allocspi(command), options))
            case Get(delete, key):
                view = netns.delsa(key) if delete else netns.getsa(key)
                if not delete:
                    printed.append(_text(view, options))
            case Listing(deleteall, wanted):
                if deleteall:
                    self._deleteall(command, options)
                else:
                    printed += (
                        _text(view, options, nokeys=wanted.nokeys) for view in netns.dump() if passes(view, wanted)
                    )
            case Flush(proto):
                if options.stats > 1:
                    self._notes.append(f'Flush state with XFRM-PROTO value "{proto_name(proto)}"\n')
                netns.flushsa(proto)
            case Count():
                printed.append(self._count(options))

    def _deleteall(self, command: Listing, options: Options) -> None:
        """Delete the states that a dump shows, one by one. A state with SPI 0 can't be deleted: it fails at the end."""
        found = [view for view in self.netns.dump() if passes(view, command.filter)]
        keys = [StateKey(v.sa.dst, v.sa.proto, v.sa.spi, v.sa.mark, family=v.af, srcaddr=v.sa.src) for v in found]
        refused = self._delete_each([partial(self.netns.delsa, key) for key in keys], options)
        if refused is not None:
            raise _Terminated(refused, f"Failed to send delete-all request\n: {os.strerror(refused.errno)}")

    def _delete_each(self, deletions: Sequence[Callable[[], object]], options: Options) -> XfrmError | None:
        """Delete what a dump found, in one round; a second round finds nothing. Returns the first refusal, if any."""
        refused: XfrmError | None = None
        for delete in deletions:
            try:
                delete()
            except XfrmError as error:
                refused = refused or error
        if options.stats > 1:
            self._notes.append("Delete-all round = 0\n")
            if refused is None:
                again = f"Delete-all nlmsg count = {len(deletions)}\nDelete-all round = 1\n" if deletions else ""
                self._notes.append(f"{again}Delete-all completed\n")
        return refused

    def _count(self, options: Options) -> str:
        count = self.netns.count()
        if not options.stats:
            return f"\t SAD count {count}\n"
        buckets = self.netns.buckets()
        return f"\t SAD count {count} (buckets count {buckets} Max 1048576)\n"

    # -- policies, messages -------------------------------------------------------------------------------------------

    def _policy(self, words: list[str], options: Options, printed: list[str]) -> None:
        command = parse_policy_words(words, options.family)
        if command.verb == "deleteall":
            self._deleteall_policies(command, options)
            return
        if command.verb == "flush" and options.stats > 1:
            self._notes.append("Flush policy\n")
        found = apply_policy(self.netns, command)
        if command.verb == "count":
            text = self._count_policies(options)
            printed.append(oneline(text) if options.oneline else text)
        elif command.verb == "getdefault":
            printed.append(format_defaults(self.netns.spd.defaults))
        elif command.verb in ("get", "list"):
            for policy in reversed(found):  # a dump starts with the newest
                text = format_policy(policy, stats=bool(options.stats))
                printed.append(oneline(text) if options.oneline else text)

    def _deleteall_policies(self, command: PolicyCommand, options: Options) -> None:
        """Delete policies one by one, by direction and index. iproute2 does not send the type, so type sub stays."""
        found = reversed(apply_policy(self.netns, replace(command, verb="list")))
        commands = [
            PolicyCommand("delete", None, p.dir, None, None, p.index, mark=p.mark, if_id=p.if_id) for p in found
        ]  # fmt: skip
        refused = self._delete_each([partial(apply_policy, self.netns, each) for each in commands], options)
        if refused is not None:
            raise _Terminated(refused, f"Failed to send delete-all request: {os.strerror(refused.errno)}")

    def _count_policies(self, options: Options) -> str:
        counts = {d: sum(p.dir == d for p in self.netns.spd) for d in ("in", "out", "fwd")}
        text = f"\t SPD IN  {counts['in']} OUT {counts['out']} FWD {counts['fwd']}"
        if options.stats:
            text += " (Sock: IN 0 OUT 0 FWD 0)"
        text += "\n"
        if options.stats > 1:
            spd = self.netns.spd
            text += f"\t SPD buckets: count {spd.buckets - 1} Max 1048576\n"
            for name, family in (("IPv4", AF_INET), ("IPv6", AF_INET6)):
                local, remote = spd.thresholds[family]
                text += f"\t SPD {name} thresholds: local {local} remote {remote}\n"
        return text

    def _monitor(self, monitor: Monitor, options: Options, printed: list[str]) -> None:
        for event in self.netns.events():
            if monitor.takes(event):
                text = monitor.show(event, stats=bool(options.stats))
                one = options.oneline and event.kind != "GETDEFAULT"
                printed.append(oneline(text) if one else text)

    # -- what is not iproute2's ---------------------------------------------------------------------------------------

    def _android(self, words: list[str], printed: list[str]) -> None:
        """`android allocate`. IpSecService gives each allocation a resource of its own; netd makes it the reqid."""
        requests = android(words, self.netns.android_resources + 1)
        self.netns.android_resources += 1
        for text, request in requests:
            printed.append(text + "\n")
            try:
                printed.append(_text(self.netns.allocspi(request), Options()))
                return
            except XfrmError as error:
                if error.name != "ENOENT" or request is requests.last:
                    raise

    def _sleep(self, words: list[str]) -> None:
        if len(words) != 1 or not _SECONDS.fullmatch(words[0]):
            raise IpRefusal("sleep: give a number of seconds")
        self.netns.advance(float(words[0]))

    def _sysctl(self, words: list[str]) -> None:
        name, value = read_sysctl(words)
        if name not in self.netns.sysctl:
            raise IpRefusal(f"sysctl: no {name} here; there are {', '.join(self.netns.sysctl)}")
        self.netns.set_sysctl(name, value)


def _not_xfrm(word: str) -> IpRefusal:
    """The refusal of an object that is not xfrm, known to `ip` or not (do_cmd in ip/ip.c)."""
    if any(matches(word, name) for name in _OBJECTS):
        return not_modelled(f"`ip {word}`")
    return IpRefusal(f'Object "{word}" is unknown, try "ip help".')


def sentence(error: EspsimError) -> str:
    """What libnetlink prints of a refusal: the kernel's text with a full stop, or the errno's text."""
    if not isinstance(error, XfrmError):
        return str(error)
    if error.extack:
        return f"Error: {error.extack}" + ("" if error.extack.endswith((".", "\n")) else ".")
    return f"RTNETLINK answers: {os.strerror(error.errno)}"


def read_sysctl(words: list[str]) -> tuple[str, int]:
    """NAME=VALUE of `sysctl`. IpRefusal where it is something else."""
    name, equals, value = (words[-1] if words else "").partition("=")
    if len(words) != 1 or not equals or not re.fullmatch("[0-9]{1,9}", value, re.ASCII):
        raise IpRefusal("sysctl: give NAME=VALUE, such as net.core.xfrm_acq_expires=2")
    return name, int(value)


def _text(view: StateView, options: Options, *, nokeys: bool = False) -> str:
    text = format_view(view, stats=bool(options.stats), nokeys=nokeys)
    return oneline(text) if options.oneline else text
