"""One header, one file: bytes and values, the layout and an example beside the code.

Every file of a header has the same three verbs (`beet`, `esp`, `iptfs`, `ipv4`, `ipv6`, `ipv6_fragment`, `tcp`, `udp`):

parse(data, at)    the values of the header that begins at an offset; None where the bytes hold none
emit(...)          the bytes of a header
length(data, at)   the bytes that the header at an offset takes

Offsets of fields count from the header's start and have names (`ipv4.PROTOCOL`); those of addresses are slices
(`packet[ipv4.SRC]`). Three files hold no header: `checksum` (the Internet checksum), `fragments` (what a fragment says
of its datagram, and the datagram made again) and `split` (a packet cut into fragments).
"""
