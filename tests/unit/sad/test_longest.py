"""RFC 4301 4.1: the longest match, in the SAD, in a library's table, and in both paths of decap."""

from __future__ import annotations

import json

from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from espsim.cli.main import main
from espsim.io.capture import CaptureWriter
from espsim.offload.device import Device, PacketKey
from espsim.offload.model import load_model
from espsim.sad.longest import AddressMatch, is_group, longest_match, match_of
from espsim.scenario.matrix import run_named
from espsim.text.parse import parse_sa_line
from tests.examples import examples

ANY = "0.0.0.0"  # noqa: S104 - an address of an SA, not of a socket
A, B, C = (bytes((192, 0, 2, n)) for n in (1, 2, 3))
ADDRESSES = st.sampled_from([A, B, C])
RULES = st.builds(AddressMatch, st.none() | ADDRESSES, st.none() | ADDRESSES)


def plainly(rules, src, dst):
    """As the RFC's list reads: 1. SPI, destination and source; 2. SPI and destination; 3. SPI only."""
    fits = [r for r in rules if r.dst in (None, dst) and r.src in (None, src)]
    lengths = [sum(part is not None for part in rule) for rule in fits]
    return [rule for rule, length in zip(fits, lengths, strict=True) if length == max(lengths)]


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(RULES, max_size=8), ADDRESSES, ADDRESSES)
def test_the_longest_rule_wins(rules, src, dst):
    assert longest_match([(rule, rule) for rule in rules], src, dst) == plainly(rules, src, dst)


def test_a_group_states_its_destination_and_perhaps_its_source():
    line = "src {} dst {} proto esp spi 0x100 mode transport aead rfc4106(gcm(aes)) 0x" + "11" * 20 + " 128"
    unicast = parse_sa_line(line.format("198.51.100.1", "192.0.2.1"))
    group = parse_sa_line(line.format(ANY, "232.1.1.1"))
    single = parse_sa_line(line.format("2001:db8::1", "ff3e::1"))
    assert match_of(unicast) == AddressMatch()
    assert match_of(group) == AddressMatch(group.dst)
    assert match_of(single) == AddressMatch(single.dst, single.src)
    assert not is_group(bytes((223, 255, 255, 255)))
    assert is_group(bytes((239, 0, 0, 1)))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), ADDRESSES, ADDRESSES), min_size=1, max_size=6),
    ADDRESSES,
    ADDRESSES,
)
def test_dpdks_library_looks_so_too(sas, src, dst):
    """An SA goes under the longest rule whose addresses it has; an equal rule takes the place of the one before."""
    device = Device(load_model("sw-dpdk-sad"), {"inbound.lookup.0.capacity": "memory"})
    rules: dict[AddressMatch, int] = {}
    for n, (with_src, with_dst, sa_src, sa_dst) in enumerate(sas):
        with_src = with_src and with_dst  # noqa: PLW2901 - there is no rule of a source alone
        line = (
            f"src {'.'.join(map(str, sa_src)) if with_src else ANY} dst"
            f" {'.'.join(map(str, sa_dst)) if with_dst else ANY} proto esp spi 0x100 mode tunnel"
            f" aead rfc4106(gcm(aes)) 0x{'11' * 20} 128"
        )
        assert device.add(n, parse_sa_line(line)).errno is None
        rules[AddressMatch(sa_dst if with_dst else None, sa_src if with_src else None)] = n
    found = longest_match(rules.items(), src, dst)
    assert device.lookup(PacketKey(src, dst, 0x100)).sa_index == (found[0] if found else -1)


def test_the_scenario():
    (answered,) = run_named(["multicast"])
    assert answered.ok
    triple, longest = answered.cells
    verdicts = [[p.verdict for p in cell.facts.packets for _ in range(p.count)] for cell in (triple, longest)]
    assert verdicts == [["DELIVERED"] * 4 + ["NO_SA"], ["DELIVERED"] * 3 + ["INTEGRITY", "DELIVERED"]]


def test_both_paths_of_decap(tmp_path):
    """The scenario's packets from a capture: the batch path asks row by row what the reference path asks."""
    sad, pcap = tmp_path / "sad.txt", tmp_path / "in.pcap"
    keys = ("11", "22", "33")
    ends = (("198.51.100.1", "192.0.2.1"), (ANY, "232.1.1.1"), ("198.51.100.7", "232.1.1.2"))
    sad.write_text(
        "".join(
            f"ip xfrm state add src {src} dst {dst} proto esp spi 0x5000 mode transport aead 'rfc4106(gcm(aes))'"
            f" 0x{key * 20} 128\n"
            for (src, dst), key in zip(ends, keys, strict=True)
        )
    )
    (answered,) = run_named(["multicast"], traced=True)
    with CaptureWriter(str(pcap)) as writer:
        for packet in answered.cells[1].traced or ():
            writer.write(packet.wire, 0)
        writer.commit()
    want = {"triple": {"DELIVERED": 4, "NO_SA": 1}, "longest": {"DELIVERED": 4, "INTEGRITY": 1}}
    for lookup, verdicts in want.items():
        for way in ((), ("--reference",)):
            args = ["decap", pcap, "--sad", sad, "-o", tmp_path / "o.pcap", "--lookup", lookup, "--json", *way]
            result = CliRunner().invoke(main, [*map(str, args)], catch_exceptions=False)
            assert json.loads(result.stdout)["verdicts"] == verdicts, (lookup, way)
