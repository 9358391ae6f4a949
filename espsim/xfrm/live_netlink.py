"""Sends requests of the request language to the running kernel as netlink messages; its answers are in the same JSON.

The messages are those of include/uapi/linux/xfrm.h on a little-endian machine with 64-bit numbers aligned to 8. A
socket stays in the namespace in which it was made, so a thread enters the namespace only to make it.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any

from espsim.core.address import format_address
from espsim.core.errors import EspsimError, InputError, errno_name
from espsim.netlink.request import (
    EsnState,
    IptfsRequest,
    MigrateRequest,
    MigrateStateRequest,
    ReplayVal,
    SaRequest,
    SpiRequest,
    StateKey,
)  # fmt: skip
from espsim.sad.association import NO_MARK, Encap, Limits, Mark, Selector
from espsim.text.names import ENCAP_TYPES, EXTRA_FLAGS, FLAGS, bits_of
from espsim.xfrm.live import namespace_holder
from espsim.xfrm.request_line import RequestWords, split_line
from espsim.xfrm.request_migrate import UNFIT, migrate_request, migrate_state_request, split_entries
from espsim.xfrm.request_sa import ae_key, sa_request, spi_request, state_key
from espsim.xfrm.requests import WORDS_OF

NETLINK_XFRM = 6
SOL_NETLINK, NETLINK_EXT_ACK, NETLINK_CAP_ACK = 270, 11, 10
REQUEST, ACK, DUMP, REPLACE = 0x1, 0x4, 0x300, 0x100
NEWSA, DELSA, GETSA, ALLOCSPI, EXPIRE = 0x10, 0x11, 0x12, 0x16, 0x18
UPDSA, FLUSHSA, NEWAE, GETAE, MIGRATE = 0x1A, 0x1C, 0x1E, 0x1F, 0x21
SETDEFAULT, GETDEFAULT, MIGRATE_STATE = 0x27, 0x28, 0x29
INF = 2**64 - 1
_TYPES = {
    "NEWSA": NEWSA, "UPDSA": UPDSA, "GETSA": GETSA, "DELSA": DELSA, "ALLOCSPI": ALLOCSPI, "EXPIRE": EXPIRE,
    "FLUSHSA": FLUSHSA, "NEWAE": NEWAE, "GETAE": GETAE, "DUMP": GETSA, "GETDEFAULT": GETDEFAULT,
    "SETDEFAULT": SETDEFAULT, "MIGRATE": MIGRATE, "MIGRATE_STATE": MIGRATE_STATE,
}  # fmt: skip


class NotAskable(EspsimError):  # noqa: N818 - it is an outcome, not a fault
    """A line that only the model understands: packets, clocks, policies."""


def attribute(kind: int, value: bytes) -> bytes:
    """One netlink attribute, padded."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def u32(kind: int, value: int) -> bytes:
    """An attribute of 32 bits."""
    return attribute(kind, struct.pack("=I", value))


def mark_of(mark: Mark) -> bytes:
    """XFRMA_MARK, nothing where there is no mark."""
    return attribute(21, struct.pack("=II", mark.value, mark.mask)) if mark != NO_MARK else b""


def selector_of(sel: Selector, family: int | None = None) -> bytes:
    """struct xfrm_selector. Without `family` it has that of its addresses."""
    length = len(sel.src or sel.dst)
    af = {0: 0, 4: 2, 16: 10}[length] if family is None else family
    return (
        sel.dst.ljust(16, b"\0") + sel.src.ljust(16, b"\0")
        + struct.pack(">HHHH", sel.dport, sel.dport_mask, sel.sport, sel.sport_mask)
        + struct.pack("=HBBB3xii", af, sel.dst_prefix, sel.src_prefix, sel.proto, 0, 0)
    )  # fmt: skip


def limits_of(limits: Limits) -> bytes:
    """struct xfrm_lifetime_cfg."""
    counts = (limits.soft_bytes, limits.hard_bytes, limits.soft_packets, limits.hard_packets)
    times = (limits.soft_add, limits.hard_add, limits.soft_use, limits.hard_use)
    return struct.pack("=8Q", *(INF if v is None else v for v in counts), *(v or 0 for v in times))


