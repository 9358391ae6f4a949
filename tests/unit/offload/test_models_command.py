"""`espsim models`: lists, datasheets, checks; text that survives a pipe, JSON, and one line for an error."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
from click.testing import CliRunner

from espsim.cli.models import models
from espsim.core.errors import InputError, UnknownReached
from espsim.offload.caps import need
from espsim.offload.model import find_models, load_model, parse_assumptions, shipped_folder, shipped_models


def run(*arguments: str) -> str:
    result = CliRunner().invoke(models, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_is_whole_in_a_pipe():
    text = run()
    for name in shipped_models():
        assert sum(line.startswith(f"{name} ") for line in text.splitlines()) == 1
    assert "ipver, src, dst, proto, spi, frag0" in text
    assert "…" not in text
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_the_list_as_json():
    rows = {row["id"]: row for row in json.loads(run("--json"))["models"]}
    assert set(rows) == set(shipped_models())
    v5 = rows["marvell-cn10k-linux-v5"]
    assert (v5["table"], v5["capacity"], v5["duplicate"]) == ("hash -> direct", [8192, 2048], "keep_first")
    assert v5["key"] == ["spi", "match_id", "lf"]
    assert v5["icv_fail"] == "ignored"


def test_a_datasheet_says_each_value_and_its_source():
    text = run("show", "marvell-cn10k-vpp")
    row = next(line for line in text.splitlines() if "inbound.result.sa_ref_on_fail" in line)
    assert row.split()[1] == "true"
    assert "cn10k_rx.h:450-535" in row
    assert "marvell-cn10k-dpdk.toml:" in row
    sheet = json.loads(run("show", "intel-82599-linux", "--json"))
    assert sheet["values"]["inbound.lookup.0.capacity"]["value"] == 1024
    assert "ixgbe_ipsec.h" in sheet["values"]["inbound.lookup.0.capacity"]["source"]
    assert sheet["unknown"] == ["inbound.lookup.0.multi_match"]
    assert sheet["suggested"] == {"inbound.lookup.0.multi_match": "lowest_index"}
    assert sheet["perf"][0]["gbps"] == 10.0


def test_check_says_ok_or_where_it_is_wrong(tmp_path):
    shipped = [str(shipped_folder() / f"{name}.toml") for name in shipped_models()]
    text = run("check", *shipped)
    assert [line.split(": ")[1][:3] for line in text.splitlines()] == ["ok,"] * len(shipped)
    assert [f["ok"] for f in json.loads(run("check", *shipped, "--json"))["files"]] == [True] * len(shipped)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(
        'schema = 1\nid = "wrong"\nextends = "sw-linux-xfrm"\n[caps]\nesn = 2\nmods = ["tunnel"]\n'
        '[inbound.program]\nslot = "last"\n[assume]\n"caps.esn" = true\n'
    )
    result = CliRunner().invoke(models, ["check", shipped[0], str(wrong)])
    assert result.exit_code == 2
    assert [line.partition("wrong.toml:")[2] for line in result.stderr.splitlines()] == [
        "5: caps.esn: 2 is not legal; legal: true, false, unknown",
        "6: caps.mods: no such key; known: offload, dirs, modes, encap, encap_modes, esn, reqid, replay, algs,"
        " lifetime, crypto, packet; did you mean modes?",
        '8: inbound.program.slot: "last" is not legal; legal: from_index, first_free, firmware, spi_low24, unknown',
    ]
    assert f"{shipped[0]}: ok" in result.stdout
    report = json.loads(CliRunner().invoke(models, ["check", str(wrong), "--json"]).stdout)
    assert [error["line"] for error in report["files"][0]["errors"]] == [5, 6, 8]


def test_two_files_of_one_id_are_not_ok(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.toml").write_text('schema = 1\nid = "one"\nextends = "sw-linux-xfrm"\n')
    result = CliRunner().invoke(models, ["check", str(tmp_path / "a.toml"), str(tmp_path / "b.toml")])
    assert result.exit_code == 2
    assert "one is the id of" in result.stderr


FOUND = [
    ("x520", ["intel-82599-dpdk", "intel-82599-linux"]),
    ("Intel X540-T2", ["intel-82599-dpdk", "intel-82599-linux"]),
    ("ConnectX-6 Dx", ["nvidia-mlx5-linux-packet"]),
    ("connectx-7", ["nvidia-mlx5-linux-packet"]),
    ("BlueField-3", ["nvidia-mlx5-linux-packet"]),
    ("mount evans", ["intel-es2k-ipdk"]),
    ("cn20k", ["marvell-cn10k-vpp", "marvell-cn20k-dpdk"]),
]


@pytest.mark.parametrize(("name", "idents"), FOUND)
def test_a_device_is_found_by_its_names(name, idents):
    found = json.loads(run("find", *name.split(), "--json"))
    assert [model["id"] for model in found["models"]] == idents
    text = run("find", name)
    assert all(ident in text for ident in idents)


def test_what_fits_is_told_apart():
    found = json.loads(run("find", "OCTEON 10", "--json"))
    assert len(found["models"]) == 8
    assert found["differ"]["caps.offload"]["marvell-cn10k-linux-mainline"] == ["crypto"]
    assert "dpdk cnxk, custom_sa_act=1, ALG4" in run("find", "octeon10")
    nothing = CliRunner().invoke(models, ["find", "conectx"])
    assert nothing.exit_code == 1
    assert "did you mean ConnectX-7" in nothing.stdout


def test_every_device_has_names_that_find_it():
    for ident in shipped_models():
        for name in load_model(ident).spec.device.aliases:
            assert ident in [model.id for model in find_models(name)], (ident, name)


def test_a_name_that_one_model_has_is_that_model_and_others_are_told_apart():
    assert load_model("connectx-7").id == "nvidia-mlx5-linux-packet"
    with pytest.raises(InputError, match=r"X550: 2 models .*-dpdk \(dpdk ixgbe, .*; intel-82599-linux \(linux"):
        load_model("X550")
    with pytest.raises(InputError, match=r"intel-82599-linx: no such model; did you mean intel-82599-linux\?"):
        load_model("intel-82599-linx")


@pytest.mark.parametrize("like", shipped_models())
def test_a_new_model_is_the_one_it_is_like_until_it_is_edited(tmp_path, like):
    path = tmp_path / "mine.toml"
    assert f"{path}: written" in run("new", "mine", "--like", like, "-o", str(path))
    mine, other = load_model(str(path)), load_model(like)
    assert mine.spec.model_copy(update={"id": like, "extends": None, "perf": other.spec.perf}) == other.spec.model_copy(
        update={"extends": None}
    )
    text = path.read_text()
    for table in ("device", "caps", "inbound.classify", "inbound.program", "outbound"):
        assert f"[{table}]" in text


def test_uncommented_a_new_model_is_whole(tmp_path):
    """Every commented value is TOML that the schema takes, and states what the other model says."""
    text = run("new", "mine", "--like", "nvidia-mlx5-linux-packet", "-o", "-")
    head, _, rest = text.partition("\n\n")
    lines = [line.removeprefix("# ") for line in rest.splitlines() if not line.startswith("# Lookups are")]
    path = tmp_path / "mine.toml"
    path.write_text(f"{head}\n\n" + "\n".join(lines))
    mine, other = load_model(str(path)), load_model("nvidia-mlx5-linux-packet")
    assert (mine.spec.caps, mine.spec.inbound, mine.spec.outbound) == (
        other.spec.caps, other.spec.inbound, other.spec.outbound)  # fmt: skip


def test_new_refuses_what_is_there(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("")
    for arguments, what in (
        (["mine", "--like", "unknown-nic", "-o", str(path)], "exists already"),
        (["Mine Own", "--like", "unknown-nic"], "small letters"),
        (["unknown-nic", "--like", "unknown-nic"], "shipped model"),
    ):
        with pytest.raises(InputError, match=what):
            run("new", *arguments)
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("caps.encap=udp4500", ["udp4500"]),
        ("caps.encap=none,udp4500", ["none", "udp4500"]),
        ('caps.encap=["none", "udp"]', ["none", "udp"]),
    ],
)
def test_lists_are_assumed_by_commas(text, taken):
    model = load_model("marvell-cn10k-linux-v5")
    assert model.assuming(parse_assumptions(model, [text])).spec.caps.encap == taken


def test_lists_of_numbers_too():
    model = load_model("marvell-cn10k-dpdk")
    for text, taken in (("128", [128]), ("128,256", [128, 256])):
        found = model.assuming(parse_assumptions(model, [f"caps.algs.1.key_bits={text}"]))
        assert found.value("caps.algs.1.key_bits") == taken
    v5 = load_model("marvell-cn10k-linux-v5")
    with pytest.raises(InputError, match=r'caps\.encap\.1: "udb" is not legal; legal: none, udp4500, udp, tcp'):
        v5.assuming(parse_assumptions(v5, ["caps.encap=none,udb"]))


@pytest.mark.parametrize("ident", shipped_models())
def test_the_line_that_a_message_gives_is_taken(ident):
    """Every key that is not public: the option to copy assumes it, and --assume model is offered where it helps."""
    model = load_model(ident)
    for key in model.unknowns():
        line = model.how_to_assume(key)
        option, assume = shlex.split(line)
        assert option == "--assume"
        assumed = model.assuming(parse_assumptions(model, [assume]))
        assert assumed.value(key) != "unknown"
        with pytest.raises(UnknownReached) as reached:
            need(model, key, "unknown")
        assert f"say {line}" in str(reached.value)
        assert ("--assume model" in str(reached.value)) == (key in model.suggestions)


def test_help_needs_neither_pydantic_nor_rich():
    code = "import sys, espsim.cli.models; print(sorted({'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
