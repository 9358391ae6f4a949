"""SAs as XFRM_MSG_NEWSA messages of x86 Linux (include/uapi/linux/xfrm.h), for `ip xfrm monitor file` to print."""

from __future__ import annotations

import struct

from espsim.aead.suites import HASHES, Algorithm
from espsim.sad.association import Direction, SecurityAssociation
from espsim.text.bitmap import to_circular
from espsim.text.names import EXTRA_FLAGS, FLAGS, bits_of

XFRM_MSG_NEWSA = 0x10
INF = 2**64 - 1


def newsa(sa: SecurityAssociation, ifindex: int = 1) -> bytes:
    """One message: nlmsghdr, xfrm_usersa_info, attributes as the kernel's copy_to_user_state_extra has them."""
    body = _info(sa, ifindex) + b"".join(_attribute(kind, value) for kind, value in _attributes(sa, ifindex))
    return struct.pack("=IHHII", 16 + len(body), XFRM_MSG_NEWSA, 0, 0, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _info(sa: SecurityAssociation, ifindex: int) -> bytes:
    sel, limits = sa.selector, sa.limits
    unspec = sel.src == sel.dst == b"" and sel.is_any and not sel.dev and "af-unspec" in sa.flags
    family = {0: 0, 4: 2, 16: 10}[0 if unspec else len(sel.src or sel.dst or sa.dst)]
    selector = sel.dst.ljust(16, b"\0") + sel.src.ljust(16, b"\0")
    selector += struct.pack(">HHHH", sel.dport, sel.dport_mask, sel.sport, sel.sport_mask)
    selector += struct.pack(
        "=HBBB3xii", family, sel.dst_prefix, sel.src_prefix, sel.proto, ifindex if sel.dev else 0, 0
    )
    ident = sa.dst.ljust(16, b"\0") + struct.pack(">IB3x", sa.spi, sa.proto)
    lft = [
        INF if v is None else v
        for v in (limits.soft_bytes, limits.hard_bytes, limits.soft_packets, limits.hard_packets)
    ]
    lft += [v or 0 for v in (limits.soft_add, limits.hard_add, limits.soft_use, limits.hard_use)]
    window = 0 if _bitmap_mode(sa) else sa.window
    mode = ["transport", "tunnel"].index(sa.mode.value)
    return (
        selector + ident + sa.src.ljust(16, b"\0") + struct.pack("=8Q", *lft)
        + struct.pack("=4Q", sa.current.bytes, sa.current.packets, 0, 0) + bytes(12)
        + struct.pack(">I", sa.seq) + struct.pack(
            "=IHBBB7x", sa.reqid, sa.family, mode, window, bits_of(sa.flags, FLAGS))
    )  # fmt: skip


def _bitmap_mode(sa: SecurityAssociation) -> bool:
    return sa.esn or sa.window > 32


def _attributes(sa: SecurityAssociation, ifindex: int) -> list[tuple[int, bytes]]:
    found = [_algorithm(a) for a in sa.algorithms]
    if sa.encap is not None:
        kind = {"espinudp-nonike": 1, "espinudp": 2, "espintcp": 7}[sa.encap.kind]
        ports = struct.pack(">HH2x", sa.encap.sport, sa.encap.dport)
        found.append((4, struct.pack("=H", kind) + ports + sa.encap.oaddr.ljust(16, b"\0")))
    if sa.coa is not None:
        found.append((14, sa.coa.ljust(16, b"\0")))
    if sa.mark.mask or sa.mark.value:
        found.append((21, struct.pack("=II", sa.mark.value, sa.mark.mask)))
    if sa.output_mark is not None:
        found += [(29, struct.pack("=I", sa.output_mark.value)), (30, struct.pack("=I", sa.output_mark.mask))]
    found.append(_replay(sa))
    if sa.extra_flags:
        found.append((24, struct.pack("=I", bits_of(sa.extra_flags, EXTRA_FLAGS))))
    if sa.offload is not None:
        found.append((28, struct.pack("=iB3x", ifindex, 2 if sa.offload.dir is Direction.IN else 0)))
    if sa.if_id:
        found.append((31, struct.pack("=I", sa.if_id)))
    if sa.tfcpad:
        found.append((22, struct.pack("=I", sa.tfcpad)))
    if sa.label:
        text = sa.label.encode()
        found.append((8, struct.pack("=HHBBH", 8 + len(text), 8, 1, 1, len(text)) + text))
    return found


def _algorithm(algorithm: Algorithm) -> tuple[int, bytes]:
    name, key = algorithm.name.encode().ljust(64, b"\0"), algorithm.key
    if algorithm.kind in ("aead", "auth-trunc", "auth"):
        bits = HASHES[algorithm.name].default_bits if algorithm.kind == "auth" else algorithm.bits
        return (18 if algorithm.kind == "aead" else 20), name + struct.pack("=II", 8 * len(key), bits) + key
    return {"enc": 2, "comp": 3}[algorithm.kind], name + struct.pack("=I", 8 * len(key)) + key


def _replay(sa: SecurityAssociation) -> tuple[int, bytes]:
    r = sa.replay
    if not _bitmap_mode(sa):
        return 10, struct.pack("=III", r.oseq, r.seq, r.bitmap)
    length = (sa.window + 31) // 32
    circular = to_circular(r.bitmap, r.seq, sa.window) if sa.window else 0
    words = [circular >> 32 * i & 0xFFFFFFFF for i in range(length)]
    return 23, struct.pack(f"=6I{length}I", length, r.oseq, r.seq, r.oseq_hi, r.seq_hi, sa.window, *words)
