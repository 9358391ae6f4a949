"""An audit says of each SA what the modelled device does with it: each fate by hand, then all against the device."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from espsim.analysis.audit import WORKS, Audit, audit
from espsim.analysis.inventory import Inventory, parse_prefix, take_inventory
from espsim.analysis.summary import cells, summary
from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.core.verdict import DeviceOutcome, Surfacing
from espsim.offload.device import Device, PacketKey
from espsim.offload.model import load_model, parse_assumptions, shipped_models
from espsim.sad.association import Direction, Encap, Mark, Mode, SecurityAssociation
from espsim.text.scan import survey_file
from espsim.text.show import format_dump
from tests.support import gcm_sa

LINUX_V5, VPP, DPDK, IXGBE = "marvell-cn10k-linux-v5", "marvell-cn10k-vpp", "marvell-cn10k-dpdk", "intel-82599-linux"


def device_of(model: str, *assume: str) -> Device:
    loaded = load_model(model)
    return Device(loaded, parse_assumptions(loaded, assume or ("model",)))


def inventory_of(tmp_path: Path, *sas: SecurityAssociation, local: str | None = None, **options: Any) -> Inventory:
    """A dump that lists these, oldest first (so the dump has them the other way round)."""
    path = tmp_path / "dump"
    path.write_text("".join(format_dump(sa, **options) for sa in reversed(sas)))
    return take_inventory(survey_file(str(path)), [parse_prefix(local)] if local else [])


def sa(which: int, spi: int = 0x55, **options: Any) -> SecurityAssociation:
    options.setdefault("window", 64)
    return gcm_sa(f"1.1.1.{which}", f"9.9.9.{which}", spi, key_byte=0xA0 + which % 90, **options)


def fates(found: Audit) -> dict[str, int]:
    return {fate: n for fate, n in found.fates.items() if n}


def works(found: Audit) -> dict[str, int]:
    return {name: found.works[name] for name in WORKS if found.works[name]}


# -- the fates ----------------------------------------------------------------------------------------------------


def test_dpdk_refuses_the_second_and_its_packets_meet_the_first(tmp_path):
    found = audit(inventory_of(tmp_path, sa(1), sa(2)), device_of(DPDK))
    assert fates(found) == {"installed": 1, "collides": 1}
    (finding,) = found.findings
    assert (finding.sa, finding.other, finding.errno) == (0, 1, "EEXIST")  # the dump lists the newer one first
    assert (finding.outcome, finding.surfacing) == (DeviceOutcome.WRONG_SA, Surfacing.FLAGGED)
    assert found.places == [(0x55, 1)]
    assert found.collides


def test_vpp_overwrites_so_that_the_first_is_the_loser_and_nobody_says_so(tmp_path):
    inventory = inventory_of(tmp_path, sa(1), sa(2))
    found = audit(inventory, device_of(VPP))
    (finding,) = found.findings
    assert (finding.sa, finding.other, finding.fate, finding.errno) == (1, 0, "collides", None)
    (model,) = summary(inventory, [found])["models"]
    assert model["findings"][0]["silent"]
    assert "deleting either" in " ".join(model["advice"])


def test_linux_v5_keeps_the_first_and_marks_the_second_ones_packets_good(tmp_path):
    found = audit(inventory_of(tmp_path, sa(1, window=0), sa(2, window=0)), device_of(LINUX_V5))
    (finding,) = found.findings
    assert (finding.fate, finding.errno, finding.surfacing) == ("collides", None, Surfacing.SILENT)


def test_an_alias_and_the_spis_that_would_do(tmp_path):
    inventory = inventory_of(tmp_path, sa(1, 0x155), sa(2, 0x355), sa(3, 0x356))
    found = audit(inventory, device_of(DPDK))
    assert fates(found) == {"installed": 2, "aliases": 1}
    assert found.findings[0].outcome is DeviceOutcome.SA_MISMATCH
    sentences = " ".join(summary(inventory, [found])["models"][0]["advice"])
    assert "0x100-0x1ff" in sentences
    assert "2^9 slots" not in sentences  # 0x155 and 0x355 would differ in bit 9 only
    assert "2^10 slots" in sentences


def test_with_the_destination_in_the_key_one_spi_is_no_collision(tmp_path):
    found = audit(inventory_of(tmp_path, *(sa(n, mode=Mode.TRANSPORT, window=0) for n in (1, 2))), device_of(IXGBE))
    assert fates(found) == {"installed": 2}
    assert not found.collides


def test_no_room(tmp_path):
    sas = [sa(n % 250, n, mode=Mode.TRANSPORT, window=0) for n in range(0x100, 0x100 + 1030)]
    sas = [replace(s, dst=b"\x09\x09\x09" + bytes([n % 4])) for n, s in enumerate(sas)]
    found = audit(inventory_of(tmp_path, *sas), device_of(IXGBE))
    assert fates(found) == {"installed": 1024, "overflows": 6}
    assert {f.errno for f in found.findings} == {"ENOSPC"}
    assert not found.collides
    sas = [replace(s, dst=b"\x09\x09" + n.to_bytes(2)) for n, s in enumerate(sas[:130])]  # 128 addresses
    assert fates(audit(inventory_of(tmp_path, *sas), device_of(IXGBE))) == {"installed": 128, "overflows": 2}


def test_a_silent_overflow_of_the_hash(tmp_path):
    sas = [sa(1, n, window=0) for n in range(0x100, 0x100 + 2100)]
    found = audit(inventory_of(tmp_path, *sas), device_of(LINUX_V5))
    assert found.fates["overflows"] == 52  # the array behind has 2048 slots
    path = tmp_path / "small.toml"
    path.write_text(
        'schema = 1\nid = "small"\nextends = "marvell-cn10k-linux-v5"\n'
        '[[inbound.lookup]]\nkind = "hash"\nkey = ["spi"]\nindex = { fn = "vendor_hash" }\nways = 1\nsets = 4\n'
        'capacity = 4\nscope = "device"\nmulti_match = "impossible"\nmiss = "drop"\n'
        '[inbound.program]\nidentity = ["spi"]\nfull = { policy = "reject", errno = "ENOMEM", hash = "silent" }\n'
    )
    inventory = inventory_of(tmp_path, *sas[:40])
    found = audit(inventory, device_of(str(path)))
    assert fates(found) == {"installed": 4, "overflows": 36}
    (traffic,) = [t for t in summary(inventory, [found])["models"][0]["traffic"] if t["fate"] == "overflows"]
    assert (traffic["add"], traffic["outcome"], traffic["surfacing"], traffic["silent"]) == (
        "0", "DROPPED", "DEVICE_DROP", True)  # fmt: skip


def test_packets_of_sas_that_are_not_there_meet_what_the_driver_has_set_up_for_them(tmp_path):
    """The driver took an SA that the hash has no room for: its packets are steered there, a refused SA's are not."""
    path = tmp_path / "small.toml"
    path.write_text(
        'schema = 1\nid = "small"\nextends = "marvell-cn10k-linux-v5"\n'
        '[[inbound.lookup]]\nkind = "hash"\nkey = ["spi"]\nindex = { fn = "vendor_hash" }\nways = 1\nsets = 4\n'
        'capacity = 4\nscope = "device"\nmulti_match = "impossible"\nmiss = "drop"\n'
        '[inbound.program]\nidentity = ["spi"]\nfull = { policy = "reject", errno = "ENOMEM", hash = "silent" }\n'
    )
    sas = [sa(1, n, window=64, flags=frozenset({"esn"} if n % 2 else ())) for n in range(0x100, 0x130)]
    inventory, device = inventory_of(tmp_path, *sas), device_of(str(path))
    found = audit(inventory, device)
    assert fates(found) == {"installed": 4, "overflows": 20, "refused": 24}
    met = {(row.fate, row.outcome, row.surfacing) for row in found.traffic}
    assert met == {
        ("installed", DeviceOutcome.HIT, Surfacing.NONE),
        ("overflows", DeviceOutcome.DROPPED, Surfacing.DEVICE_DROP),
        ("refused", DeviceOutcome.MISS, Surfacing.NONE),
    }


