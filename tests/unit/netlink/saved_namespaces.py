"""A namespace with everything that can be saved, and questions that look at all of it."""

from __future__ import annotations

import io
import json
from typing import Any

from espsim.netlink.netns import Netns
from espsim.netlink.saved import pack, unpack
from espsim.xfrm.batch import Batch
from espsim.xfrm.batch_lines import read_batch
from espsim.xfrm.requests import run_requests

GCM = f"aead=rfc4106(gcm(aes)) key={'7e' * 20} icv=128"
NULL = "crypt=ecb(cipher_null) auth=hmac(sha1)"

REQUESTS = [
    f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 {NULL} esn={{bmp_len:2,replay_window:33}} dir=in",
    f"NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1001 {GCM} flags=esn"
    " esn={bmp_len:4,replay_window:100,seq:4294967290,seq_hi:4294967295} mark=5/7 if_id=9",
    f"NEWSA src=10.7.0.1 dst=10.7.1.2 proto=esp spi=0x1001 {GCM} mode=tunnel encap=espinudp,4500,4500 tfcpad=99"
    " replay_window=32 replay_val=0,7,5 extra_flags=dont-encap-dscp output_mark=1/3",
    f"NEWSA src=10.7.0.1 dst=10.7.1.2 proto=esp spi=0x1002 {NULL} limits={{soft_packets:2,hard_packets:9,hard_add:99}}",
    "NEWSA src=2001:db8::1 dst=2001:db8::2 proto=ah spi=0x1003 auth=hmac(sha256) trunc=128 coa=2001:db8::9",
    f"NEWSA src=10.7.1.1 dst=10.7.0.2 proto=esp spi=0x2000 {GCM} offload=eth0,out,crypto dir=out pcpu=1",
    "NEWSA src=10.7.1.1 dst=10.7.0.1 proto=esp spi=0x2001 crypt=cbc(aes) auth=hmac(sha1)",
    "NEWSA src=10.7.0.1 dst=10.7.1.4 proto=comp spi=0x40 mode=tunnel comp=deflate",
    "NEWSA src=10.7.0.1 dst=10.7.1.4 proto=comp spi=0x41 mode=tunnel comp=deflate",
    "NEWSA src=2001:db8::1 dst=2001:db8::2 proto=comp spi=0x42 mode=tunnel comp=deflate",
    "NEWSA src=2001:db8::1 dst=2001:db8::2 proto=route2 spi=0 mode=ro coa=2001:db8::9",
    f"NEWSA src=10.7.1.1 dst=10.7.0.3 proto=esp spi=0x2100 {NULL} dir=out encap=2,4500,4500 nat_keepalive=9"
    " sel={src:10.7.1.1/32,dst:10.7.0.3/32}",
    f"NEWSA src=10.7.0.1 dst=10.7.1.6 proto=esp spi=0x2101 {NULL} dir=in encap=2,1,2 mtimer=7 flags=af-unspec",
    "POLICY add dir out src 10.7.1.1 dst 10.7.0.7 flag 4 tmpl src 10.7.1.1 dst 10.7.0.7 proto esp mode transport",
    f"NEWSA src=10.7.1.1 dst=10.7.0.6 proto=esp spi=0x2102 {GCM} reqid=7",
    "POLICY add dir out src 10.7.1.1 dst 10.7.0.6 tmpl src 10.7.1.1 dst 10.7.0.6 proto esp mode transport reqid 7",
    "TX src=10.7.1.1 dst=10.7.0.6",
    "MIGRATE dir=out sel={src:10.7.1.1/32,dst:10.7.0.6/32} {10.7.1.1,10.7.0.6,10.7.1.1,10.7.0.7,esp,transport,7}",
    "ALLOCSPI src=10.7.0.1 dst=10.7.1.5 proto=esp mode=9 min=0x50 max=0x60", "SETDEFAULT fwd=1",
    "POLICY set hthresh4 24 16", "UPDSA src=10.7.0.1 dst=10.7.1.2 proto=esp spi=0x1002 limits={hard_add:99} " + NULL,
    "ALLOCSPI src=10.7.0.1 dst=10.7.1.1 proto=esp min=0x1001 max=0x1001 mark=9/15",
    "ALLOCSPI src=10.7.0.1 dst=10.7.1.3 proto=esp min=0x3000 max=0x3fff seq=7",
    *[f"POLICY add dir fwd dst 10.50.{n}.0/24" for n in range(9)],
    "POLICY add dir out src 10.7.1.1/32 dst 10.7.0.1/32 priority 3 tmpl proto esp mode transport",
    "POLICY add dir out src 10.7.1.1/32 dst 10.7.0.2/32 tmpl proto esp mode transport",
    "POLICY add dir out src 10.8.0.0/16 dst 10.9.0.0/16 tmpl src 10.7.1.1 dst 10.7.0.9 proto esp mode tunnel reqid 4",
    "POLICY add dir in src 2001:db8::/32 dst ::/0 action block flag icmp limit packet-hard 7",
    "LISTEN on", "SYSCTL net.core.xfrm_acq_expires=50", "ADVANCE seconds=3.5",
    "RX dst=10.7.1.1 spi=0x1000 seq=1", "RX dst=10.7.1.1 spi=0x1000 seq=40", "RX dst=10.7.1.1 spi=0x9999 seq=1",
    "RX dst=10.7.1.1 spi=0x1001 seq=4294967295 seq_hi=4294967295 mark=5",
    "TX src=10.7.1.1 dst=10.7.0.1", "TX src=10.7.1.1 dst=10.7.0.2 cpu=1",
    "RX dst=10.7.1.1 spi=0x1001 seq=3 mark=5", "TX src=10.8.0.1 dst=10.9.0.1",
]  # fmt: skip

