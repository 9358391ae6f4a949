"""The numbers that rooms share, each written once, as plain ints: to compiled code an Enum's member is not a number.

A verdict's number is written in `core/verdict.py`, beside its sentence; here is the int that kernels freeze into their
code (`espsim.jit.key` keeps compiled code apart by them). Outbound verdicts whose names are inbound ones too begin
with OUT_. Numbers that one step alone reads and writes (columns of a table, bits of a form) are defined in that step.
"""

from __future__ import annotations

from espsim.core.layers import Layer
from espsim.core.verdict import OutboundVerdict, Verdict

# -- the columns `verdict` and `replay` -------------------------------------------------------------------------------

DELIVERED = int(Verdict.DELIVERED)  # while a batch runs: no stage has objected
HEADER = int(Verdict.HEADER)
FRAGMENT = int(Verdict.FRAGMENT)
NO_SA = int(Verdict.NO_SA)
ENCAP_MISMATCH = int(Verdict.ENCAP_MISMATCH)
REPLAY_DUPLICATE = int(Verdict.REPLAY_DUPLICATE)
REPLAY_TOO_OLD = int(Verdict.REPLAY_TOO_OLD)
REPLAY_ZERO = int(Verdict.REPLAY_ZERO)
TRUNCATED = int(Verdict.TRUNCATED)
INTEGRITY = int(Verdict.INTEGRITY)
TRAILER = int(Verdict.TRAILER)
MODE = int(Verdict.MODE)
POLICY = int(Verdict.POLICY)
SENT = int(Verdict.SENT)
NO_POLICY = int(Verdict.NO_POLICY)
TEMPLATE = int(Verdict.TEMPLATE)
BLOCKED = int(Verdict.BLOCKED)
TEMPLATES = int(Verdict.TEMPLATES)
IPTFS_BUFFER = int(Verdict.IPTFS_BUFFER)
IPTFS_HEADER = int(Verdict.IPTFS_HEADER)
IPTFS_LOST = int(Verdict.IPTFS_LOST)
IPTFS_LATE = int(Verdict.IPTFS_LATE)
ECN = int(Verdict.ECN)

MAX_DEPTH = 6
"""XFRM_MAX_DEPTH: SAs that a packet may have come through, and templates that a policy may have."""

SEALED = int(OutboundVerdict.SEALED)  # while a batch runs: no stage has objected
OUT_NO_SA = int(OutboundVerdict.NO_SA)
SEQ_OVERFLOW = int(OutboundVerdict.SEQ_OVERFLOW)
OUT_FRAGMENT = int(OutboundVerdict.FRAGMENT)
TOO_BIG = int(OutboundVerdict.TOO_BIG)

PART = 253
"""Sentinel, not a Verdict: an outer fragment that completes no datagram in this frame. No one counts the row; what
becomes of the datagram is counted once, by the joiner (io.fragments)."""
ONE_BY_ONE = 254
"""Sentinel, while a batch runs: the reference path judges this packet's SA."""
NOT_ESP = 255
"""Sentinel, not a Verdict: the packet is not ESP, and no one counts it."""
NOT_IP = 255
"""Sentinel of an outbound batch, not a Verdict: the packet has no IP header, and no one counts it."""

# -- the column `opened`, and an engine's `result`: also TRUNCATED, INTEGRITY, and after the trailer TRAILER ----------

DONE = 0
"""Opened, or sealed."""
HANDED = 251
"""Not opened here: ESP in ESP has come, and from then on the reference path runs everything."""
OTHERWISE = 252
"""Opened under a wrong guess of the number's high half: the row must not be used."""
UNOPENED = 253
"""No one has tried."""
BROKEN = 254
"""The library refused for reasons of its own; the row must not be used."""
WAITING = 255
"""The engine has to work on this row."""

# -- the column `flags`: bits of an inbound packet --------------------------------------------------------------------

CUT = 1
"""The packet goes on past what was captured (a snap length)."""
OWN = 2
"""This host sent it."""

# -- the column `where`: offsets in a packet, from its first byte on -------------------------------------------------

IP_END, ESP_START, ESP_END, POINTER = range(4)
"""The end of the IP headers, the ESP header, the end of ESP, and the byte that names what follows the IP headers."""

# -- the column `link`: bits of rows that have a packet; a row that has none holds a core.layers.Layer, or LINK_PART --

IN_TCP = 0x10
"""ESP out of a TCP stream; the TCP header is not in the packet."""
MAY_JOIN = 0x20
"""While a batch is read: a packet that the joiner may have to put together with others."""
LINK_PART = 0x40
"""Where a row has no packet: an outer fragment that completes no datagram in this frame."""
OUTGOING = 0x80
"""The capture says that this host sent the frame."""