def test_refusals_name_the_limit_and_the_first_sa(tmp_path):
    inventory = inventory_of(
        tmp_path, sa(1), sa(2, flags=frozenset({"esn"})), sa(3, 0x77, window=32), sa(4, 0x78, window=32)
    )
    found = audit(inventory, device_of(VPP))
    assert [(r.errno, r.sas, r.first) for r in found.refused] == [("EINVAL", 2, 0)]
    assert "window of 32" in found.refused[0].why
    found = audit(inventory_of(tmp_path, sa(1, 0x9999)), device_of(VPP))
    assert "outside the driver's range, 0x0 to 0x2000" in found.refused[0].why
    sas = [sa(n, n, encap=Encap("espinudp", 4500, port, bytes(4))) for n, port in ((1, 4500), (2, 4501))]
    assert fates(audit(inventory_of(tmp_path, *sas), device_of(VPP))) == {"installed": 1, "refused": 1}


def test_a_refused_sas_packets_can_still_meet_another(tmp_path):
    found = audit(inventory_of(tmp_path, sa(1), sa(2, window=32)), device_of(DPDK))
    assert fates(found) == {"installed": 1, "refused": 1}
    assert found.findings[0].outcome is DeviceOutcome.WRONG_SA
    assert found.collides


def test_what_is_not_public_stops_nothing(tmp_path):
    one = sa(1, 7, mode=Mode.TRANSPORT, window=0)
    inventory = inventory_of(tmp_path, one, replace(one, mark=Mark(1, 1)))  # twice the same key for this device
    found = audit(inventory, Device(load_model(IXGBE)))
    assert (works(found), fates(found)) == ({"unknown": 2}, {"unknown": 2})
    assert found.unknown == {"inbound.lookup.0.multi_match": [2, 0]}
    (row,) = summary(inventory, [found])["models"][0]["unknown_keys"]
    assert row["assume"] == "--assume inbound.lookup.0.multi_match=lowest_index"
    found = audit(inventory, device_of(IXGBE))
    assert fates(found) == {"installed": 1, "collides": 1}
    assert found.findings[0].outcome is DeviceOutcome.SHADOWED