QUESTIONS = [
    "DUMP", "RX dst=10.7.1.1 spi=0x1000 seq=1", "RX dst=10.7.1.1 spi=0x1000 seq=41",
    "RX dst=10.7.1.1 spi=0x1000 seq=36",
    "RX dst=10.7.1.1 spi=0x1001 seq=5 mark=5", "RX dst=10.7.1.1 spi=0x1001 seq=0xfffffff0 seq_hi=0xffffffff mark=5",
    "RX dst=10.7.1.2 spi=0x1001 seq=8", "RX dst=10.7.1.2 spi=0x1002 seq=1", "RX dst=10.7.1.1 proto=udp src=10.8.0.1",
    "RX dst=2001:db8::2 src=2001:db8::1 spi=0x1003 seq=1 proto=ah",
    "TX src=10.7.1.1 dst=10.7.0.1", "TX src=10.7.1.1 dst=10.7.0.2 cpu=1", "TX src=10.8.0.1 dst=10.9.0.1",
    "ADVANCE seconds=9", "TX src=10.7.1.1 dst=10.7.0.7 cpu=2", "GETSA dst=10.7.1.6 proto=esp spi=0x2101",
    "TX src=2001:db8::2 dst=2001:db8::1",
    "ALLOCSPI src=10.7.0.1 dst=10.7.1.1 proto=esp min=0x1000 max=0x1010",
    f"UPDSA src=10.7.0.1 dst=10.7.1.2 proto=esp spi=0x1002 {NULL} limits={{hard_add:60}}",
    "DELSA dst=10.7.1.4 proto=comp spi=0x40", "DELSA dst=10.7.1.4 proto=comp spi=0x41", "GETDEFAULT",
    "DELSA src=2001:db8::1 dst=2001:db8::2 proto=route2 spi=0 srcaddr=2001:db8::1",
    "NEWSA src=2001:db8::5 dst=2001:db8::6 proto=comp spi=0x43 mode=tunnel comp=deflate",
    "POLICY add dir fwd src 10.1.0.0/16", "GETSA dst=10.7.1.1 proto=esp spi=0x1001 mark=5", "ADVANCE seconds=200",
    "EVENTS", "STAT", "DUMP",
]  # fmt: skip
LINES = [
    "-s xfrm state list",
    "-s xfrm policy list",
    "android allocate 10.7.1.4",
    "xfrm monitor",
    "xfrm state count",
    "-s xfrm policy count",
]


def whole(kernel: str = "linux-6.12", options: tuple[str, ...] = ("acquire-uapi",)) -> Netns:
    """The namespace after REQUESTS."""
    netns = Netns(kernel, options=options, seed=5)
    asked(netns, REQUESTS)
    netns.events()
    return netns


def asked(netns: Netns, requests: list[str]) -> list[dict[str, Any]]:
    """The answers of requests, as JSON has them."""
    return [json.loads(json.dumps(answer)) for answer in run_requests(netns, requests, "test")]


def told(netns: Netns, lines: list[str]) -> list[tuple[str, str]]:
    """What lines of a batch print."""
    batch = Batch(netns)
    outcomes = [batch.run(line) for line in read_batch(io.BytesIO("\n".join(lines).encode()), "-")]
    return [(outcome.stdout, outcome.stderr) for outcome in outcomes]


def answers(netns: Netns) -> list[Any]:
    """What a namespace answers to everything that is asked here; it is another one afterwards."""
    return [told(netns, LINES), asked(netns, QUESTIONS), told(netns, LINES)]


def reloaded(netns: Netns, **others: Any) -> Netns:
    """The namespace after it was saved and loaded."""
    return unpack(json.loads(json.dumps(pack(netns))), **others)
