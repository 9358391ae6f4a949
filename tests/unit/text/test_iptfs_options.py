"""The options of IPTFS, read as newer iproute2 writes them, and written for an `add` line."""

from __future__ import annotations

import pytest

from espsim.core.errors import InputError
from espsim.sad.association import IPTFS_DEFAULTS, IptfsOptions, Mode
from espsim.text.parse import parse_sad
from espsim.text.show import format_dump, format_sa_line
from tests.support import VECTORS

ID = "src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001"
KEY = "aead rfc4106(gcm(aes)) 0x" + "07" * 20 + " 128"


def sa_of(words: str):
    (found,) = parse_sad(f"{ID} {words} {KEY}\n").sas
    return found.sa


@pytest.mark.parametrize(("words", "options"), [
    ("mode iptfs", None),
    ("mode 5", None),
    ("mode iptfs iptfs-opts drop-time 5 reorder-window 0", IptfsOptions(5, 0)),
    ("mode iptfs dir out iptfs-opts { dont-frag init-delay 200000 max-queue-size 0x100 pkt-size 300 }",
     IptfsOptions(init_delay=200_000, max_qsize=256, pkt_size=300, dont_frag=True)),
])  # fmt: skip
def test_what_is_said_and_said_again(words, options):
    sa = sa_of(words)
    assert (sa.mode, sa.iptfs) == (Mode.IPTFS, options)
    assert sa.keys is not None
    (again,) = parse_sad(format_sa_line(sa)).sas
    assert again.sa == sa


def test_defaults_are_linuxes():
    assert sa_of("mode iptfs").aggregation == IPTFS_DEFAULTS == IptfsOptions(1_000_000, 3, 0, 10_485_760, 0, False)


def test_a_dump_has_the_number_as_iproute2_7_3_prints_it():
    printed = format_dump(sa_of("mode iptfs iptfs-opts drop-time 5"))
    assert " mode 5\n" in printed
    assert "iptfs" not in printed
    (again,) = parse_sad(printed).sas
    assert again.sa.mode is Mode.IPTFS


def test_a_dump_of_a_newer_iproute2():
    out, into = (found.sa for found in parse_sad((VECTORS / "cases" / "c04-iptfs.txt").read_text()).sas)
    assert out.iptfs == IptfsOptions(dont_frag=True)
    assert into.iptfs == IptfsOptions(drop_time=3)


@pytest.mark.parametrize(("words", "why"), [
    ("mode iptfs iptfs-opts drop-time 1 drop-time 2", "drop-time is given twice"),
    ("mode iptfs iptfs-opts reorder-window 65536", "reorder-window 65536 is not in 0 to 65535"),
    ("mode iptfs iptfs-opts pkt-size many", "the value of pkt-size is not a number"),
    ("mode iptfs iptfs-opts dont-frag iptfs-opts dont-frag", "iptfs-opts is given twice in one SA"),
    ("mode tunnel iptfs-opts dont-frag", "options of IPTFS can only be used in mode iptfs"),
    ("mode iptfs iptfs-opts pkt-size 40",
     "pkt-size 40 leaves no room: it must be 0, or more than the headers' 40 bytes"),
    ("mode iptfs tfcpad 100", "TFC padding can only be used in tunnel mode"),
])  # fmt: skip
def test_refused(words, why):
    with pytest.raises(InputError, match=f"^line 1: {why}$"):
        sa_of(words)
