"""`espsim models compare` and `schema`, and what hwmodels/ has beside the models: README.md and schema.json."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from espsim.cli.models import models
from espsim.core.errors import InputError
from espsim.offload.compare import CASES, compare
from espsim.offload.json_schema import json_schema
from espsim.offload.model import load_model, shipped_folder, shipped_models

V5, NFP, XFRM, IXGBE = "marvell-cn10k-linux-v5", "netronome-nfp-linux", "sw-linux-xfrm", "intel-82599-linux"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(models, ["compare", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def objects(*arguments: str) -> dict[tuple[str, str], dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*arguments, "--json"))
    keyed = {(o["model"], o["case"]): o for o in found}
    assert len(keyed) == len(found)
    return keyed


def test_one_object_a_model_and_case():
    found = objects(XFRM, V5)
    assert list(found) == [(model, case) for model in (XFRM, V5) for case in CASES]
    assert found[V5, "duplicate"] == {
        "model": V5, "case": "duplicate", "add_a": 0, "add_b": 0, "packet_a": "A", "packet_b": "A",
        "packet_a_after_delete_b": "unknown", "packet_b_after_delete_a": "unknown",
        "unknown": ["inbound.lookup.0.miss"], "assumptions": [],
    }  # fmt: skip
    assert list(objects(XFRM, XFRM, "--case", "miss", "--case", "miss")) == [(XFRM, "miss")]


def test_an_assumption_answers_and_is_printed_with_the_result():
    found = objects(XFRM, V5, "--case", "duplicate", "--assume", "inbound.lookup.0.miss=drop")
    assert found[XFRM, "duplicate"]["assumptions"] == []
    v5 = found[V5, "duplicate"]
    assert (v5["packet_a_after_delete_b"], v5["packet_b_after_delete_a"], v5["unknown"]) == ("dropped", "dropped", [])
    assert 'inbound.lookup.0.miss = "drop"' in v5["assumptions"]
    only_one = objects(V5, "marvell-cn10k-dpdk-alg4", "--case", "duplicate", "--assume",
                       f"{V5}:inbound.lookup.0.miss=drop")  # fmt: skip
    assert only_one["marvell-cn10k-dpdk-alg4", "duplicate"]["packet_b_after_delete_a"] == "unknown"


def test_one_table_which_names_what_is_not_public():
    text = run(XFRM, NFP, "marvell-cn10k-vpp")
    lines = text.splitlines()
    for model in (XFRM, NFP, "marvell-cn10k-vpp"):
        assert [line.split()[1] for line in lines if line.startswith(f"{model} ")] == list(CASES)
    row = next(line.split() for line in lines if line.startswith("marvell-cn10k-vpp ") and "alias" in line)
    assert row[1:] == ["alias", "0", "-1", "A", "flagged", "-", "-"]
    assert f"{NFP}: not public: inbound.program.identity (--assume model: spi, src, dst, proto)" in lines
    assert f'{V5}: assumed: inbound.lookup.0.miss = "drop"' in run(V5, "--assume", "inbound.lookup.0.miss=drop")


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["no-such-model"], "no such model"),
        ([XFRM, "--case", "fire"], "--case: no case 'fire'; there are duplicate, alias"),
        ([XFRM, IXGBE, "--assume", "inbound.lookup.0.key=spi"], "knows inbound.lookup.0.key"),
        ([XFRM, "--assume", "nonsense"], "say KEY=VALUE"),
        ([XFRM, "--assume", "other:caps.esn=true"], "other is not a model of this run"),
    ],
)
def test_bad_arguments_are_one_line(arguments, what):
    with pytest.raises(InputError, match=re.escape(what)) as error:
        run(*arguments)
    assert "\n" not in str(error.value)


def test_two_files_of_one_id_are_refused(tmp_path):
    copy = tmp_path / f"{XFRM}.toml"
    copy.write_text((shipped_folder() / copy.name).read_text())
    with pytest.raises(InputError, match=rf"{XFRM}\.toml:3: id: {XFRM} is the id of"):
        run(XFRM, str(copy))


def test_b_aliases_an_index_wider_than_24_bits(tmp_path):
    path = tmp_path / "wide.toml"
    text = (shipped_folder() / "marvell-cn10k-dpdk.toml").read_text()
    text = text.replace('id = "marvell-cn10k-dpdk"', 'id = "wide"').replace("bits = 8", "bits = 30")
    path.write_text(text.replace("capacity = 256 ", "capacity = 1073741824 "))
    found = compare(load_model(path), "alias")
    assert (found.add_b, found.packet_b) == ("-EEXIST", "flagged")
    assert compare(load_model(path), "overflow").add_b == 0  # too many rows to fill


def test_a_strangers_context_is_named_so(tmp_path):
    path = tmp_path / "careless.toml"
    path.write_text('schema = 1\nid = "careless"\nextends = "marvell-cn10k-dpdk"\n[inbound.verify]\nalways = []\n')
    assert compare(load_model(path), "overflow").packet_b == "A"  # the first alias is A's
    path.write_text(path.read_text() + '[inbound.program]\nduplicate = { policy = "overwrite" }\n'
                    'alias = { policy = "overwrite" }\n')  # fmt: skip
    assert compare(load_model(path), "overflow").packet_a == "B"


# -- beside the models --------------------------------------------------------------------------------------------

HEAD = ("model", "device", "driver", "key", "rows", "add B", "A meets", "B meets", "A, B deleted", "B, A deleted")


def readme_row(ident: str) -> str:
    model = load_model(ident)
    first = model.spec.inbound.lookup[0]
    found = compare(model, "duplicate")
    key = " or ".join(", ".join(k) if isinstance(k, list) else k for k in first.key) if first.kind == "longest" else (
        "unknown" if first.key == "unknown" else ", ".join(map(str, first.key)) or "-")  # fmt: skip
    index = first.index
    if index is not None and index.fn == "mask" and isinstance(index.bits, int):
        key = key.replace("spi", f"spi & 0x{(1 << index.bits) - 1:x}")
    device, rows = model.spec.device, " -> ".join(str(lookup.capacity) for lookup in model.spec.inbound.lookup)
    told = (found.add_b, found.packet_a, found.packet_b, found.packet_a_after_delete_b, found.packet_b_after_delete_a)
    cells = (f"`{ident}`", f"{device.vendor} {device.part}", device.driver, key, rows, *told)
    return "| " + " | ".join("-" if cell is None else str(cell) for cell in cells) + " |"


def test_the_readme_has_every_model_and_what_a_duplicate_does_in_it():
    rows = [readme_row(ident) for ident in shipped_models()]
    table = "\n".join(["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *rows])
    assert f"\n{table}\n\n" in (shipped_folder() / "README.md").read_text(), f"paste this:\n{table}"


def test_the_json_schema_is_the_one_of_the_code():
    text = (shipped_folder() / "schema.json").read_text()
    assert json.loads(text) == json_schema(), "espsim models schema > hwmodels/schema.json"
    result = CliRunner().invoke(models, ["schema"], catch_exceptions=False)
    assert result.output == text


def test_a_file_that_extends_may_state_a_part():
    schema = json_schema()
    whole, part = schema["else"], schema["then"]
    assert set(whole["required"]) == {"schema", "id", "device", "caps", "inbound", "outbound"}
    assert part["required"] == ["schema", "id"]
    definitions = schema["$defs"]
    for name in ("Caps", "Program", "ResultSpec"):
        assert definitions[name]["required"]
        assert "required" not in definitions[f"{name}InPart"]
        assert definitions[name]["additionalProperties"] is False
        assert definitions[f"{name}InPart"]["properties"] == definitions[name]["properties"]
    assert definitions["Lookup"]["required"]
    assert part["properties"]["inbound"]["$ref"] == "#/$defs/InboundSpecInPart"
    assert definitions["InboundSpecInPart"]["properties"]["program"]["$ref"] == "#/$defs/ProgramInPart"
