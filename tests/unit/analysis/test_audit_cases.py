"""What people paste, audited: the cases of tests/vectors/cases, and four key managers' dumps against every model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from espsim.analysis.audit import WORKS
from espsim.cli.main import main
from espsim.core.errors import InputError
from espsim.offload.model import shipped_models
from tests.support import VECTORS
from tests.unit.analysis.dumps_in_styles import GATEWAY, PEERS, STYLES, dump

CASES = VECTORS / "cases"
MLX5, IXGBE, DPDK, V5 = (
    "nvidia-mlx5-linux-packet", "intel-82599-linux", "marvell-cn10k-dpdk", "marvell-cn10k-linux-v5")  # fmt: skip


def run(*arguments: object, text: str | None = None) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)), input=text)


def audited(text: str, *options: object, model: str = MLX5, status: int = 0) -> dict[str, Any]:
    done = run("audit", "-", "--model", model, "--json", *options, text=text)
    assert done.exit_code == status, (done.output, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def state(
    src: str, dst: str, spi: int, *, reqid: int = 1, window: int = 32, more: str = "", mode: str = "tunnel"
) -> str:
    return (
        f"src {src} dst {dst}\n\tproto esp spi 0x{spi:08x} reqid {reqid} mode {mode}\n\treplay-window {window} \n{more}"
        f"\taead rfc4106(gcm(aes)) 0x{spi & 0xFF:02x}{'22' * 19} 128\n"
        "\tanti-replay context: seq 0x0, oseq 0x0, bitmap 0x00000000\n"
    )


def offload(direction: str, mode: str = "") -> str:
    return f"\tcrypto offload parameters: dev eth2 dir {direction}{' mode ' + mode if mode else ''}\n"


# -- the cases --------------------------------------------------------------------------------------------------------


def at(result: Any, path: str) -> Any:
    for part in path.split("."):
        result = result[int(part)] if part.isdigit() else result[part]
    return result


ASKED = [case for case in json.loads((CASES / "cases.json").read_text()) if case["run"][0] == "audit"]


@pytest.mark.parametrize("case", ASKED, ids=lambda case: case["id"])
def test_the_case_is_answered_right(case):
    words = [str(CASES / word[1:]) if word.startswith("@") else word for word in case["run"]]
    done = run(*words, "--json")
    assert "rc" not in case or done.exit_code == case["rc"], done.output
    result = json.loads(done.stdout)
    for path, value in case["json"].items():
        found = at(result, path)
        assert (len(found) == value["len"]) if isinstance(value, dict) else (found == value), (path, found)


def test_40_peers_behind_nat_are_one_reason_without_a_port():
    (model,) = json.loads(run("audit", CASES / "c13-natt-many.txt", "--model", IXGBE, "--json").stdout)["models"]
    (reason,) = model["refused"]
    assert (reason["sas"], reason["why"]) == (40, "encapsulation espinudp is not offloaded")


def test_a_refused_packet_mode_sa_is_lost_and_says_so():
    done = run("audit", CASES / "c19-packet-on-crypto-only.txt", "--model", IXGBE)
    assert done.exit_code == 1
    first = done.stdout.splitlines()[0]
    assert first == (
        f"{IXGBE}: of 1 inbound SA 0 work in hardware, 0 in software, 1 is lost, 0 meet a wrong SA, 0 are unknown"
    )
    assert "XfrmInNoStates" in done.stdout
    assert "say `offload crypto dev DEV`" in done.stdout


# -- four key managers ------------------------------------------------------------------------------------------------


SLOW = {"android", "cilium", "libreswan"}


@pytest.fixture(
    scope="module",
    params=[pytest.param(style, marks=[pytest.mark.long] if style in SLOW else []) for style in STYLES],
)
def in_style(request, tmp_path_factory) -> tuple[str, dict[str, Any], str]:
    """(style, JSON, text) of an audit against every shipped model."""
    path: Path = tmp_path_factory.mktemp("dumps") / request.param
    path.write_text(dump(request.param))
    models = [word for ident in shipped_models() for word in ("--model", ident)]
    machine, text = run("audit", path, *models, "--json"), run("audit", path, *models)
    assert machine.exit_code == text.exit_code
    assert machine.exit_code in (0, 1), (machine.output, machine.exception)
    return request.param, json.loads(machine.stdout), text.stdout


def test_no_model_stops_and_each_number_has_its_reason(in_style):
    style, result, text = in_style
    assert result["sas"] == 2 * PEERS
    assert result["inbound"] == (2 * PEERS if style == "android" else PEERS)
    assert [model["model"] for model in result["models"]] == shipped_models()
    for line, model in zip(text.splitlines(), result["models"], strict=False):
        assert line.startswith(f"{model['model']}: of {result['inbound']} inbound SAs ")
        assert sum(model[works] for works in WORKS) == result["inbound"]
        for works in WORKS:
            assert sum(row["sas"] for row in model["traffic"] if row["works"] == works) == model[works]
        assert sum(row["sas"] for row in model["refused"]) == model["fates"]["refused"]
        assert model["unknown"] <= sum(row["sas"] for row in model["unknown_keys"])
        assert all(row["why"] in text for row in model["refused"])
        assert all(row["key"] in text and row["assume"] in text for row in model["unknown_keys"])
        assert model["lost"] + model["wrong_sa"] <= result["lost"]
    assert result["lost"] == max(model["lost"] + model["wrong_sa"] for model in result["models"])


def test_what_says_the_direction(in_style):
    style, result, text = in_style
    ways = {way: n for way, n in result["directions"].items() if n}
    assert ways == {
        "libreswan": {"dir": 60}, "strongswan": {"pairs": 60}, "cilium": {"pairs": 60}, "android": {"none": 60},
    }[style]  # fmt: skip
    local = [own["address"] for own in result["local"]]
    assert local == ([GATEWAY] if style in ("strongswan", "cilium") else [])
    assert (f"{GATEWAY} is taken for this host's own" in text) == bool(local)
    assert result["inbound_undirected"] == (60 if style == "android" else 0)


NUMBERS = {  # hardware, software, lost, wrong_sa of some models, by hand
    ("libreswan", MLX5): (30, 0, 0, 0),
    ("libreswan", IXGBE): (0, 30, 0, 0),  # tunnel mode
    ("strongswan", MLX5): (16, 14, 0, 0),  # 10 with UDP in tunnel mode, 6 with CBC, 2 of them both
    ("strongswan", "sw-linux-xfrm"): (0, 30, 0, 0),
    ("strongswan", DPDK): (0, 0, 30, 0),  # a window of 32: none is taken, and all ESP is steered to empty slots
    ("cilium", MLX5): (30, 0, 0, 0),  # source and destination are in the key
    ("cilium", DPDK): (1, 0, 0, 29),  # one SPI is one slot
    ("cilium", V5): (1, 0, 0, 29),
    ("android", MLX5): (0, 60, 0, 0),
}


def test_the_numbers_by_hand(in_style):
    style, result, _ = in_style
    for model in result["models"]:
        expected = NUMBERS.get((style, model["model"]))
        if expected is not None:
            assert tuple(model[works] for works in WORKS[:4]) == expected, model["model"]


# -- direction --------------------------------------------------------------------------------------------------------

A, B, C, D = "192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2"


def directions(result: dict[str, Any]) -> tuple[int, int, int]:
    return result["inbound"], result["outbound"], result["inbound_undirected"]


def test_the_address_of_most_pairs_is_local_and_a_tie_is_none():
    pair = state(C, A, 0x101) + state(A, C, 0x102)
    assert directions(audited(pair)) == (2, 0, 2)
    two = pair + state(D, A, 0x103, reqid=2) + state(A, D, 0x104, reqid=2)
    found = audited(two)
    assert directions(found) == (2, 2, 0)
    (own,) = found["local"]
    assert own["address"] == A
    assert "in 2 pairs" in own["why"]
    assert "its peers in at most 1 each" in own["why"]
    other = two + state("203.0.113.1", "203.0.113.2", 0x105) + state("203.0.113.2", "203.0.113.1", 0x106)
    assert directions(audited(other)) == (4, 2, 2)  # the last pair is a tie: as if there were none


def test_two_local_addresses_each_with_its_peers():
    text = "".join(
        state(peer, own, 0x100 + n) + state(own, peer, 0x200 + n)
        for n, (own, peer) in enumerate([(A, C), (A, D), (A, "198.51.100.3"), (B, "203.0.113.1"), (B, "203.0.113.2")])
    )
    found = audited(text)
    assert directions(found) == (5, 5, 0)
    assert [own["address"] for own in found["local"]] == [A, B]


def test_another_reqid_is_no_pair_but_a_known_address_says_enough():
    two = "".join(state(peer, A, n) + state(A, peer, n + 1) for n, peer in ((0x101, C), (0x103, D)))
    left = state(A, "198.51.100.9", 0x105, reqid=77) + state("203.0.113.8", "203.0.113.9", 0x106, reqid=77)
    assert directions(audited(two + left)) == (3, 3, 1)


def test_dir_is_before_offload_and_both_before_local_and_pairs():
    text = state(C, A, 0x101, more=offload("in")) + state(A, C, 0x102, more=offload("out"))
    assert directions(audited(text)) == (1, 1, 0)
    assert audited(text)["directions"]["offload"] == 2
    assert directions(audited(text, "--local", C)) == (1, 1, 0)
    plain = state(C, A, 0x101) + state(A, C, 0x102)
    found = audited(plain, "--local", f"{C}/32")
    assert directions(found) == (1, 1, 0)
    assert found["local"] == [{"address": C, "why": "--local"}]


def test_a_dump_without_an_inbound_sa_is_answered_and_one_without_esp_is_not():
    out = state(A, C, 0x101, more=offload("out"))
    found = audited(out)
    assert (found["inbound"], found["outbound"], found["lost"], found["spi_range"]) == (0, 1, 0, None)
    assert "nothing to offer" in run("audit", "-", "--model", MLX5, text=out).stdout
    ah = out.replace("proto esp", "proto ah").replace("aead rfc4106(gcm(aes)) 0x01" + "22" * 19 + " 128",
                                                     "auth-trunc hmac(sha1) 0x" + "ab" * 20 + " 96")  # fmt: skip
    done = run("audit", "-", "--model", MLX5, text=ah.replace(offload("out"), ""))
    assert isinstance(done.exception, InputError)
    assert "no ESP SA" in str(done.exception)


# -- offload mode -----------------------------------------------------------------------------------------------------

MODES = [  # window, reqid, encapsulated; then what works in crypto and in packet mode on mlx5: lost, hardware
    (512, 1, False, "hardware", "lost"),
    (64, 0, False, "hardware", "lost"),
    (64, 1, True, "lost", "hardware"),
    (64, 1, False, "hardware", "hardware"),
]


@pytest.mark.parametrize(("window", "reqid", "natt", "crypto", "packet"), MODES)
def test_mlx5_judges_by_the_mode_of_the_sa(window, reqid, natt, crypto, packet):
    encap = "\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0\n" if natt else ""
    for mode, works in (("crypto", crypto), ("", crypto), ("packet", packet)):
        text = state(C, A, 0x101, reqid=reqid, window=window, mode="transport", more=encap + offload("in", mode))
        found = audited(text, status=int(works == "lost"))
        assert found["models"][0][works] == 1, (mode, found["models"][0])
    for word, works in (("crypto", crypto), ("packet", packet)):
        udp = "encap espinudp 4500 4500 0.0.0.0 " if natt else ""
        line = (
            f"ip xfrm state add src {C} dst {A} proto esp spi 0x101 reqid {reqid} mode transport replay-window {window}"
            f" aead 'rfc4106(gcm(aes))' 0x{'11' * 20} 128 {udp}offload {word} dev eth2 dir in\n"
        )
        assert audited(line, status=int(works == "lost"))["models"][0][works] == 1


def test_only_eopnotsupp_in_crypto_mode_stays_in_software():
    """marvell-cn10k-linux-mainline answers EOPNOTSUPP to whatever is inbound."""
    for mode, works in (("crypto", "software"), ("packet", "lost")):
        text = state(C, A, 0x101, more=offload("in", mode))
        found = audited(text, model="marvell-cn10k-linux-mainline", status=int(works == "lost"))
        assert found["models"][0][works] == 1
    what_if = audited(state(C, A, 0x101), model="marvell-cn10k-linux-mainline")
    assert what_if["models"][0]["software"] == 1


# -- what is lost, and what to do -------------------------------------------------------------------------------------


def advice(text: str, *, model: str = DPDK, status: int = 1) -> str:
    return " | ".join(audited(text, model=model, status=status)["models"][0]["advice"])


def test_refused_sas_of_a_device_that_takes_all_esp_are_lost():
    found = audited(state(C, A, 0x101, window=32), model=DPDK, status=1)
    (model,) = found["models"]
    assert (model["lost"], found["lost"], found["collision"]) == (1, 1, False)
    assert model["traffic"][0]["outcome"] == "EMPTY_SLOT"
    assert model["advice"][0].startswith("set replay-window 64 to 4096")


def test_a_collision_that_falls_back_to_software_is_a_finding_and_not_exit_status_1():
    text = state(C, A, 0x101, window=64) + state(D, B, 0x201, window=64)
    found = audited(text, model="marvell-cn9k-dpdk")
    (model,) = found["models"]
    assert (found["lost"], found["collision"], model["software"], model["fates"]["aliases"]) == (0, True, 1, 1)
    assert model["findings"][0]["fate"] == "aliases"


def test_advice_is_by_what_the_packets_meet():
    mark = "\tmark 0x{}/0xff\n"
    twice = state(C, A, 0x101, window=64, more=mark.format(1)) + state(C, A, 0x101, window=64, more=mark.format(2))
    assert "1 SA differs from another only by mark, which this device does not see: give each peer its own SPI" in (
        advice(twice, model=V5)
    )
    source = state(C, A, 0x101, window=64, more=mark.format(1)) + state(D, A, 0x101, window=64, more=mark.format(2))
    assert "only by source, which this device does not look at" in advice(source)
    both = state(C, A, 0x101, window=64) + state(C, B, 0x101, window=64)
    assert "one SPI may not serve two destinations" in advice(both)
    assert "give --assume inbound.lookup.0.multi_match=lowest_index" in advice(
        state(C, A, 7, mode="transport", more=mark.format(1)) + state(C, A, 7, mode="transport", more=mark.format(2)),
        model=IXGBE, status=0,
    )  # fmt: skip
    encap = "\tencap type espinudp sport 4500 dport 4500 addr 0.0.0.0\n"
    assert "until then they work in software" in advice(
        state(C, A, 7, mode="transport", more=encap), model=IXGBE, status=0
    )


def test_the_worst_comes_first():
    text = state(C, A, 0x301, window=64) + state(D, B, 0x101, window=64) + state(C, A, 0x102, window=32)
    (model,) = audited(text, model=DPDK, status=1)["models"]
    assert [row["works"] for row in model["traffic"]] == ["lost", "lost", "hardware"]
    assert [finding["works"] for finding in model["findings"]] == ["lost", "lost"]


def test_the_odds_are_printed_where_they_are_asked_for_and_nothing_is_minus_0():
    text = state(C, A, 0x101, window=64)
    plain, more = (run("audit", "-", "--model", DPDK, *option, text=text).stdout for option in ([], ["--odds"]))
    assert "drawn anew" not in plain
    assert more.startswith(plain)
    assert "drawn anew" in more
    machine = run("audit", "-", "--model", DPDK, "--json", text=text).stdout
    assert json.loads(machine)["odds"][0]["duplicate_unchecked"] == 0
    assert "-0" not in machine.replace("e-0", "")
    assert " -0" not in more


def test_a_page_has_the_same_first_line(tmp_path):
    page = tmp_path / "page.html"
    done = run("audit", "-", "--model", DPDK, "--html", page, text=state(C, A, 0x101, window=32))
    assert done.stdout.splitlines()[0] in page.read_text()
    assert "1 does not work" in page.read_text()


def test_a_device_by_its_name_and_the_ids_that_fit():
    done = run("audit", "-", "--model", "connectx-7", text=state(C, A, 0x101))
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{MLX5}: of 1 inbound SA ")
    assert f"connectx-7: using {MLX5}, the model of NVIDIA ConnectX-6 Dx / 7" in done.stderr
    several = run("audit", "-", "--model", "x520", text=state(C, A, 0x101))
    assert isinstance(several.exception, InputError)
    assert "intel-82599-dpdk (dpdk ixgbe" in str(several.exception)