def test_each_sa_that_fares_alike_counts_what_is_not_public(tmp_path):
    model = tmp_path / "mine.toml"
    text = f'schema = 1\nid = "mine"\nextends = "{DPDK}"\n[inbound.verify]\non_invalid = "unknown"\n'
    model.write_text(text + '[[inbound.lookup]]\nkind = "direct"\nkey = ["spi"]\n'
                     'index = { fn = "mask", bits = 8, subtract_min = false }\ncapacity = 256\nscope = "device"\n'
                     'multi_match = "impossible"\nmiss = "unknown"\n')  # fmt: skip
    refused = (sa(n, 0x100 + n, window=32) for n in range(1, 5))
    found = audit(inventory_of(tmp_path, sa(9, 0x90), *refused), Device(load_model(str(model))))
    assert works(found) == {"hardware": 1, "unknown": 4}
    assert [count for count, _ in found.unknown.values()] == [4]
    assert [finding.sa for finding in found.findings] == [0, 1, 2, 3]


def test_sas_of_one_form_that_are_refused_for_two_reasons_are_counted_apart(tmp_path):
    """The form of an SA does not include SPI and ports."""
    encap = Encap("espinudp", 4500, 4500, bytes(4))
    refused = [(0x9999, 4500), (0x31, 4501), (0x9998, 4500), (0x32, 4501), (0x33, 4501)]
    sas = [sa(n, spi, encap=replace(encap, dport=port)) for n, (spi, port) in enumerate(refused, 1)]
    model = tmp_path / "mine.toml"
    text = f'schema = 1\nid = "mine"\nextends = "{VPP}"\n[inbound.program]\n'
    model.write_text(text + 'spi_range = { min = 0, max = 8192, outside = "reject", errno = "EINVAL" }\n')
    found = audit(inventory_of(tmp_path, *sas), device_of(str(model)))
    assert {r.errno for r in found.refused} == {"EINVAL"}
    assert [(r.sas, r.lost) for r in found.refused] == [(3, 3), (2, 2)]


# -- which SAs are inbound ----------------------------------------------------------------------------------------


def test_inbound_is_said_by_dir_or_by_the_hosts_own_addresses(tmp_path):
    sas = [sa(1), sa(2, dir=Direction.OUT), sa(3, dir=Direction.IN), sa(4, 0x56)]
    inventory = inventory_of(tmp_path, *sas)
    assert [inventory.survey.name(i) for i in inventory.offered] == [
        "0x00000055@9.9.9.1", "0x00000055@9.9.9.3", "0x00000056@9.9.9.4"]  # fmt: skip
    assert (inventory.outbound, inventory.undirected) == (1, 2)
    inventory = inventory_of(tmp_path, *sas, local="9.9.9.4/30")
    assert [inventory.survey.name(i) for i in inventory.offered] == ["0x00000055@9.9.9.3", "0x00000056@9.9.9.4"]
    assert (inventory.outbound, inventory.undirected) == (2, 0)