def info_of(request: SaRequest | SpiRequest, spi: int) -> bytes:
    """struct xfrm_usersa_info (224 bytes)."""
    sa = request if isinstance(request, SaRequest) else None
    return (
        selector_of(sa.selector if sa else Selector())
        + request.dst.ljust(16, b"\0") + struct.pack(">IB3x", spi, request.proto) + request.src.ljust(16, b"\0")
        + limits_of(sa.limits if sa else Limits()) + bytes(32) + bytes(12)
        + struct.pack(
            "=IIHBBB7x", request.seq, request.reqid, request.af, request.mode, sa.replay_window if sa else 0,
            bits_of(sa.flags, FLAGS) if sa else 0,
        )
    )  # fmt: skip


def common_of(request: SaRequest | SpiRequest) -> bytes:
    """The attributes that NEWSA and ALLOCSPI share."""
    found = mark_of(request.mark)
    if request.if_id:
        found += u32(31, request.if_id)
    if request.dir is not None:
        found += attribute(33, bytes((request.dir,)))
    if request.pcpu is not None:
        found += u32(35, request.pcpu)
    return found


def esn_of(esn: EsnState) -> bytes:
    """XFRMA_REPLAY_ESN_VAL, without the bitmap where that is too long to send."""
    words = esn.bmp_len if esn.bmp_len <= 128 else 0
    head = struct.pack("=6I", esn.bmp_len, esn.oseq, esn.seq, esn.oseq_hi, esn.seq_hi, esn.replay_window)
    return attribute(23, head + bytes(4 * words))


def val_of(val: ReplayVal) -> bytes:
    """XFRMA_REPLAY_VAL."""
    return attribute(10, struct.pack("=III", val.oseq, val.seq, val.bitmap))


def algorithms_of(request: SaRequest) -> bytes:
    """The algorithms, each in its own attribute."""
    found = b""
    for a in request.algorithms:
        name, size = a.name.encode().ljust(64, b"\0")[:64], 8 * len(a.key)
        if a.kind in ("aead", "auth-trunc"):
            found += attribute(18 if a.kind == "aead" else 20, name + struct.pack("=II", size, a.bits) + a.key)
        else:
            found += attribute({"auth": 1, "enc": 2, "comp": 3}[a.kind], name + struct.pack("=I", size) + a.key)
    return found


def sa_of(request: SaRequest) -> bytes:
    """NEWSA or UPDSA."""
    body = info_of(request, request.spi) + algorithms_of(request) + common_of(request)
    body += encap_of(request.encap)
    if request.coa is not None:
        body += attribute(14, request.coa.ljust(16, b"\0"))
    if request.replay_val is not None:
        body += val_of(request.replay_val)
    if request.esn is not None:
        body += esn_of(request.esn)
    for kind, value in ((22, request.tfcpad), (32, request.mtimer), (34, request.nat_keepalive)):
        if value is not None:
            body += u32(kind, value)
    if request.extra_flags:
        body += u32(24, bits_of(request.extra_flags, EXTRA_FLAGS))
    body += b"".join(u32(kind, 0) for kind in request.unknown)
    return body + set_mark_of(request.output_mark) + iptfs_of(request.iptfs)


def encap_of(encap: Encap | None) -> bytes:
    """XFRMA_ENCAP."""
    if encap is None:
        return b""
    numbers = {name: int(number) for number, name in ENCAP_TYPES.items()}
    kind = numbers.get(encap.kind) or int(encap.kind)
    ports = struct.pack(">HH2x", encap.sport, encap.dport)
    return attribute(4, struct.pack("=H", kind) + ports + encap.oaddr.ljust(16, b"\0"))


def set_mark_of(mark: Mark | None) -> bytes:
    """XFRMA_SET_MARK and its mask."""
    return b"" if mark is None else u32(29, mark.value) + u32(30, mark.mask)


