"""Dumps of 60 SAs as hosts print them: libreswan's, strongSwan's, Cilium's and Android's way of using XFRM.

Written after public bug reports of these projects; addresses are of documentation ranges, keys are made up. Each text
has what its kind of host prints besides SAs (prompts, policies, lines of newer iproute2), and each generator says how
many SAs have which property, so that a test need not count them with the reader under test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SAS = 60
LEGACY = ("auth-trunc hmac(md5) 0x{} 96", "enc cbc(des3_ede) 0x{}")


@dataclass(frozen=True)
class Dump:
    """A text, and how many of its 60 ESP SAs have which property. `inbound`: of those that state or show it."""

    text: str
    hidden: int = 0
    unmodelled: int = 0
    inbound: int = SAS // 2


def libreswan() -> Dump:
    """`ip xfrm state` on a gateway of libreswan: reqids from 16389 in fours, AES-GCM-256, one 3DES peer, policies."""
    rng, rows = random.Random(1), []
    for n in range(SAS // 2):
        peer, reqid = f"198.51.100.{n + 1}", 16389 + 4 * n
        for way, (src, dst) in (("in", (peer, "192.0.2.1")), ("out", ("192.0.2.1", peer))):
            rows.append(f"src {src} dst {dst}")
            rows.append(f"\tproto esp spi 0x{_spi(rng):08x} reqid {reqid} mode tunnel")
            if n == 7:
                rows.append("\treplay-window 32 flag af-unspec")
                rows += [
                    f"\t{row.format(rng.randbytes(size).hex())}" for row, size in zip(LEGACY, (16, 24), strict=True)
                ]
            else:
                rows.append("\treplay-window 0 flag af-unspec esn")
                rows.append(f"\taead rfc4106(gcm(aes)) 0x{rng.randbytes(36).hex()} 128")
            rows.append("\tlastused 2024-08-29 09:30:00")
            rows += _window(esn=n != 7, window=128 if way == "in" else 0)
            if n == 7:
                rows.append("\tsel src 0.0.0.0/0 dst 0.0.0.0/0 ")
            else:
                rows.append(f"\tdir {way}")
    return Dump("\n".join(["[root@east ~]# ip xfrm state", *rows, "[root@east ~]# ip xfrm policy", *_policies(), ""]))


def strongswan() -> Dump:
    """`ip -s xfrm state` of strongSwan: statistics, some peers behind NAT, pairs by reqid and no direction."""
    rng, rows = random.Random(2), []
    for n in range(SAS // 2):
        peer = f"203.0.113.{n + 1}"
        for src, dst in (("192.0.2.1", peer), (peer, "192.0.2.1")):
            spi, reqid = _spi(rng), n + 1
            rows.append(f"src {src} dst {dst}")
            rows.append(f"\tproto esp spi 0x{spi:08x}({spi}) reqid {reqid}(0x{reqid:08x}) mode tunnel")
            rows.append("\treplay-window 32 seq 0x00000000 flag af-unspec (0x00100000)")
            rows.append(f"\tauth-trunc hmac(sha256) 0x{rng.randbytes(32).hex()} (256 bits) 128")
            rows.append(f"\tenc cbc(aes) 0x{rng.randbytes(32).hex()} (256 bits)")
            if n % 3 == 0:
                rows.append("\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0")
            rows += _window(esn=False, window=32)
            rows += _statistics()
    return Dump("\n".join(["root@moon:~# ip -s xfrm state", *rows, "root@moon:~# "]))


def cilium() -> Dump:
    """cilium-bugtool: keys as hashes, one SPI for all nodes, told apart by marks; a markdown fence around it."""
    rng, rows = random.Random(3), []
    for n in range(SAS // 2):
        node = f"198.51.100.{n + 1}"
        rows += [
            f"src {node} dst 192.0.2.1", "\tproto esp spi 0x00000003 reqid 1 mode tunnel", "\treplay-window 0 ",
            f"\tmark 0x{n + 1:x}0d00/0xffff0f00 output-mark 0xd00/0xffffff00",
            f"\taead rfc4106(gcm(aes)) [hash:{rng.randbytes(32).hex()}] 128", *_window(esn=False, window=0),
            "\tsel src 0.0.0.0/0 dst 0.0.0.0/0 ",
            f"src 192.0.2.1 dst {node}", "\tproto esp spi 0x00000003 reqid 1 mode tunnel", "\treplay-window 0 ",
            f"\tmark 0x{n + 1:x}3e00/0xffffff00 output-mark 0xe00/0xf00",
            f"\taead rfc4106(gcm(aes)) [hash:{rng.randbytes(32).hex()}] 128", *_window(esn=False, window=0),
            "\tsel src 0.0.0.0/0 dst 0.0.0.0/0 ",
        ]  # fmt: skip
    return Dump("\n".join(["# ip xfrm state", "```", *rows, "```", ""]), hidden=SAS)


def android() -> Dump:
    """A phone's: IWLAN tunnels with marks and interfaces, IMS transport SAs with hmac(md5) and NULL, adb's prompt."""
    rng, rows = random.Random(4), []
    for n in range(SAS // 2):
        ims = n % 10 == 9
        far, mode = ("192.0.2.77", "transport") if ims else (f"203.0.113.{n + 1}", "tunnel")
        for src, dst, way in (("192.0.2.2", far, 0xC), (far, "192.0.2.2", 0xD)):
            rows.append(f"src {src} dst {dst}")
            rows.append(f"\tproto esp spi 0x{_spi(rng):08x} reqid {n + 1} mode {mode}")
            rows.append("\treplay-window 4 ")
            if ims:
                rows.append(f"\tauth-trunc hmac(md5) 0x{rng.randbytes(16).hex()} 96")
                rows.append("\tenc ecb(cipher_null) ")
            else:
                rows.append(f"\tmark 0x{way << 8 | n:x}/0xffffffff output-mark 0x{0x10064 + n:x}/0xffffffff")
                rows.append(f"\tauth-trunc hmac(sha256) 0x{rng.randbytes(32).hex()} 128")
                rows.append(f"\tenc cbc(aes) 0x{rng.randbytes(16).hex()}")
                rows.append(f"\tencap type espinudp sport 4500 dport {32000 + n} addr 0.0.0.0")
            rows += _window(esn=False, window=4)
            if not ims:
                rows.append(f"\tif_id 0x{n + 1:x}")
                rows.append("\tmapping-maxage 300")
            rows.append(f"\tsel src {src}/32 dst {dst}/32 " if ims else "\tsel src 0.0.0.0/0 dst 0.0.0.0/0 ")
    return Dump("\n".join(["generic_x86_64:/ # ip xfrm state", *rows, "generic_x86_64:/ # ", ""]))


DUMPS = {"libreswan": libreswan, "strongswan": strongswan, "cilium": cilium, "android": android}


def _spi(rng: random.Random) -> int:
    return rng.randrange(0xC0000000, 0xCFFFFFFF)


def _window(*, esn: bool, window: int) -> Iterator[str]:
    if not esn:
        yield "\tanti-replay context: seq 0x5, oseq 0x0, bitmap 0x0000000f"
        return
    yield "\tanti-replay esn context:"
    yield "\t seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0xb"
    yield f"\t replay_window {window}, bitmap-length {window // 32}"
    if window:
        yield "\t " + "00000000 " * (window // 32)


def _statistics() -> list[str]:
    return [
        "\tlifetime config:", "\t  limit: soft (INF)(bytes), hard (INF)(bytes)",
        "\t  limit: soft (INF)(packets), hard (INF)(packets)", "\t  expire add: soft 3348(sec), hard 3960(sec)",
        "\t  expire use: soft 0(sec), hard 0(sec)", "\tlifetime current:", "\t  840(bytes), 10(packets)",
        "\t  add 2024-06-01 10:00:00 use 2024-06-01 10:00:01", "\tstats:", "\t  replay-window 0 replay 0 failed 0",
    ]  # fmt: skip


def _policies() -> Iterator[str]:
    for n in range(5):
        yield f"src 10.0.{n}.0/24 dst 10.1.{n}.0/24 "
        yield "\tdir out priority 1757393 ptype main "
        yield f"\ttmpl src 192.0.2.1 dst 198.51.100.{n + 1}"
        yield f"\t\tproto esp reqid {16389 + 4 * n} mode tunnel"
