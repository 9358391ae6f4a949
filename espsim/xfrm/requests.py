"""The request language: says all that netlink can say, also what `ip xfrm` can't. A request a line, a JSON answer each.

    ALLOCSPI src= dst= proto= min= max= [mode= reqid= mark=V/M if_id= pcpu= dir=in|out|N seq= family=]
    NEWSA|UPDSA src= dst= proto= spi= [the same, and flags= extra_flags= replay_window= replay_val= esn= encap= mtimer=
            offload= limits= aead= key= icv= crypt= crypt_key= auth= auth_key= trunc= comp= nat_keepalive= tfcpad= coa=
            set_mark=V[/M] sel={src:A/N,dst:B/N} drop_time= reorder_window= dont_frag init_delay= max_qsize= pkt_size=
            attr=N,... (unknown attributes)]
    GETSA|DELSA dst= proto= spi= [mark= dir= family= srcaddr=]
    FLUSHSA [proto=]      DUMP [proto=] (or GETSA dump)      GETAE dst= spi=      EXPIRE src= dst= proto= spi= hard=0|1
    NEWAE dst= spi= [replay_val= esn= replace=0|1]
    GETDEFAULT            SETDEFAULT [in= fwd= out=]          1 is block, 2 is accept, others change nothing
    GETACQ|DELACQ seq=N, or src= dst= proto= [mode= reqid= mark= pcpu= family=]         with --option acquire-uapi
    SYSCTL NAME=VALUE     ADVANCE seconds=S     EVENTS     STAT     LISTEN on|off     POLICY words of `ip xfrm policy`
    MIGRATE_STATE ...     MIGRATE ...                         (request_migrate.py)
    RX dst= spi= seq= [seq_hi= src= proto=esp|ah|udp icv=bad cut=BYTES encap=SPORT,DPORT|none mark= cpu=
            payload=BYTES as=SPI@DADDR fragments=CUTS order= only= overlap df= inner=N/M wait=SECONDS
            nh=N iptfs={sub:N,flags:N,off:N} blocks=N|KIND:VALUE,...]
    TX dst= [src= mark= cpu= payload=BYTES]

Each netlink request also takes `cap=no` (a sender without CAP_NET_ADMIN) and `length=BYTES` (of the message's body).
LISTEN says whether a key manager listens for ACQUIRE and to the group MIGRATE.

RX sends plain ESP, or ESP in UDP where `encap=` gives ports, whatever the SA's encapsulation is. request_fragments.py
says how it is cut. `nh` is ESP's next header; request_iptfs.py says what `blocks` and `iptfs` put into an AGGFRAG
payload. `proto=udp` is cleartext and needs no SPI. Without `src=` the packet comes from the SA's source. The addresses
inside a tunnel are those of the newest in-policy of single addresses whose template has this destination, else the
line's, else the SA's.

TX takes its source from an out-policy of single addresses, else from the newest SA to that destination. POLICY also
takes as numbers what a message can say and `ip` can't: `flag 4` (an ACQUIRE for each CPU), `mode 5` in a template.
answers.py describes the answers.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator

from espsim.core.errors import InputError, XfrmError
from espsim.netlink.migrate import migrate
from espsim.netlink.migrate_state import migrate_state
from espsim.netlink.netns import Netns
from espsim.reference.host import HostReceived
from espsim.sad.linux import Kernel, KernelHang
from espsim.text.iproute import IpRefusal
from espsim.xfrm import answers
from espsim.xfrm.answers import Answer, ok
from espsim.xfrm.policy import apply_policy
from espsim.xfrm.policy_words import parse_policy_words
from espsim.xfrm.request_line import IPSEC_ANY, RequestWords, split_line
from espsim.xfrm.request_migrate import (
    MIGRATE_STATE_WORDS,
    MIGRATE_WORDS,
    migrate_request,
    migrate_state_request,
    split_entries,
)  # fmt: skip
from espsim.xfrm.request_packets import RX_WORDS, TX_WORDS, Traffic
from espsim.xfrm.request_sa import (
    ACQUIRE_WORDS,
    KEY_WORDS,
    SA_WORDS,
    SPI_WORDS,
    acquire_request,
    ae_key,
    sa_request,
    spi_request,
    state_key,
)

_MIN_LENGTH = {
    "NEWSA": 224, "UPDSA": 224, "DELSA": 24, "GETSA": 24, "ALLOCSPI": 232, "EXPIRE": 232, "FLUSHSA": 1,
    "MIGRATE_STATE": 132, "MIGRATE": 64, "NEWAE": 48, "GETAE": 48, "GETDEFAULT": 3, "SETDEFAULT": 3,
}  # fmt: skip
"""Bytes: xfrm_msg_min (net/xfrm/xfrm_user.c)."""

_NETLINK = frozenset({"cap", "length"})
WORDS_OF = {
    "ALLOCSPI": SPI_WORDS | _NETLINK, "NEWSA": SA_WORDS | _NETLINK, "UPDSA": SA_WORDS | _NETLINK,
    "GETSA": KEY_WORDS | _NETLINK, "DELSA": KEY_WORDS | _NETLINK, "FLUSHSA": _NETLINK | {"proto"},
    "DUMP": frozenset({"proto"}), "GETAE": KEY_WORDS | _NETLINK,
    "NEWAE": KEY_WORDS | _NETLINK | {"replay_val", "esn", "replace"}, "EXPIRE": KEY_WORDS | _NETLINK | {"hard"},
    "MIGRATE_STATE": MIGRATE_STATE_WORDS | _NETLINK, "MIGRATE": MIGRATE_WORDS | _NETLINK,
    "GETDEFAULT": _NETLINK, "SETDEFAULT": _NETLINK | {"in", "fwd", "out"},
    "GETACQ": ACQUIRE_WORDS, "DELACQ": ACQUIRE_WORDS, "ADVANCE": frozenset({"seconds"}),
    "EVENTS": frozenset(), "STAT": frozenset(), "RX": RX_WORDS, "TX": TX_WORDS,
}  # fmt: skip
"""The keys that each verb takes."""

_DIRECTIONS = ("in", "fwd", "out")
DEFAULT_NUMBERS = {"block": 1, "accept": 2}
"""XFRM_USERPOLICY_BLOCK, XFRM_USERPOLICY_ACCEPT."""

_FREE = ("SYSCTL", "LISTEN", "POLICY")
"""Verbs whose words are not a list of known key=value words."""


def run_requests(
    netns: Netns,
    lines: Iterable[str],
    where: str | None = None,
    seen: Callable[[bytes, HostReceived], None] | None = None,
) -> Iterator[Answer]:
    """The answer to each request, in order. InputError, with the line, at the first line that is not a request.

    `seen` is called with each packet of RX and its outcome, which says more than the answer.
    """
    session = _Session(netns, seen)
    for number, line in enumerate(lines, 1):
        split = split_line(line, where, number)
        if split is not None:
            yield session.answer(*split, where, number)


def check_request(line: str) -> None:
    """InputError where a line is not a request, or its verb does not take a word. Nothing is asked of a namespace."""
    split = split_line(line, None, 1)
    if split is None or split == ("GETSA", ["dump"]):
        return
    verb, words = split
    try:
        if verb in WORDS_OF:
            RequestWords.parse(split_entries(words)[0] if verb == "MIGRATE" else words, WORDS_OF[verb], None, 1)
        if verb not in _FREE and verb not in ("RX", "TX"):  # these can be checked only when their SAs are there
            _Session(Netns(), None)._prepare(verb, words, None, 1)
    except InputError as error:
        raise InputError(error.what) from None


class _Session:
    """A namespace that answers requests, and the traffic through it."""

    def __init__(self, netns: Netns, seen: Callable[[bytes, HostReceived], None] | None) -> None:
        self._netns = netns
        self._traffic = Traffic(netns, seen)
        self._hung: str | None = None

    def answer(self, verb: str, words: list[str], where: str | None, line: int) -> Answer:
        """The answer to one request. After a hang every request has the same answer."""
        if verb == "GETSA" and words == ["dump"]:
            verb, words = "DUMP", []
        ask = self._prepare(verb, words, where, line)
        if self._hung is not None:
            return answers.hang(self._hung)
        try:
            return ask()
        except XfrmError as error:
            return answers.refused(error)
        except KernelHang as hang:
            self._hung = str(hang)
            return answers.hang(self._hung)

    def _prepare(self, verb: str, words: list[str], where: str | None, line: int) -> Callable[[], Answer]:
        """Read a whole request. The function that it returns asks the namespace, so a bad line never asks anything."""
        if verb in _FREE:
            free = {"SYSCTL": self._sysctl, "LISTEN": self._listen, "POLICY": self._policy}
            return free[verb](words, where, line)
        known = WORDS_OF.get(verb)
        if known is None:
            raise InputError(f"unknown request {verb}; known: {', '.join((*WORDS_OF, *_FREE))}", where=where, line=line)
        words, entries = split_entries(words) if verb == "MIGRATE" else (words, [])
        parsed = RequestWords.parse(words, known, where, line)
        if verb == "MIGRATE_STATE":
            migrate_state_request(parsed)  # its words are checked also for kernels that don't know the message
        early = _refused_early(verb, parsed, self._netns.kernel)
        if early is not None:
            return early
        if verb == "MIGRATE":
            request = migrate_request(parsed, entries)
            return _then_ok(lambda: migrate(self._netns, request))
        return self._verbs()[verb](parsed)

    def _verbs(self) -> dict[str, Callable[[RequestWords], Callable[[], Answer]]]:
        return {
            "ALLOCSPI": self._allocspi, "NEWSA": self._newsa, "UPDSA": self._updsa, "GETSA": self._getsa,
            "DELSA": self._delsa, "FLUSHSA": self._flushsa, "DUMP": self._dump, "GETAE": self._getae,
            "NEWAE": self._newae, "EXPIRE": self._expire, "MIGRATE_STATE": self._migrate_state,
            "GETACQ": self._getacq, "DELACQ": self._delacq,
            "GETDEFAULT": self._getdefault, "SETDEFAULT": self._setdefault,
            "ADVANCE": self._traffic.advance, "EVENTS": self._events, "STAT": self._stat,
            "RX": self._traffic.rx, "TX": self._traffic.tx,
        }  # fmt: skip

    # -- netlink ------------------------------------------------------------------------------------------------------

    def _allocspi(self, words: RequestWords) -> Callable[[], Answer]:
        request = spi_request(words)
        return lambda: ok(reply=answers.state(self._netns.allocspi(request)))

    def _newsa(self, words: RequestWords) -> Callable[[], Answer]:
        request = sa_request(words)
        return _then_ok(lambda: self._netns.newsa(request))

    def _updsa(self, words: RequestWords) -> Callable[[], Answer]:
        request = sa_request(words)
        return _then_ok(lambda: self._netns.updsa(request))

    def _getsa(self, words: RequestWords) -> Callable[[], Answer]:
        key = state_key(words)
        return lambda: ok(reply=answers.state(self._netns.getsa(key)))

    def _delsa(self, words: RequestWords) -> Callable[[], Answer]:
        key = state_key(words)
        return _then_ok(lambda: self._netns.delsa(key))

    def _flushsa(self, words: RequestWords) -> Callable[[], Answer]:
        proto = words.protocol(IPSEC_ANY)
        return _then_ok(lambda: self._netns.flushsa(proto))

    def _dump(self, words: RequestWords) -> Callable[[], Answer]:
        proto = words.protocol(0)
        return lambda: answers.states(self._netns.dump(proto))

    def _getae(self, words: RequestWords) -> Callable[[], Answer]:
        key = ae_key(words)
        return _then_ok(lambda: self._netns.getae(key))

    def _newae(self, words: RequestWords) -> Callable[[], Answer]:
        key, replay, replace = ae_key(words), words.esn() or words.replay_val(), words.number("replace", 0, 1)
        return _then_ok(lambda: self._netns.newae(key, replay, replace_flag=bool(replace)))

    def _expire(self, words: RequestWords) -> Callable[[], Answer]:
        key, hard = state_key(words), words.number("hard", bits=8)
        return _then_ok(lambda: self._netns.expire(key, hard=bool(hard)))

    def _migrate_state(self, words: RequestWords) -> Callable[[], Answer]:
        request = migrate_state_request(words)
        return lambda: ok() | {"extack": migrate_state(self._netns, request)}

    def _getdefault(self, words: RequestWords) -> Callable[[], Answer]:
        defaults = self._netns.spd.defaults
        return lambda: ok(reply={direction: DEFAULT_NUMBERS[defaults[direction]] for direction in _DIRECTIONS})

    def _setdefault(self, words: RequestWords) -> Callable[[], Answer]:
        numbers = {direction: words.number(direction, 0, 8) for direction in _DIRECTIONS}
        names = {number: name for name, number in DEFAULT_NUMBERS.items()}
        said = {direction: names[number] for direction, number in numbers.items() if number in names}
        return _then_ok(lambda: self._netns.set_default(said))

    def _getacq(self, words: RequestWords) -> Callable[[], Answer]:
        request = acquire_request(words)
        return lambda: ok(reply=answers.state(self._netns.get_acquire(request)))

    def _delacq(self, words: RequestWords) -> Callable[[], Answer]:
        request = acquire_request(words)
        return _then_ok(lambda: self._netns.delete_acquire(request))

    # -- the model's own ----------------------------------------------------------------------------------------------

    def _sysctl(self, words: list[str], where: str | None, line: int) -> Callable[[], Answer]:
        parsed = RequestWords({}, where, line)
        if len(words) != 1 or "=" not in words[0]:
            raise parsed.error("SYSCTL takes NAME=VALUE")
        name, _, text = words[0].partition("=")
        value = parsed.parse_number("the sysctl", text)
        return _then_ok(lambda: self._netns.set_sysctl(name, value))

    def _listen(self, words: list[str], where: str | None, line: int) -> Callable[[], Answer]:
        if words not in (["on"], ["off"]):
            raise InputError("LISTEN takes on or off", where=where, line=line)

        def ask() -> Answer:
            self._netns.listening = words == ["on"]
            return ok()

        return ask

    def _policy(self, words: list[str], where: str | None, line: int) -> Callable[[], Answer]:
        try:
            command = parse_policy_words(words, netlink=True)
        except IpRefusal as refusal:
            raise InputError(" ".join(refusal.text.split()), where=where, line=line) from None
        return _then_ok(lambda: apply_policy(self._netns, command))

    def _events(self, words: RequestWords) -> Callable[[], Answer]:
        return lambda: answers.events(self._netns.events())

    def _stat(self, words: RequestWords) -> Callable[[], Answer]:
        return lambda: ok(nonzero={name: n for name, n in sorted(self._netns.counters.items()) if n})


def _then_ok(act: Callable[[], object]) -> Callable[[], Answer]:
    """A request whose answer on success is OK and nothing else."""

    def ask() -> Answer:
        act()
        return ok()

    return ask


def _refused_early(verb: str, words: RequestWords, kernel: Kernel) -> Callable[[], Answer] | None:
    """What netlink refuses before xfrm sees the message (xfrm_user_rcv_msg). None: nothing.

    It checks in this order: whether this kernel knows the message, the capability, the length.
    """
    if words.values.get("cap", "no") != "no":
        raise words.error("cap takes only no")
    length = words.optional("length", 16)
    error = None
    if verb == "MIGRATE_STATE" and not kernel.newest:
        error = XfrmError(errno.EINVAL)
    elif "cap" in words:
        error = XfrmError(errno.EPERM)
    elif length is not None and length < _MIN_LENGTH[verb]:
        error = XfrmError(errno.EINVAL, "Invalid header length")
    if error is None:
        return None
    answer = answers.refused(error)
    return lambda: answer