def test_ah_ipcomp_and_larval_states_are_counted_and_not_offered(tmp_path):
    path = tmp_path / "dump"
    head = "src 1.1.1.1 dst 9.9.9.9\n\tproto {} spi 0x00000{}07 reqid 0 mode tunnel\n\treplay-window 0\n"
    tail = "\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n\tsel src 0.0.0.0/0 dst 0.0.0.0/0\n"
    path.write_text(
        head.format("ah", 1) + f"\tauth-trunc hmac(sha1) 0x{'ab' * 20} 96\n" + tail
        + head.format("comp", 0) + "\tcomp deflate\n" + tail + head.format("4", 3) + tail
        + head.format("esp", 4) + tail + format_dump(sa(1))
    )  # fmt: skip
    inventory = take_inventory(survey_file(str(path)))
    assert dict(inventory.left_out) == {"ah": 1, "comp": 1, "protocol 4": 1, "larval": 1}
    assert len(inventory.offered) == 1


@pytest.mark.parametrize("text", ["x", "1.1.1.1/33", "1.1.1"])
def test_bad_prefixes(text):
    with pytest.raises(InputError, match="--local"):
        parse_prefix(text)


# -- hidden keys --------------------------------------------------------------------------------------------------


def test_hidden_keys_are_taken_for_the_shortest_that_the_driver_takes(tmp_path):
    for model, sizes in ((DPDK, None), ("nvidia-mlx5-linux-packet", "192")):
        found = audit(inventory_of(tmp_path, sa(1), nokeys=True), device_of(model))
        assert fates(found) == {"installed": 1}
        assert (found.hidden == []) == (sizes is None)
        assert sizes is None or f"128 bits are assumed, {sizes} would be refused" in found.hidden[0]
    cbc = tmp_path / "cbc"
    cbc.write_text(
        "src 1.1.1.1 dst 9.9.9.9\n\tproto esp spi 0x00000107 reqid 0 mode tunnel\n\treplay-window 32\n"
        "\tauth-trunc hmac(sha256) <<Keys hidden>> 128\n\tenc cbc(aes) <<Keys hidden>>\n"
        "\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n"
    )
    found = audit(take_inventory(survey_file(str(cbc))), device_of("nvidia-mlx5-linux-packet"))
    assert found.refused[0].why == "aes-cbc+hmac is not offloaded, only aes-gcm"


# -- against the device -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", shipped_models())
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
def test_every_answer_is_the_devices_own(tmp_path, model, seed):
    """No short cut changes an answer: each SA's packet is sent again, to a device of our own."""
    rng = random.Random(seed)
    sas = {}
    for n in range(400):
        window = rng.choice([0, 32, 64])
        flags = frozenset({"esn"} if window and rng.random() < 0.1 else ())
        one = sa(n % 200, rng.randrange(0x100, 0x400), window=window, mode=rng.choice([Mode.TUNNEL, Mode.TRANSPORT]))
        one = replace(one, dst=bytes([9, 9, 9, rng.randrange(4)]), flags=flags)
        if rng.random() < 0.1:
            one = replace(one, encap=Encap("espinudp", 4500, rng.choice([4500, 9]), bytes(4)))
        sas[one.triple] = one
    inventory = inventory_of(tmp_path, *sas.values())
    found = audit(inventory, device_of(model), most=1000)
    assert sum(found.works.values()) == sum(found.fates.values()) == len(inventory.offered)
    if found.unknown:
        return  # test_audit_agrees.py has what is not public and no model suggests
    device, survey = device_of(model), inventory.survey
    answers = {}
    makers = [survey.maker(template.sa) for template in survey.templates]
    for index in inventory.offered:
        answers[index] = device.add(index, makers[survey.template[index]](index)).errno
    wrong = {finding.sa: finding for finding in found.findings}
    for index in inventory.offered:
        one = makers[survey.template[index]](index)
        ports = (one.encap.sport, one.encap.dport) if one.encap else None
        answer = device.lookup(PacketKey(one.src, one.dst, one.spi, udp_ports=ports))
        own = answer.sa_index == index
        if index not in wrong:
            assert answers[index] is None
            assert own or answer.sa_index == -1
            continue
        finding = wrong[index]
        assert finding.errno == answers[index]
        assert finding.other == (-1 if own else answer.sa_index)
        if finding.fate in ("collides", "aliases") and finding.other >= 0:
            assert (survey.spi[finding.other] == one.spi) == (finding.fate == "collides")
    assert len(found.places) == device.counts().written