def iptfs_of(options: IptfsRequest) -> bytes:
    """XFRMA_IPTFS_*: the reorder window has 16 bits, `dont_frag` none."""
    found = attribute(38, b"") if options.dont_frag else b""
    if options.reorder_window is not None:
        found += attribute(37, struct.pack("=H", options.reorder_window))
    numbers = ((36, options.drop_time), (39, options.init_delay), (40, options.max_qsize), (41, options.pkt_size))
    return found + b"".join(u32(kind, value) for kind, value in numbers if value is not None)


def migrate_state_of(request: MigrateStateRequest) -> bytes:
    """MIGRATE_STATE: struct xfrm_user_migrate_state (132 bytes) and its attributes."""
    body = request.dst.ljust(16, b"\0") + struct.pack(">I", request.spi)
    body += struct.pack("=HBx", request.af, request.proto)
    body += request.new_dst.ljust(16, b"\0") + request.new_src.ljust(16, b"\0")
    body += struct.pack("=II", request.old_mark.value, request.old_mark.mask)
    body += selector_of(request.new_selector, request.selector_family)
    body += struct.pack("=IIHH", request.new_reqid, request.flags, request.new_family, request.reserved)
    if request.mark is not None:
        body += attribute(21, struct.pack("=II", request.mark.value, request.mark.mask))
    for kind, value in ((32, request.mtimer), (34, request.nat_keepalive)):
        if value is not None:
            body += u32(kind, value)
    body += encap_of(request.encap) + set_mark_of(request.set_mark)
    return body + b"".join(attribute(UNFIT[name], bytes(16)) for name in sorted(request.others))


def migrate_of(request: MigrateRequest) -> bytes:
    """MIGRATE: struct xfrm_userpolicy_id (64 bytes), POLICY_TYPE, MIGRATE and the optional attributes."""
    body = selector_of(request.selector) + struct.pack("=IB3x", 0, request.dir)
    body += attribute(16, struct.pack("=B5x", request.ptype == "sub"))
    moves = b""
    for entry in request.entries:
        for address in (entry.old_dst, entry.old_src, entry.new_dst, entry.new_src):
            moves += address.ljust(16, b"\0")
        families = (2 if len(address) == 4 else 10 for address in (entry.old_dst, entry.new_dst))
        moves += struct.pack("=BBHIHH", entry.proto, entry.mode, 0, entry.reqid, *families)
    body += attribute(17, moves) if moves else b""
    return body + encap_of(request.encap) + (u32(31, request.if_id) if request.if_id else b"")


def id_of(key: StateKey) -> bytes:
    """struct xfrm_usersa_id (24 bytes)."""
    return key.dst.ljust(16, b"\0") + struct.pack(">I", key.spi) + struct.pack("=HBx", key.af, key.proto)


def key_attributes(key: StateKey) -> bytes:
    """The optional attributes of GETSA and the other requests with a key."""
    found = mark_of(key.mark)
    if key.srcaddr is not None:
        found += attribute(13, key.srcaddr.ljust(16, b"\0"))
    if key.dir is not None:
        found += attribute(33, bytes((key.dir,)))
    return found


def message_of(verb: str, words: RequestWords) -> tuple[int, int, bytes]:
    """(type, flags, body) of one request."""
    flags, body = REQUEST | ACK, b""
    if verb == "ALLOCSPI":
        spi = spi_request(words)
        body = info_of(spi, 0) + struct.pack("=II", spi.low, spi.high) + common_of(spi)
    elif verb in ("NEWSA", "UPDSA"):
        body = sa_of(sa_request(words))
    elif verb in ("GETSA", "DELSA"):
        key = state_key(words)
        body = id_of(key) + key_attributes(key)
    elif verb == "EXPIRE":
        key = state_key(words)
        state = bytes(56) + key.dst.ljust(16, b"\0") + struct.pack(">IB3x", key.spi, key.proto) + bytes(124)
        state += struct.pack("=IIHBBB7x", 0, 0, key.af, 0, 0, 0)
        body = state + struct.pack("=B7x", words.number("hard", bits=8)) + key_attributes(key)
    elif verb in ("GETAE", "NEWAE"):
        key = ae_key(words)
        body = id_of(key) + bytes(16) + struct.pack("=II", 0, 0) + key_attributes(key)
        esn, val = words.esn(), words.replay_val()
        body += (esn_of(esn) if esn is not None else b"") + (val_of(val) if val is not None else b"")
        if verb == "NEWAE" and words.number("replace", 0, 1):
            flags |= REPLACE
    elif verb == "FLUSHSA":
        body = bytes((words.protocol(255),))
    elif verb == "DUMP":
        flags = REQUEST | DUMP
        proto = words.protocol(0)
        body = attribute(25, bytes((proto,))) if proto else b""
    elif verb == "MIGRATE_STATE":
        body = migrate_state_of(migrate_state_request(words))
    elif verb == "GETDEFAULT":
        body = bytes(3)
    elif verb == "SETDEFAULT":
        body = bytes(words.number(key, 0, 8) for key in ("in", "fwd", "out"))
    length = words.optional("length", 16)
    return _TYPES[verb], flags, body if length is None else body[:length]