# -- the column `kind`: what is not ESP -------------------------------------------------------------------------------

KIND_OTHER = int(Layer.OTHER)
KIND_ARP = int(Layer.ARP)
KIND_IP = int(Layer.IP)
KIND_TCP = int(Layer.TCP)
KIND_UDP = int(Layer.UDP)
KIND_AH = int(Layer.AH)
KIND_GRE = int(Layer.GRE)
KIND_KEEPALIVE = int(Layer.KEEPALIVE)
KIND_IKE = int(Layer.IKE)
KIND_VXLAN = int(Layer.VXLAN)
KIND_GENEVE = int(Layer.GENEVE)
KIND_GTP_U = int(Layer.GTP_U)

# -- protocols and next headers, by IANA's numbers --------------------------------------------------------------------

PROTO_HOP_BY_HOP = 0
PROTO_ICMP = 1
PROTO_IPIP = 4
PROTO_TCP = 6
PROTO_UDP = 17
PROTO_DCCP = 33
PROTO_IPV6 = 41
PROTO_ROUTING = 43
PROTO_FRAGMENT = 44
PROTO_GRE = 47
PROTO_ESP = 50
PROTO_AH = 51
PROTO_ICMPV6 = 58
PROTO_NONE = 59
"""No next header: inside ESP, a dummy packet (RFC 4303 2.6)."""
PROTO_DSTOPTS = 60
PROTO_BEETPH = 94
"""Inside ESP in BEET mode: IPv4 options come first (wire/beet.py). IANA has it for IP within IP."""
PROTO_COMP = 108
PROTO_SCTP = 132
PROTO_UDPLITE = 136
PROTO_AGGFRAG = 144
"""IP-TFS: inside ESP, an AGGFRAG payload (RFC 9347)."""

# -- link types of captures, and the types inside of frames (https://www.tcpdump.org/linktypes.html, IANA) -------------

LINKTYPE_NULL = 0
LINKTYPE_ETHERNET = 1
LINKTYPE_PPP = 9
LINKTYPE_RAW_BSD = 12
LINKTYPE_RAW_OPENBSD = 14
LINKTYPE_PPP_HDLC = 50
LINKTYPE_PPPOE = 51
LINKTYPE_RAW = 101
LINKTYPE_LOOP = 108
LINKTYPE_SLL = 113
LINKTYPE_IPV4 = 228
LINKTYPE_IPV6 = 229
LINKTYPE_NFLOG = 239
LINKTYPE_SLL2 = 276

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_VLAN = 0x8100
ETHERTYPE_IPV6 = 0x86DD
ETHERTYPE_MPLS = 0x8847
ETHERTYPE_MPLS_MULTICAST = 0x8848
ETHERTYPE_PPPOE = 0x8864
ETHERTYPE_QINQ = 0x88A8
ETHERTYPE_QINQ_OLD = 0x9100
PPP_IPV4 = 0x0021
PPP_IPV6 = 0x0057
PPP_MPLS = 0x0281
PPP_MPLS_MULTICAST = 0x0283

PACKET_OUTGOING = 4
"""Packet type of Linux's cooked headers: this host sent the frame (linux/if_packet.h)."""
NFULA_PACKET_HDR = 1
"""Field of NFLOG (linux/netfilter/nfnetlink_log.h): the hardware protocol, of a bridge's packets."""
NFULA_PAYLOAD = 9
NFPROTO_ARP = 3

# -- captures: what the plain readers and the kernels bound alike -----------------------------------------------------

MAX_RECORD = 16 << 20
"""Bytes of one frame. libpcap's own bound is 256 KiB; captures of USB and of offloads go beyond it."""
MOST_ON_WIRE = (1 << 31) - 1
"""The most bytes on the wire that a column of a batch holds; a larger number becomes this one."""

# -- UDP ports, by IANA's numbers -------------------------------------------------------------------------------------

PORT_IKE = 500
PORT_GTP_U = 2152
PORT_VXLAN = 4789
PORT_GENEVE = 6081
PORT_VXLAN_LINUX = 8472
"""Not IANA's: what Linux takes for VXLAN where no port is given."""

# -- Linux's numbers --------------------------------------------------------------------------------------------------

MODES = {0: "transport", 1: "tunnel", 2: "ro", 3: "in_trigger", 4: "beet"}
"""XFRM_MODE_* (include/uapi/linux/xfrm.h) by iproute2's words."""
MODE_IPTFS = 5
"""XFRM_MODE_IPTFS, for which iproute2 7.3 has no word yet: it prints the number."""
MODE_OF = {name: number for number, name in MODES.items()}

DIR_IN, DIR_OUT = 1, 2
"""XFRM_SA_DIR_*."""
DIRECTIONS = {DIR_IN: "in", DIR_OUT: "out"}