def test_the_drawing_has_every_written_slot(tmp_path):
    inventory = inventory_of(tmp_path, sa(1, 0x110), sa(2, 0x210), sa(3, 0x111))
    found = audit(inventory, device_of(DPDK))
    drawn = cells(found)
    assert (drawn.size, drawn.per_cell, sum(drawn.used), sum(drawn.wanted)) == (256, 1, 2, 1)
    assert (drawn.used[0x10], drawn.used[0x11], drawn.wanted[0x10]) == (1, 1, 1)
    drawn = cells(found, most=100)
    assert (drawn.per_cell, len(drawn.used), drawn.used[0x10 // 3] + drawn.used[0x11 // 3]) == (3, 86, 4)


# -- the command --------------------------------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def a_dump(tmp_path: Path, *sas: SecurityAssociation, **options: Any) -> Path:
    path = tmp_path / "dump"
    path.write_text("".join(format_dump(one, **options) for one in sas))
    return path


@pytest.mark.parametrize("options", [{}, {"stats": True}, {"nokeys": True}])
def test_all_three_outputs_agree_and_no_key_is_in_any(tmp_path, options):
    dump, page = a_dump(tmp_path, sa(1), sa(2), sa(3, 0x99), **options), tmp_path / "page.html"
    text = run("audit", dump, "--model", VPP, "--model", DPDK, "--html", page)
    machine = run("audit", dump, "--model", VPP, "--model", DPDK, "--json")
    assert (text.exit_code, machine.exit_code) == (1, 1)
    result = json.loads(machine.stdout)
    assert [model["model"] for model in result["models"]] == [VPP, DPDK]
    assert result["models"][1]["fates"] == {
        "installed": 2, "collides": 1, "aliases": 0, "overflows": 0, "refused": 0}  # fmt: skip
    html = page.read_text()
    for output in (text.stdout, machine.stdout, html):
        assert "0x00000055@9.9.9.1" in output
        for byte in ("a1", "a2", "a3"):
            assert byte * 4 not in output.lower()
    assert html.count("<rect") == 4
    assert not re.search(r"(?:src|href)=|url\(|@import|<script|https?:", html)


def test_exit_status_0_where_nothing_collides(tmp_path):
    result = run("audit", a_dump(tmp_path, sa(1), sa(2, 0x56)), "--model", DPDK)
    assert result.exit_code == 0, result.output
    assert "state no direction" in result.stdout


def test_at_most_so_many_are_named_and_all_are_counted(tmp_path):
    dump = a_dump(tmp_path, *(sa(n) for n in range(30)))
    result = json.loads(run("audit", dump, "--model", DPDK, "--json", "--list", 4).stdout)
    (model,) = result["models"]
    assert (len(model["findings"]), model["findings_left_out"]) == (4, {"collides": 25})
    assert result["shared_spis"] == 1


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "name a device"),
        (["--model", "nobody"], "no such model"),
        (["--model", "x520"], "intel-82599-linux (linux ixgbe, mode transport"),
        (["--model", DPDK, "--local", "x"], "--local"),
        (["--model", DPDK, "--assume", "x"], "--assume"),
        (["--model", DPDK, "--html", "/nowhere/x.html"], "cannot be written"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, arguments, what):
    result = run("audit", a_dump(tmp_path, sa(1)), *arguments)
    assert isinstance(result.exception, InputError)
    assert what in str(result.exception)


def test_spi_prints_what_it_says_as_json():
    options = ("spi", "--sas", 80, "--range", "500-5000", "--model", LINUX_V5)
    text, machine = run(*options), run(*options, "--json")
    assert (text.exit_code, machine.exit_code) == (0, 0)
    result = json.loads(machine.stdout)
    assert result["chances"]["duplicate"]["chance"] == pytest.approx(0.5065, abs=1e-4)
    assert result["duplicates_at"] == [{"chance": 0.01, "sas": 11}, {"chance": 0.5, "sas": 80}]
    assert "50.65 %" in text.stdout
    assert "1% at 11, 50% at 80" in text.stdout


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_spi_draws_the_curve(tmp_path, ending):
    pytest.importorskip("matplotlib")
    paths = [tmp_path / f"{n}.{ending}" for n in (1, 2)]
    for path in paths:
        done = run("spi", "--sas", 8, "--range", "0-999", "--model", DPDK, "--plot", path)
        assert done.exit_code == 0, done.output
    assert paths[0].read_bytes().startswith({"png": b"\x89PNG", "svg": b"<?xml"}[ending])
    if ending == "png":
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert {p.name for p in tmp_path.iterdir()} == {p.name for p in paths}


def test_without_matplotlib_a_sentence_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.backends.backend_agg", None)
    done = run("spi", "--sas", 8, "--range", "0-999", "--model", DPDK, "--plot", tmp_path / "x.png")
    assert isinstance(done.exception, InputError)
    assert "pip install 'espsim[plot]'" in str(done.exception)
    assert list(tmp_path.iterdir()) == []
    done = run("spi", "--sas", 8, "--range", "0-999", "--model", DPDK, "--plot", tmp_path / "x.gif")
    assert "png or .svg" in str(done.exception)
