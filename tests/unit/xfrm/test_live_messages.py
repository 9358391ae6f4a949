"""Requests as netlink messages: where the fields of the newest ones lie (include/uapi/linux/xfrm.h)."""

from __future__ import annotations

import struct

from espsim.core.address import parse_address
from espsim.xfrm.live_netlink import attributes, iptfs_of, migrate_of, migrate_state_of
from espsim.xfrm.request_line import RequestWords, split_line
from espsim.xfrm.request_migrate import migrate_request, migrate_state_request, split_entries
from espsim.xfrm.request_sa import sa_request
from espsim.xfrm.requests import WORDS_OF

SA = "NEWSA src=10.7.0.1 dst=10.7.1.1 proto=esp spi=0x1000 crypt=ecb(cipher_null) auth=hmac(sha1)"


def words(line: str) -> tuple[RequestWords, list[str]]:
    split = split_line(line, None, 1)
    assert split is not None
    plain, entries = split_entries(split[1])
    return RequestWords.parse(plain, WORDS_OF[split[0]], None, 1), entries


def test_migrate_state() -> None:
    line = (
        "MIGRATE_STATE dst=10.7.1.1 proto=esp spi=0x1000 old_mark=5/0xff new_dst=2001:db8::2 new_src=2001:db8::1 "
        "new_reqid=9 migrate_flags=3 reserved=7 new_sel={src:10.0.0.0/8,dst:10.7.1.1/32} mark=1/2 encap=0,0,0"
    )
    body = migrate_state_of(migrate_state_request(words(line)[0]))
    assert body[:4] == parse_address("10.7.1.1")
    assert struct.unpack_from(">I", body, 16) == (0x1000,)
    assert struct.unpack_from("=HB", body, 20) == (2, 50)
    assert (body[24:40], body[40:56]) == (parse_address("2001:db8::2"), parse_address("2001:db8::1"))
    assert struct.unpack_from("=II", body, 56) == (5, 0xFF)
    assert (body[64:68], body[80:84]) == (parse_address("10.7.1.1"), parse_address("10.0.0.0"))
    assert struct.unpack_from("=HBB", body, 104) == (2, 32, 8)
    assert struct.unpack_from("=IIHH", body, 120) == (9, 3, 10, 7)
    assert attributes(body[132:]) == {21: struct.pack("=II", 1, 2), 4: bytes(24)}


def test_migrate() -> None:
    entry = "{10.7.1.1,10.7.0.1,10.7.1.2,10.7.0.2,esp,tunnel,7}"
    line = f"MIGRATE dir=fwd sel={{src:10.7.1.1/32,dst:10.8.0.0/16}} {entry} if_id=3"
    body = migrate_of(migrate_request(*words(line)))
    assert struct.unpack_from("=IB", body, 56) == (0, 2)
    more = attributes(body[64:])
    assert set(more) == {16, 17, 31}
    ends = [more[17][at : at + 4] for at in (0, 16, 32, 48)]
    assert ends == [parse_address(f"10.7.{end}") for end in ("0.1", "1.1", "0.2", "1.2")]
    assert struct.unpack_from("=BBHIHH", more[17], 64) == (50, 1, 0, 7, 2, 2)


def test_options_of_iptfs() -> None:
    request = sa_request(words(f"{SA} mode=iptfs reorder_window=9 dont_frag=True pkt_size=500 drop_time=0")[0])
    assert attributes(iptfs_of(request.iptfs)) == {
        36: bytes(4), 37: struct.pack("=H", 9), 38: b"", 41: struct.pack("=I", 500),
    }  # fmt: skip
