"""Hypothesis strategies for SAs that have words, all of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from espsim.aead.suites import Algorithm
from espsim.sad.association import (
    NO_MARK,
    Direction,
    Encap,
    Lifetime,
    Limits,
    Mark,
    Mode,
    Offload,
    ReplayState,
    SecurityAssociation,
    Selector,
)  # fmt: skip
from espsim.text.names import EXTRA_FLAGS, FLAGS

U16, U32, U64 = (st.integers(0, 2**n - 1) for n in (16, 32, 64))
ADDRESSES = {4: st.binary(min_size=4, max_size=4), 16: st.binary(min_size=16, max_size=16)}


def _key(n: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=n, max_size=n)


@st.composite
def algorithm_lists(draw: st.DrawFn, proto: int) -> tuple[Algorithm, ...]:
    if proto == 108:
        return (Algorithm("comp", draw(st.sampled_from(["deflate", "lzs"])), b""),)
    macs = [("hmac(sha1)", 96), ("hmac(sha256)", 128), ("hmac(sha512)", 256), ("xcbc(aes)", 96), ("cmac(aes)", 96)]
    name, bits = draw(st.sampled_from(macs))
    auth = Algorithm("auth-trunc", name, draw(_key(32)), bits)
    if proto == 51:
        return (auth,)
    if draw(st.booleans()):
        size, icv = draw(st.sampled_from([20, 28, 36])), draw(st.sampled_from([64, 96, 128]))
        if draw(st.integers(0, 3)) == 3:
            return (Algorithm("aead", "iiv(rfc4106(gcm(aes)))", draw(_key(size)), 128),)
        return (Algorithm("aead", "rfc4106(gcm(aes))", draw(_key(size)), icv),)
    encs = [
        ("ecb(cipher_null)", 0),
        ("cbc(aes)", 16),
        ("cbc(aes)", 32),
        ("cbc(camellia)", 24),
        ("rfc3686(ctr(aes))", 20),
    ]
    enc = draw(st.sampled_from(encs))
    pair = (auth, Algorithm("enc", enc[0], draw(_key(enc[1]))))
    return pair if draw(st.booleans()) else pair[::-1]


@st.composite
def selectors(draw: st.DrawFn, size: int) -> Selector:
    src_prefix, dst_prefix = draw(st.integers(0, 8 * size)), draw(st.integers(0, 8 * size))
    src = draw(ADDRESSES[size]) if src_prefix else b""
    dst = draw(ADDRESSES[size]) if dst_prefix else b""
    sel = Selector(src, src_prefix, dst, dst_prefix, dev=draw(st.sampled_from(["", "lo"])))
    proto = draw(st.sampled_from([0, 1, 6, 17, 47, 50, 58, 135, 200]))
    sel = replace(sel, proto=proto)
    if proto in (0, 6, 17):
        sport, dport = draw(U16), draw(U16)
        return replace(
            sel, sport=sport, sport_mask=0xFFFF if sport else 0, dport=dport, dport_mask=0xFFFF if dport else 0
        )
    if proto in (1, 58) and draw(st.booleans()):
        return replace(sel, sport=draw(st.integers(0, 255)), sport_mask=0xFFFF, dport=0, dport_mask=0xFFFF)
    if proto == 47 and draw(st.booleans()):
        return replace(sel, sport=draw(U16), sport_mask=0xFFFF, dport=draw(U16), dport_mask=0xFFFF)
    return sel


@st.composite
def limits(draw: st.DrawFn) -> Limits:
    amount = st.none() | st.integers(0, 2**64 - 2)
    seconds = st.none() | st.integers(1, 2**63)
    return Limits(*(draw(amount) for _ in range(4)), *(draw(seconds) for _ in range(4)))


@st.composite
def associations(draw: st.DrawFn, proto: int | None = None, running: bool = False) -> SecurityAssociation:
    """An SA. `running` adds what only a dump can say (bitmap, bytes and packets), and leaves out what 6.1 can't."""
    if proto is None:
        proto = draw(st.sampled_from([50, 50, 50, 51, 108]))
    size = draw(st.sampled_from([4, 16]))
    mode = draw(st.sampled_from((Mode.TRANSPORT, Mode.TUNNEL)))
    direction = None if running else draw(st.none() | st.sampled_from(Direction))
    flags = frozenset(draw(st.sets(st.sampled_from(FLAGS))))
    window = draw(st.sampled_from([0, 1, 31, 32, 33, 64, 100, 1000, 4096]))
    if "esn" in flags and window == 0 and direction is not Direction.OUT:
        window = 64
    wide = "esn" in flags or window > 32
    seqs = [draw(U32), draw(U32) if wide else 0, draw(U32), draw(U32) if wide else 0]
    bitmap = draw(st.integers(0, (1 << window) - 1)) if running else 0
    inner = size if mode is Mode.TRANSPORT else draw(st.sampled_from([4, 16]))
    return SecurityAssociation(
        draw(ADDRESSES[size]), draw(ADDRESSES[size]), draw(U16 if proto == 108 else U32), proto, mode,
        draw(algorithm_lists(proto)), reqid=draw(U32), seq=draw(U32), dir=direction, window=window, flags=flags,
        mark=Mark(draw(U32), draw(st.integers(1, 2**32 - 1))) if draw(st.booleans()) else NO_MARK,
        output_mark=draw(st.none() | st.builds(Mark, U32, U32)), if_id=draw(st.just(0) | U32),
        pcpu=None if running else draw(st.none() | U32),
        extra_flags=frozenset(draw(st.sets(st.sampled_from(EXTRA_FLAGS)))),
        encap=draw(st.none() | st.builds(
            Encap, st.sampled_from(["espinudp", "espinudp-nonike", "espintcp"]), U16, U16, ADDRESSES[size])),
        coa=draw(st.none() | ADDRESSES[size]), tfcpad=draw(U16) if mode is Mode.TUNNEL else 0,
        selector=draw(st.just(Selector()) | selectors(inner)), limits=draw(limits()),
        offload=draw(st.none() | st.builds(
            Offload, st.just("lo"), st.sampled_from(Direction), st.just(False) if running else st.booleans())),
        replay=ReplayState(seqs[0], seqs[1], seqs[2], seqs[3], bitmap, stated=True),
        label=draw(st.sampled_from(["", "system_u:object_r:ipsec_spd_t:s0"])),
        current=Lifetime(draw(U64), draw(U64)) if running else Lifetime(),
    )  # fmt: skip
