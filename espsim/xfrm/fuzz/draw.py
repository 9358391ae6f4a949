"""Random requests and batch lines, for the running kernel and the model.

Values come from small sets, so that a request meets the states and policies of earlier ones. Those requests are the
interesting ones.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

V4 = ("10.0.0.1", "10.0.0.2", "10.0.1.2", "0.0.0.0")  # noqa: S104 - an address in a request, bound to nothing
V6 = ("2001:db8::1", "2001:db8::2", "2001:db8:1::2", "::")
MARKS = ("1/0xff", "2/0xff", "0x105/0xff", "5/0xff", "0/0", "7/0", "0/0xff", "0xffffffff/0xffffffff", "1")
FAMILIES = (0, 2, 7, 10, 65535)
MODES = ("tunnel", "ro", "beet", "3", "5", "6", "9", "255")
SPIS = (1, 2, 3, 5, 255, 0x1000, 0x1001, 0xFFFF, 0x10000, 0xFFFFFFFF)
REQIDS = tuple(range(12))
SELECTORS = ("{src:10.0.0.1/32,dst:10.0.0.2/32}", "{src:2001:db8::/32,dst:::/0}", "{dst:10.0.0.0/33}", "{}")
IPTFS = {
    "drop_time": (0, 5), "reorder_window": (0, 9), "dont_frag": (1,), "init_delay": (0, 7), "max_qsize": (0, 5000),
    "pkt_size": (0, 20, 500),
}  # fmt: skip


def some(rng: random.Random, share: float, key: str, values: Sequence[object]) -> list[str]:
    """`key=VALUE` in a share of the requests, else nothing."""
    return [f"{key}={rng.choice(values)}"] if rng.random() < share else []


def ends(rng: random.Random) -> list[str]:
    """src and dst, of one family."""
    values = V4 if rng.random() < 0.7 else V6
    return [f"src={rng.choice(values[:3])}", f"dst={rng.choice(values)}"]


def allocspi(rng: random.Random) -> str:
    """One SPI, or a range that is refused. A range to draw from would give two sides different SPIs."""
    spi = rng.choice(SPIS)
    span = (spi, spi) if rng.random() < 0.9 else rng.choice(((5, 4), (0, 0), (0, 0xFFFFFFFF), (0x20000, 0x10000)))
    words = [*ends(rng), f"proto={rng.choice(('esp', 'esp', 'esp', 'ah', 'comp', 'route2', '0', '255', '4'))}"]
    words += [f"min={span[0]}", f"max={span[1]}", *some(rng, 0.3, "mode", MODES), *some(rng, 0.4, "reqid", REQIDS)]
    words += some(rng, 0.3, "mark", MARKS) + some(rng, 0.2, "if_id", (1, 2)) + some(rng, 0.1, "pcpu", (0, 1, 9999))
    words += (
        some(rng, 0.2, "dir", ("in", "out", 3)) + some(rng, 0.1, "seq", (1, 9)) + some(rng, 0.2, "family", FAMILIES)
    )
    return " ".join(["ALLOCSPI", *words])


def key(rng: random.Random, verb: str) -> str:
    """GETSA, DELSA, EXPIRE, GETAE and NEWAE: which state."""
    values = V4 if rng.random() < 0.7 else V6
    protocols = ("esp", "esp", "esp", "ah", "comp", "route2", "hao", "4", "41", "0", "255", "17")
    words = [f"dst={rng.choice(values)}", f"proto={rng.choice(protocols)}"]
    words += [f"spi={rng.choice((0, *SPIS, 0x0A000001))}", *some(rng, 0.3, "mark", MARKS)]
    words += some(rng, 0.2, "family", FAMILIES) + some(rng, 0.05, "dir", ("in", "out", 3))
    if verb in ("GETSA", "DELSA"):
        words += some(rng, 0.4, "srcaddr", values)
    if verb == "EXPIRE":
        words += [f"src={values[0]}", f"hard={rng.choice((0, 1, 2))}"]
    if verb == "NEWAE":
        words += some(rng, 0.6, "replace", (1,)) + some(rng, 0.5, "replay_val", ("0,0,0", "1,5,3"))
        words += some(rng, 0.3, "esn", ("{}", "{bmp_len:2,replay_window:64,seq:5}", "{bmp_len:1,replay_window:33}"))
    return " ".join([verb, *words])


def esn(rng: random.Random) -> str:
    """A REPLAY_ESN_VAL that is good, or bad in one or two ways."""
    facts = {
        "bmp_len": (0, 1, 2, 128, 129), "replay_window": (0, 1, 32, 33, 64, 4096), "seq": (0, 5, 0xFFFFFFFF),
        "seq_hi": (0, 1, 0xFFFFFFFF), "oseq": (0, 5, 0xFFFFFFFF), "oseq_hi": (0, 1, 0xFFFFFFFF),
    }  # fmt: skip
    chosen = {name: rng.choice(values) for name, values in facts.items() if rng.random() < 0.4}
    return "esn={" + ",".join(f"{name}:{value}" for name, value in chosen.items()) + "}"


def algorithms(rng: random.Random) -> list[str]:
    """Algorithms, some in wrong combinations, or with a wrong key or length."""
    words = some(rng, 0.7, "crypt", ("ecb(cipher_null)", "ecb(cipher_null)", "cbc(aes)", "no(such)", "cipher_null"))
    words += some(rng, 0.6, "auth", ("hmac(sha1)", "hmac(sha1)", "hmac(sha256)", "digest_null", "no(such)", "sha1"))
    words += some(rng, 0.1, "aead", ("rfc4106(gcm(aes))", "no(such)", "rfc4543(gcm(aes))"))
    words += some(rng, 0.1, "comp", ("deflate", "no(such)"))
    said = {word.partition("=")[0] for word in words}
    if "crypt" in said:
        words += some(rng, 0.1, "crypt_key", ("", "00", "00" * 16))
    if "auth" in said:
        words += some(rng, 0.1, "auth_key", ("", "00")) + some(rng, 0.3, "trunc", (0, 1, 8, 16, 96, 97, 128, 160, 999))
    if "aead" in said:
        words += some(rng, 0.2, "icv", (64, 96, 128, 100, 0)) + some(rng, 0.1, "key", ("", "00" * 20))
    return words


def association(rng: random.Random, verb: str) -> str:
    """NEWSA or UPDSA. Most are refused, often for several reasons; which one is reported is part of the question."""
    proto = rng.choice(("esp", "esp", "esp", "esp", "ah", "comp", "route2", "hao", "4", "17"))
    words = [*ends(rng), f"proto={proto}", f"spi={rng.choice((0, 5, 0x1000, 0x1001, 0x10000))}"]
    if proto == "comp" and rng.random() < 0.7:
        words += ["comp=deflate"]
    elif proto == "ah" and rng.random() < 0.7:
        words += [f"auth={rng.choice(('hmac(sha1)', 'hmac(sha256)', 'no(such)'))}"]
    elif proto == "esp" and rng.random() < 0.5:
        words += ["crypt=ecb(cipher_null)", "auth=hmac(sha1)"]
    elif proto != "route2" or rng.random() < 0.3:
        words += algorithms(rng)
    words += some(rng, 0.5, "mode", ("tunnel", "tunnel", *MODES)) + some(rng, 0.3, "reqid", REQIDS)
    words += some(rng, 0.3, "mark", MARKS) + some(rng, 0.2, "if_id", (1, 2)) + some(rng, 0.15, "pcpu", (0, 1, 9999))
    words += (
        some(rng, 0.3, "dir", ("in", "out", 3)) + some(rng, 0.1, "seq", (1, 9)) + some(rng, 0.05, "family", FAMILIES)
    )
    words += some(rng, 0.15, "flags", ("esn", "icmp", "decap-dscp,wildrecv", "nopmtudisc", "af-unspec", "esn,align4"))
    words += some(rng, 0.1, "extra_flags", ("dont-encap-dscp", "oseq-may-wrap"))
    words += some(rng, 0.2, "replay_window", (1, 32, 64, 255)) + some(rng, 0.1, "replay_val", ("5,0,0", "0,5,1"))
    words += [esn(rng)] if rng.random() < 0.2 else []
    words += some(rng, 0.2, "encap", ("2,4500,4500", "2,4500,1", "1,1,2", "7,1,2", "3,1,2", "0,0,0"))
    words += some(rng, 0.1, "mtimer", (0, 5)) + some(rng, 0.1, "nat_keepalive", (0, 20))
    words += some(rng, 0.1, "tfcpad", (0, 100, 70000)) + some(
        rng, 0.5 if proto in ("route2", "hao") else 0.05, "coa", V6
    )
    words += some(rng, 0.1, "limits", ("{hard_add:9}", "{soft_packets:1,hard_bytes:5}", "{hard_use:7,soft_add:3}"))
    words += some(rng, 0.1, "output_mark", ("1/0xff", "0/0", "5")) + some(rng, 0.1, "sel", SELECTORS)
    words += some(rng, 0.05, "attr", (42, "60,200"))
    for name, values in IPTFS.items():
        words += some(rng, 0.3 if "mode=5" in words else 0.01, name, values)
    return " ".join([verb, *words])


def migrate_state(rng: random.Random) -> str:
    """MIGRATE_STATE, mostly of a state that may be there."""
    values = V4 if rng.random() < 0.8 else V6
    words = [f"dst={rng.choice(values)}", f"proto={rng.choice(('esp', 'esp', 'ah', 'comp'))}"]
    words += [f"spi={rng.choice((0, 1, 5, 0x1000, 0x1001))}", *some(rng, 0.1, "family", FAMILIES)]
    values = V4 if rng.random() < 0.8 else V6
    words += [f"new_dst={rng.choice(values)}", f"new_src={rng.choice(values)}", f"new_reqid={rng.choice(REQIDS)}"]
    words += some(rng, 0.3, "old_mark", MARKS) + some(rng, 0.2, "mark", MARKS) + some(rng, 0.1, "new_family", FAMILIES)
    words += some(rng, 0.3, "new_sel", SELECTORS) + some(rng, 0.2, "migrate_flags", (1, 2, 3, 4, 0x80000000))
    words += some(rng, 0.05, "reserved", (1,)) + some(rng, 0.2, "encap", ("2,4500,4500", "0,0,0", "1,1,2"))
    words += some(rng, 0.1, "set_mark", ("1/0xff", "0", "5")) + some(rng, 0.1, "mtimer", (0, 5))
    return " ".join(["MIGRATE_STATE", *words, *some(rng, 0.1, "nat_keepalive", (0, 20))])


def migrate(rng: random.Random) -> str:
    """MIGRATE: most have no policy to find."""
    words = [f"dir={rng.choice(('in', 'out', 'fwd', 3, 7))}", f"sel={rng.choice(SELECTORS[:2])}"]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 7))):
        ends = [rng.choice(V4) for _ in range(4)]
        words.append("{" + ",".join([*ends, rng.choice(("esp", "ah")), rng.choice(("tunnel", "transport")), "1"]) + "}")
    return " ".join(["MIGRATE", *words, *some(rng, 0.1, "encap", ("2,4500,4500",))])


def a_request(rng: random.Random) -> str:
    """One line of the request language."""
    verb = rng.choices(
        ("ALLOCSPI", "NEWSA", "UPDSA", "GETSA", "DELSA", "DUMP", "FLUSHSA", "GETAE", "NEWAE", "EXPIRE", "GETDEFAULT",
         "SETDEFAULT", "MIGRATE_STATE", "MIGRATE"), (30, 20, 10, 12, 6, 5, 1, 3, 3, 3, 2, 2, 6, 2),
    )[0]  # fmt: skip
    if verb == "ALLOCSPI":
        line = allocspi(rng)
    elif verb in ("NEWSA", "UPDSA"):
        line = association(rng, verb)
    elif verb in ("DUMP", "FLUSHSA"):
        line = " ".join([verb, *some(rng, 0.6, "proto", ("esp", "ah", "comp", "route2", "any", "0", "4", "17"))])
    elif verb == "SETDEFAULT":
        line = " ".join([verb, *(word for name in ("in", "fwd", "out") for word in some(rng, 0.6, name, (0, 1, 2, 9)))])
    elif verb in ("MIGRATE_STATE", "MIGRATE"):
        line = migrate_state(rng) if verb == "MIGRATE_STATE" else migrate(rng)
    else:
        line = "GETDEFAULT" if verb == "GETDEFAULT" else key(rng, verb)
    return line + (f" length={rng.choice((0, 1, 20))}" if verb != "DUMP" and rng.random() < 0.02 else "")


def a_near_request(rng: random.Random) -> str:
    """A request that mostly succeeds, with few SPIs and addresses, and directions. On these SPI rules differ."""
    spi = rng.choice((0x1000, 0x1000, 0x1001))
    words = [f"src=10.0.1.{rng.choice((1, 2))}", f"dst=10.0.0.{rng.choice((1, 2, 3))}", "proto=esp"]
    direction = some(rng, 0.6, "dir", ("in", "in", "out"))
    verb = rng.choices(("ALLOCSPI", "NEWSA", "UPDSA", "DELSA", "GETSA", "EXPIRE"), (30, 25, 10, 8, 5, 2))[0]
    if verb == "ALLOCSPI":
        words += [f"min={spi}", f"max={spi}", *direction, *some(rng, 0.5, "reqid", (1, 2, 3, 4))]
    elif verb in ("NEWSA", "UPDSA"):
        words += [f"spi={spi}", "mode=tunnel", "aead=rfc4106(gcm(aes))", *direction]
        words += some(rng, 0.15, "encap", ("2,4500,4500", "2,31002,4500"))
    else:
        words += [f"spi={spi}", *(["hard=1"] if verb == "EXPIRE" else [])]
    return " ".join([verb, *words, *some(rng, 0.1, "mark", ("1/0xff", "2/0xff"))])


# -- lines of `ip` ----------------------------------------------------------------------------------------------------

NETWORKS4 = ("10.0.0.1", "10.0.0.2", "10.0.1.0/24", "10.0.0.1/0", "10.0.0.3/0", "any", "0.0.0.0/0", "10.0.0.0/8")
NETWORKS6 = ("2001:db8::1", "2001:db8::/32", "::/0", "2001:db8::1/0", "any")


def words(rng: random.Random, share: float, name: str, values: Sequence[object]) -> list[str]:
    """`NAME VALUE` in a share of the lines, else nothing."""
    return [name, *str(rng.choice(values)).split()] if rng.random() < share else []


def state_id(rng: random.Random, share: float = 1.0) -> list[str]:
    """ID of a state. With a share below 1 parts are left out."""
    values = V4 if rng.random() < 0.75 else V6
    said = words(rng, share, "src", values[:2]) + words(rng, share, "dst", values[1:])
    return said + words(rng, share, "proto", ("esp", "esp", "ah", "comp", "route2", "ipsec-any"))


def state_filter(rng: random.Random) -> list[str]:
    """The filter of `list` and `deleteall`."""
    said = state_id(rng, 0.3) + words(rng, 0.2, "spi", SPIS) + words(rng, 0.15, "mode", ("tunnel", "beet", "transport"))
    if rng.random() < 0.1:
        said = ["src", rng.choice(NETWORKS4), "dst", rng.choice(NETWORKS4)]
    return said + words(rng, 0.15, "reqid", REQIDS) + words(rng, 0.1, "flag", ("esn", "0x0", "0xff"))


def a_state(rng: random.Random) -> str:
    """`xfrm state ...`."""
    verb = rng.choices(
        ("allocspi", "get", "delete", "list", "deleteall", "flush", "count", "add", "update"),
        (45, 12, 8, 14, 3, 2, 6, 7, 5),
    )[0]
    mark = words(rng, 0.3, "mark", ("1 mask 0xff", "0x105 mask 0xff", "5 mask 0xff", "7", "0 mask 0", "3 mask 0"))
    if verb == "allocspi":
        spi = rng.choice(SPIS)
        said = state_id(rng) + words(rng, 0.3, "mode", ("tunnel", "ro", "beet", "in_trigger")) + mark
        said += words(rng, 0.4, "reqid", REQIDS) + words(rng, 0.1, "seq", (1, 5)) + ["min", str(spi), "max", str(spi)]
    elif verb in ("get", "delete"):
        said = [*state_id(rng), "spi", str(rng.choice(SPIS)), *mark]
    elif verb in ("list", "deleteall"):
        said = state_filter(rng) + (["nokeys"] if verb == "list" and rng.random() < 0.2 else [])
    elif verb in ("add", "update"):
        said = [*state_id(rng), "spi", str(rng.choice(SPIS[:6])), "enc", "ecb(cipher_null)", "''", "auth"]
        said += ["hmac(sha1)", "0x" + "01" * 20, *mark, *words(rng, 0.4, "mode", ("tunnel", "ro", "beet"))]
        said += words(rng, 0.3, "sel src", NETWORKS6 + NETWORKS4)
    else:
        said = words(rng, 0.5, "proto", ("esp", "ah", "comp")) if verb == "flush" else []
    return " ".join(["xfrm state", verb, *said])


def a_selector(rng: random.Random, share: float = 0.7) -> list[str]:
    """SELECTOR of a policy."""
    networks = NETWORKS4 if rng.random() < 0.7 else NETWORKS6
    said = words(rng, share, "src", networks) + words(rng, share, "dst", networks) + words(rng, 0.1, "dev", ("lo",))
    upper = ("tcp sport 5", "udp dport 9", "icmp type 8", "gre key 7", "esp", "132", "tcp", "ipv6-icmp type 1 code 2")
    return said + words(rng, 0.3, "proto", upper)


def a_template(rng: random.Random) -> list[str]:
    """TMPL."""
    values = V4 if rng.random() < 0.7 else V6
    said = ["tmpl", *words(rng, 0.6, "src", values), *words(rng, 0.6, "dst", values), "proto"]
    said += [rng.choice(("esp", "esp", "ah", "comp", "hao"))]
    said += words(rng, 0.2, "spi", (5, 0x1000)) + words(
        rng, 0.6, "mode", ("tunnel", "tunnel", "beet", "ro", "transport")
    )
    return said + words(rng, 0.3, "reqid", REQIDS) + words(rng, 0.2, "level", ("use", "required"))


def a_policy(rng: random.Random) -> str:
    """`xfrm policy ...`."""
    verb = rng.choices(
        ("add", "update", "get", "delete", "list", "deleteall", "flush", "count", "set", "setdefault", "getdefault"),
        (30, 12, 12, 8, 12, 2, 1, 6, 3, 4, 3),
    )[0]
    direction = ["dir", rng.choice(("in", "out", "fwd"))]
    mark = words(rng, 0.3, "mark", ("1 mask 0xff", "0x105 mask 0xff", "5 mask 0xff", "7", "0 mask 0", "3 mask 0"))
    more = mark + words(rng, 0.2, "if_id", (1, 2)) + words(rng, 0.15, "ptype", ("main", "sub"))
    if verb in ("add", "update"):
        said = a_selector(rng) + direction + more + words(rng, 0.3, "index", (8, 9, 10, 16, 17, 24, 1, 2))
        said += words(rng, 0.3, "action", ("allow", "block")) + words(rng, 0.4, "priority", (1, 2, 0xFFFFFFFF))
        said += words(rng, 0.3, "flag", ("icmp", "localok", "localok icmp", "0x4", "0xff", "0x10", "0x0"))
        said += words(rng, 0.1, "limit", ("byte-soft 5", "packet-hard 0", "time-hard 900", "time-use-soft 800"))
        for _ in range(rng.choice((0, 0, 0, 1, 1, 2, 7))):
            said += a_template(rng)
    elif verb in ("get", "delete"):
        said = (
            (a_selector(rng) if rng.random() < 0.6 else ["index", str(rng.choice((8, 9, 10, 16, 1, 2)))])
            + direction
            + more
        )
    elif verb in ("list", "deleteall"):
        said = a_selector(rng, 0.3) + (direction if rng.random() < 0.4 else []) + words(rng, 0.1, "index", (8, 9, 1))
        said += words(rng, 0.1, "action", ("allow", "block")) + words(rng, 0.1, "priority", (0, 1))
        said += words(rng, 0.1, "flag", ("icmp", "0x4", "0x0")) + words(rng, 0.1, "ptype", ("main", "sub"))
    elif verb == "flush":
        said = words(rng, 0.5, "ptype", ("main", "sub"))
    elif verb == "set":
        said = words(rng, 0.6, "hthresh4", ("24 32", "0 0", "33 1")) + words(rng, 0.4, "hthresh6", ("64 128", "1 129"))
    elif verb == "setdefault":
        said = [w for d in ("in", "fwd", "out") for w in words(rng, 0.5, d, ("block", "accept", "accept", "allow"))]
    else:
        said = []
    return " ".join(["xfrm policy", verb, *said])


def a_command(rng: random.Random) -> str:
    """A line of `ip` that is right, or nearly."""
    options = rng.choice(("", "", "", "-s ", "-s -s ", "-o ", "-4 ", "-6 ", "-s -o "))
    if rng.random() < 0.03:
        return options + "xfrm monitor"
    return options + (a_state(rng) if rng.random() < 0.5 else a_policy(rng))