class LiveKernel:
    """A socket to the running kernel's xfrm in a namespace of its own, and what it answers."""

    def __init__(self, pid: int) -> None:
        self._sequence = itertools.count(1)
        self._socket = _socket_in(pid)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.settimeout(5.0)

    @classmethod
    @contextlib.contextmanager
    def made(cls) -> Iterator[LiveKernel]:
        """A kernel socket in a new namespace. It is gone afterwards."""
        with namespace_holder() as pid:
            kernel = cls(pid)
            try:
                yield kernel
            finally:
                kernel._socket.close()

    def ask(self, line: str) -> dict[str, Any]:
        """The answer to one request line, as `run_requests` gives it."""
        split = split_line(line, None, 1)
        if split is None:
            raise InputError("an empty line is not a request")
        verb, words = split
        if verb == "GETSA" and words == ["dump"]:
            verb, words = "DUMP", []
        if verb not in _TYPES:
            raise NotAskable(f"{verb} is not a request to a kernel")
        if verb == "MIGRATE":
            words, entries = split_entries(words)
            parsed = RequestWords.parse(words, WORDS_OF[verb], None, 1)
            number, flags, body = MIGRATE, REQUEST | ACK, migrate_of(migrate_request(parsed, entries))
            length = parsed.optional("length", 16)
            body = body if length is None else body[:length]
        else:
            number, flags, body = message_of(verb, RequestWords.parse(words, WORDS_OF[verb], None, 1))
        code, extack, replies = self._talk(number, flags, body)
        if code:
            return {"errno": code, "result": errno_name(code), "extack": extack}
        answer: dict[str, Any] = {"errno": 0, "result": "OK", "extack": extack}
        if verb == "DUMP":
            states = [state_from(body) for _, body in replies]
            return answer | {"count": len(states), "states": states}
        if verb in ("ALLOCSPI", "GETSA"):
            return answer | {"reply": state_from(replies[0][1])}
        if verb == "GETDEFAULT":
            return answer | {"reply": dict(zip(("in", "fwd", "out"), replies[0][1][:3], strict=True))}
        return answer

    def _talk(self, number: int, flags: int, body: bytes) -> tuple[int, str | None, list[tuple[int, bytes]]]:
        sequence = next(self._sequence)
        self._socket.send(struct.pack("=IHHII", 16 + len(body), number, flags, sequence, 0) + body)
        replies: list[tuple[int, bytes]] = []
        while True:
            data = self._socket.recv(1 << 20)
            while data:
                size, kind, more, said, _ = struct.unpack_from("=IHHII", data)
                content, data = data[16:size], data[(size + 3) & ~3 :]
                if said != sequence:
                    continue
                if kind == 2:
                    code = -struct.unpack_from("=i", content)[0]
                    return code, _text(content, more), replies
                if kind == 3:
                    return -struct.unpack_from("=i", content)[0] if len(content) >= 4 else 0, None, replies
                replies.append((kind, content))


