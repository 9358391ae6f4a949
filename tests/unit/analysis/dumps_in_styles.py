"""The same 60 SAs of a gateway, 30 peers and both directions, as four key managers leave them in `ip xfrm state`."""

from __future__ import annotations

from collections.abc import Callable

GATEWAY = "192.0.2.1"
PEERS = 30
_LEGACY = "\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n"
_ANY = "\tsel src 0.0.0.0/0 dst 0.0.0.0/0 \n"


def _key(number: int, size: int) -> str:
    return "0x" + f"{number:02x}" * size


def libreswan(src: str, dst: str, number: int, inbound: bool) -> str:
    """AES-256-GCM with ESN, a window of 128, `dir` as of Linux 6.10, the newest lines of iproute2."""
    window = 128 if inbound else 1
    words = (window + 31) // 32
    return (
        f"src {src} dst {dst}\n\tproto esp spi 0x{0x64B50000 + number * 7919:08x} reqid {16389 + number // 2 * 4}"
        " mode tunnel\n\treplay-window 0 flag af-unspec esn\n"
        f"\taead rfc4106(gcm(aes)) {_key(number, 36)} 128\n\tlastused 2024-08-29 09:30:00\n"
        "\tanti-replay esn context:\n\t seq-hi 0x0, seq 0x0, oseq-hi 0x0, oseq 0xb\n"
        f"\t replay_window {window}, bitmap-length {words}\n\t {' '.join(['00000000'] * words)} \n"
        f"\tdir {'in' if inbound else 'out'}\n"
    )


def strongswan(src: str, dst: str, number: int, inbound: bool) -> str:
    """A window of 32 inbound; each third peer behind NAT, each fifth with AES-CBC and HMAC."""
    suite = f"\taead rfc4106(gcm(aes)) {_key(number, 20)} 128\n"
    if number // 2 % 5 == 4:
        suite = f"\tauth-trunc hmac(sha256) {_key(number, 32)} 128\n\tenc cbc(aes) {_key(number, 16)}\n"
    port = 1024 + number // 2 * 13
    sport, dport = (port, 4500) if inbound else (4500, port)
    nat = f"\tencap type espinudp sport {sport} dport {dport} addr 0.0.0.0\n" if number // 2 % 3 == 2 else ""
    return (
        f"src {src} dst {dst}\n\tproto esp spi 0x{0xC0000000 + number * 7919:08x} reqid {1 + number // 2} mode tunnel\n"
        f"\treplay-window {32 if inbound else 0} flag af-unspec\n{suite}{nat}{_LEGACY}"
    )


def cilium(src: str, dst: str, number: int, inbound: bool) -> str:
    """One SPI and one reqid for all nodes, a mark for each, keys shown as hashes."""
    mark = f"0x{number // 2 + 1:x}{'0d00/0xffff0f00' if inbound else '3e00/0xffffff00'}"
    return (
        f"src {src} dst {dst}\n\tproto esp spi 0x00000003 reqid 1 mode tunnel\n\treplay-window 0 \n"
        f"\tmark {mark} output-mark 0xd00/0xffffff00\n\taead rfc4106(gcm(aes)) [hash:{'11' * 32}] 128\n{_LEGACY}{_ANY}"
    )


def android(src: str, dst: str, number: int, inbound: bool) -> str:
    """A reqid for each SA, so that nothing pairs them; UDP between ports 4500; HMAC and CBC; a small window."""
    return (
        f"src {src} dst {dst}\n\tproto esp spi 0x{0x5A000000 + number * 104729:08x} reqid {100 + number} mode tunnel\n"
        f"\treplay-window 4 \n\tauth-trunc hmac(sha256) {_key(number, 32)} 128\n\tenc cbc(aes) {_key(number, 16)}\n"
        f"\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0\n{_LEGACY}{_ANY}"
    )


STYLES: dict[str, Callable[[str, str, int, bool], str]] = {
    "libreswan": libreswan, "strongswan": strongswan, "cilium": cilium, "android": android,
}  # fmt: skip


def dump(style: str) -> str:
    """All 60, each peer's two after another."""
    states = []
    for peer in range(PEERS):
        address = f"198.51.100.{peer + 1}"
        states.append(STYLES[style](address, GATEWAY, 2 * peer, True))
        states.append(STYLES[style](GATEWAY, address, 2 * peer + 1, False))
    return "".join(states)
