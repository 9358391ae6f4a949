"""The words of `ip xfrm state`'s lines: the kernel's attribute of each, and what it changes for packets.

Layouts: include/uapi/linux/xfrm.h. Order and spelling: ip/ipxfrm.c of iproute2. A word may mean something else in
another part of an SA (`src` in a selector, `seq` in a replay context), so each belongs to a section.
"""

from __future__ import annotations

import re
from typing import NamedTuple

TOP, ESN, BITMAP, SELECTOR, LIFETIME, CURRENT, STATS = range(7)
"""Sections: the SA's main words; ESN context; its bitmap; selector; lifetimes; what it has carried; statistics."""


class Meaning(NamedTuple):
    """A pattern of words in a section, the attribute that has them, what they change, and the section they open."""

    section: int
    pattern: re.Pattern[str]
    reads: str
    changes: str
    opens: int | None = None


_N = r"(?:0x[0-9a-fA-F]+|\d+)"


def _m(section: int, pattern: str, reads: str, changes: str, opens: int | None = None) -> Meaning:
    return Meaning(section, re.compile(pattern), reads, changes, opens)


MEANINGS = (
    _m(TOP, r"src \S+", "id: saddr", "the outer source on the way out; Linux's lookup does not ask it"),
    _m(TOP, r"dst \S+", "id: daddr", "key of the lookup (RFC 4303 3.4.2); the outer destination on the way out"),
    _m(TOP, r"proto \S+", "id: proto", "key of the lookup: esp is IP protocol 50"),
    _m(TOP, rf"spi {_N}(?:\({_N}\))?", "id: spi", "key of the lookup; the first four bytes of each packet"),
    _m(TOP, rf"reqid {_N}(?:\({_N}\))?", "reqid", "which policies' templates take the SA; no packet has it"),
    _m(TOP, r"mode tunnel", "mode", "a whole IP packet is inside, and a new IP header goes around it"),
    _m(TOP, r"mode transport", "mode", "the payload is inside, and the packet's own IP header stays"),
    _m(TOP, r"mode (?:beet|4)\b", "mode",
       "the payload is inside, as in transport mode; the inner addresses are the selector's, the outer ones the SA's"),
    _m(TOP, r"mode (?:iptfs|5)\b", "mode",
       "IP-TFS (RFC 9347): inner packets, or parts of them, fill ESP packets"),
    _m(TOP, r"mode \S+", "mode", "not modelled: packets are not run under it"),
    _m(TOP, r"replay-window 0", "replay_window", "no window here: replays pass, unless an ESN context below has one"),
    _m(TOP, rf"replay-window {_N}", "replay_window", "how far below the highest number a packet may come, once each"),
    _m(TOP, rf"seq {_N}", "seq", "ties a larval SA to the ACQUIRE that it answers; not a packet's number"),
    _m(TOP, r"(?:extra_)?flag(?= )", "flags", ""),
    _m(TOP, r"\(0x[0-9a-fA-F]{8}\)", "flags", ""),
    _m(TOP, r"esn\b", "flag", "numbers have 64 bits: the high half is in AAD or MAC, not on the wire (RFC 4303 2.2.1)"),
    _m(TOP, r"af-unspec\b", "flag", "the selector's family is free: both may be inside"),
    _m(TOP, r"noecn\b", "flag", "congestion marks are not carried between the headers"),
    _m(TOP, r"decap-dscp\b", "flag", "the outer DSCP is copied into the inner packet"),
    _m(TOP, r"nopmtudisc\b", "flag", "the outer header has no DF"),
    _m(TOP, r"wildrecv\b", "flag", "the SA is not used on the way out"),
    _m(TOP, r"icmp\b", "flag", "ICMP errors are checked by the policy of the packet inside them"),
    _m(TOP, r"align4\b", "flag", "AH pads to 4 bytes; nothing for ESP"),
    _m(TOP, r"dont-encap-dscp\b", "flag", "the inner DSCP is not copied out"),
    _m(TOP, r"oseq-may-wrap\b", "flag", "the counter may wrap, but not with an AEAD: its IV would come twice"),
    _m(TOP, r"mark \S+", "XFRMA_MARK", "only packets with this mark find the SA (--mark, --any-mark)"),
    _m(TOP, r"output-mark \S+", "XFRMA_SET_MARK", "the mark of a packet that has been transformed"),
    _m(TOP, r"if_id \S+", "XFRMA_IF_ID", "the xfrm interface whose policies may use the SA"),
    _m(TOP, r"pcpu-num \S+", "XFRMA_SA_PCPU", "the CPU whose packets use the SA"),
    _m(TOP, r"dir in\b", "XFRMA_SA_DIR", "opens packets only"),
    _m(TOP, r"dir out\b", "XFRMA_SA_DIR", "seals packets only: an inbound packet that finds it is refused (DIRECTION)"),
    _m(TOP, r"aead rfc4106\S* \S+(?: \(\d+ bits\))?(?: \d+)?", "XFRMA_ALG_AEAD",
       "AES-GCM; the key's last 4 bytes are the salt, the last number is the ICV's bits (RFC 4106)"),
    _m(TOP, r"aead rfc7539esp\S* \S+(?: \(\d+ bits\))?(?: \d+)?", "XFRMA_ALG_AEAD",
       "ChaCha20-Poly1305; the key's last 4 bytes are the salt (RFC 7634)"),
    _m(TOP, r"aead rfc4309\S* \S+(?: \(\d+ bits\))?(?: \d+)?", "XFRMA_ALG_AEAD",
       "AES-CCM; the key's last 3 bytes are the salt, the last number is the ICV's bits (RFC 4309)"),
    _m(TOP, r"aead rfc4543\S* \S+(?: \(\d+ bits\))?(?: \d+)?", "XFRMA_ALG_AEAD",
       "AES-GMAC: integrity alone, nothing is encrypted; the key's last 4 bytes are the salt (RFC 4543)"),
    _m(TOP, r"aead iiv\S* \S+(?: \(\d+ bits\))?(?: \d+)?", "none: espsim's own word",
       "an AEAD whose IV is the sequence number and does not travel (RFC 8750)"),
    _m(TOP, r"aead \S+ \S+(?: \(\d+ bits\))?(?: \d+)?", "XFRMA_ALG_AEAD", "encryption and ICV in one algorithm"),
    _m(TOP, r"enc rfc3686\S*(?: \S+)?(?: \(\d+ bits\))?", "XFRMA_ALG_CRYPT",
       "AES-CTR; the key's last 4 bytes are the nonce; an IV must never come twice under one key (RFC 3686)"),
    _m(TOP, r"enc \S+(?: \S+)?(?: \(\d+ bits\))?", "XFRMA_ALG_CRYPT",
       "the cipher and its key; CBC has a random IV in each packet"),
    _m(TOP, r"auth-trunc \S+(?: \S+(?: \(\d+ bits\))? \d+)?", "XFRMA_ALG_AUTH_TRUNC",
       "the MAC, its key, and the bits of it that are the ICV; over SPI to ciphertext"),
    _m(TOP, r"auth \S+(?: \S+)?(?: \(\d+ bits\))?", "XFRMA_ALG_AUTH",
       "the MAC and its key; the ICV has Linux's usual length"),
    _m(TOP, r"comp \S+(?: \S+)?(?: \(\d+ bits\))?", "XFRMA_ALG_COMP", "IPComp: not ESP"),
    _m(TOP, r"encap type espinudp sport \d+ dport \d+ addr \S+", "XFRMA_ENCAP",
       "ESP in UDP (RFC 3948): a packet that comes without UDP is refused (ENCAP_MISMATCH)"),
    _m(TOP, r"encap type espintcp sport \d+ dport \d+ addr \S+", "XFRMA_ENCAP",
       "ESP in TCP (RFC 9329): opened out of the streams of a capture; not made here"),
    _m(TOP, r"encap type \S+ sport \d+ dport \d+ addr \S+", "XFRMA_ENCAP", "this encapsulation is not made here"),
    _m(TOP, r"coa \S+", "XFRMA_COADDR", "Mobile IPv6's care-of address; nothing for ESP"),
    _m(TOP, r"tfcpad \S+", "XFRMA_TFCPAD", "packets are padded to this size (RFC 4303 2.7)"),
    _m(TOP, r"security context .*", "XFRMA_SEC_CTX", "the SELinux label; packets are not told apart by it here"),
    _m(TOP, r"lastused .*", "XFRMA_LASTUSED", "nothing: when it was last used"),
    _m(TOP, r"iptfs-opts .*", "XFRMA_IPTFS_*", "how IP-TFS fills packets, waits, and puts them in order (RFC 9347)"),
    _m(TOP, r"crypto offload parameters: dev \S+ dir (?:in|out)(?: mode packet)?", "XFRMA_OFFLOAD_DEV",
       "the device that has the SA, and the SA's direction (--model shows what a device does with it)"),
    _m(TOP, rf"anti-replay context: seq {_N}, oseq {_N}, bitmap {_N}", "XFRMA_REPLAY_VAL",
       "the highest number received, the last one sent, the window: --keep-window starts there, encap goes on there"),
    _m(TOP, r"anti-replay esn context:", "XFRMA_REPLAY_ESN_VAL", "the window follows, which may be above 32", ESN),
    _m(TOP, r"sel(?= )", "sel", "which inner packets the SA takes", SELECTOR),
    _m(TOP, r"lifetime config:", "lft", "limits follow", LIFETIME),
    _m(TOP, r"lifetime current:", "curlft", "what it has carried follows", CURRENT),
    _m(TOP, r"stats:", "stats", "what it refused follows", STATS),
    _m(ESN, rf"seq-hi {_N}", "seq_hi", "the high half that a packet's number gets while the window is empty"),
    _m(ESN, rf"seq {_N}", "seq", "the highest number received, its low half: --keep-window starts there"),
    _m(ESN, rf"oseq-hi {_N}", "oseq_hi", "the high half of the last number sent"),
    _m(ESN, rf"oseq {_N}", "oseq", "the last number sent: encap goes on after it"),
    _m(ESN, rf"replay_window {_N}", "replay_window", "the window's size: with ESN it must not be 0 on the way in"),
    _m(ESN, rf"bitmap-length {_N}", "bmp_len", "words of 32 bits; the bitmap follows", BITMAP),
    _m(BITMAP, r"[0-9a-fA-F]{8}\b", "bmp", "numbers seen, a bit each: --keep-window takes them"),
    _m(SELECTOR, r"src \S+", "sel.saddr", "inner sources"),
    _m(SELECTOR, r"dst \S+", "sel.daddr", "inner destinations"),
    _m(SELECTOR, r"proto \S+", "sel.proto", "the inner protocol"),
    _m(SELECTOR, r"(?:sport|dport) \S+", "sel", "an inner port"),
    _m(SELECTOR, r"(?:type|code|key) \S+", "sel", "ICMP's type or code, GRE's key"),
    _m(SELECTOR, r"dev \S+", "sel.ifindex", "the inner packet's interface, which a capture does not have"),
    _m(SELECTOR, r"uid \S+", "sel.user", "nothing"),
    _m(LIFETIME, r"limit: soft \S+ hard \S+", "lft", "the hard limit ends the SA (EXPIRED)"),
    _m(LIFETIME, r"expire (?:add|use): soft \S+ hard \S+", "lft", "seconds since it was made, or first used"),
    _m(LIFETIME, r"lifetime current:", "curlft", "what it has carried follows", CURRENT),
    _m(CURRENT, r"\d+\(bytes\), \d+\(packets\)", "curlft", "counted towards limits with --keep-window"),
    _m(CURRENT, r"add .* use .*", "curlft", "nothing: a capture has its own clock"),
    _m(CURRENT, r"stats:", "stats", "what it refused follows", STATS),
    _m(STATS, r"replay-window \d+ replay \d+ failed \d+", "stats",
       "nothing: numbers that were too old, that came twice, ICVs that were wrong"),
)  # fmt: skip
"""In the order in which they are tried."""