def _text(content: bytes, flags: int) -> str | None:
    """NLMSGERR_ATTR_MSG of an acknowledgement, None without one: NLM_F_ACK_TLVS says it is there."""
    if not flags & 0x200:
        return None
    found = attributes(content[20:])
    return found[1].rstrip(b"\0").decode() if 1 in found else None


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message's tail."""
    found = {}
    while len(data) >= 4:
        size, kind = struct.unpack_from("=HH", data)
        found[kind & 0x3FFF] = data[4:size]
        data = data[(size + 3) & ~3 :]
    return found


def _address(data: bytes, family: int) -> str:
    return format_address(data[:16] if family == 10 else data[:4])


def state_from(body: bytes) -> dict[str, Any]:
    """A NEWSA message in the form of answers.state."""
    (spi,) = struct.unpack_from(">I", body, 72)
    lft = struct.unpack_from("=8Q", body, 96)
    curlft = struct.unpack_from("=4Q", body, 160)
    stats = struct.unpack_from("=3I", body, 192)
    seq, reqid, family, mode = struct.unpack_from("=IIHB", body, 204)
    more = attributes(body[224:])
    answer: dict[str, Any] = {
        "src": _address(body[80:96], family), "dst": _address(body[56:72], family), "proto": body[76],
        "spi": f"0x{spi:08x}", "family": family, "mode": mode, "reqid": reqid, "seq": seq, "hard_add_expires": lft[5],
    }  # fmt: skip
    if any(curlft[:2]):
        answer |= {"bytes": curlft[0], "packets": curlft[1]}
    if any(stats):
        answer |= {"stat_replay_window": stats[0], "stat_replay": stats[1], "stat_integrity_failed": stats[2]}
    if 21 in more:
        answer["mark"] = "0x{:x}/0x{:x}".format(*struct.unpack("=II", more[21]))
    if 31 in more:
        answer["if_id"] = struct.unpack("=I", more[31])[0]
    if 35 in more:
        answer["pcpu"] = struct.unpack("=I", more[35])[0]
    if 33 in more:
        answer["dir"] = {1: "in", 2: "out"}[more[33][0]]
    return answer | _more_of_state(body, more)


def _more_of_state(body: bytes, more: dict[int, bytes]) -> dict[str, Any]:
    """The fields of a state that only later recordings have."""
    answer: dict[str, Any] = {}
    (af,) = struct.unpack_from("=H", body, 40)
    if af:
        src, dst = _address(body[16:32], af), _address(body[:16], af)
        answer["sel"] = f"{src}/{body[43]} {dst}/{body[42]}"
    if body[215]:
        answer["replay_window"] = body[215]
    if 4 in more:
        answer["encap"] = "{},{},{}".format(*struct.unpack_from("=H", more[4]), *struct.unpack_from(">HH", more[4], 2))
    if 29 in more:
        values = (struct.unpack("=I", more[kind])[0] if kind in more else 0 for kind in (29, 30))
        answer["set_mark"] = "0x{:x}/0x{:x}".format(*values)
    for name, kind in (("mtimer", 32), ("nat_keepalive", 34)):
        if kind in more:
            answer[name] = struct.unpack("=I", more[kind])[0]
    sizes = {36: "drop_time", 37: "reorder_window", 39: "init_delay", 40: "max_qsize", 41: "pkt_size"}
    iptfs: dict[str, Any] = {"dont_frag": True} if 38 in more else {}
    iptfs |= {name: int.from_bytes(more[kind], "little") for kind, name in sizes.items() if kind in more}
    return answer | ({"iptfs": iptfs} if iptfs else {})


def _socket_in(pid: int) -> socket.socket:
    """A netlink socket in the namespace of the process `pid`. InputError: this kernel has no xfrm."""
    made: list[socket.socket | OSError] = []

    def enter() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        try:
            descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
            try:
                if libc.setns(descriptor, 0x40000000):
                    raise OSError(ctypes.get_errno(), "setns")
                made.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_XFRM))
            finally:
                os.close(descriptor)
        except OSError as error:
            made.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    found = made[0]
    if isinstance(found, OSError):
        raise InputError(f"--live cannot run here: this kernel gives no xfrm socket ({found.strerror})")
    found.bind((0, 0))
    return found
