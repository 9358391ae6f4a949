"""`espsim models`: lists, datasheets, checks; text that survives a pipe, JSON, and one line for an error."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from espsim.cli.models import models
from espsim.core.errors import InputError
from espsim.offload.model import shipped_folder, shipped_models


def run(*arguments: str) -> str:
    result = CliRunner().invoke(models, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_list_is_whole_in_a_pipe():
    text = run()
    for name in shipped_models():
        assert text.count(f" {name} ") == 1
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
    wrong.write_text('schema = 1\nid = "wrong"\nextends = "sw-linux-xfrm"\n[caps]\nesn = 2\n')
    with pytest.raises(InputError, match=r"wrong\.toml:5: caps\.esn: 2 is not legal"):
        run("check", shipped[0], str(wrong))


def test_help_needs_neither_pydantic_nor_rich():
    code = "import sys, espsim.cli.models; print(sorted({'pydantic', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
