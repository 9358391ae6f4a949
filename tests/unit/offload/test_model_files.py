"""Loading: an error is one line with file and line; `extends`, assumptions and sources as hwmodels/README.md says."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espsim.core.errors import InputError
from espsim.offload.locate import locate
from espsim.offload.model import (
    Model,
    Source,
    load_model,
    load_models,
    parse_assumptions,
    shipped_folder,
    shipped_models,
)

DPDK = (shipped_folder() / "marvell-cn10k-dpdk.toml").read_text()


def line_of(text: str, start: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(start))


def source_of(model: Model, key: str) -> Source:
    source = model.source(key)
    assert source is not None
    return source


def edited(tmp_path, old: str, new: str):
    assert DPDK.count(old) == 1, old
    path = tmp_path / "edited.toml"
    path.write_text(DPDK.replace(old, new))
    return path


WRONG = [
    ('duplicate = { policy = "reject"', 'duplicate = { policy = "banana"', "duplicate =",
     'inbound.program.duplicate.policy: "banana" is not legal; legal: reject, overwrite, keep_first, coexist, software,'
     " unknown"),
    ('modes = ["tunnel", "transport"]', 'modes = ["tunnel", "ro"]', "modes =",
     'caps.modes.1: "ro" is not legal; legal: tunnel, transport, beet, iptfs'),
    ("capacity = 256 ", 'capacity = "256" ', "capacity = ",
     'inbound.lookup.0.capacity: "256" is not legal; legal: a whole number, memory, config, shared, unknown'),
    ("capacity = 256 ", "capacity = -1 ", "capacity = ", "inbound.lookup.0.capacity: -1 is not legal; input should be"),
    ("capacity = 256 ", "capacity = 0 ", "capacity = ", "inbound.lookup.0.capacity: 0: a table without rows takes no"),
    ("bits = 8", "bits = 33", "index =", "inbound.lookup.0.index.bits: 33 is not legal; input should be less than or"),
    ("max = 255", "max = 4294967296", "spi_range =", "inbound.program.spi_range.max: 4294967296 is not legal"),
    ('capacity = "config"', "capacity = 0", "capacity = ", "inbound.classify.capacity: 0: a classifier without room"),
    ("bits = 8", "bits = true", "index =", "inbound.lookup.0.index.bits: true is not legal; legal: a whole number"),
    ("bits = 8, ", "", "index =", 'inbound.lookup.0.index.fn: fn = "mask" needs `bits`'),
    ("esn = true", "esn = 1", "esn =", "caps.esn: 1 is not legal; legal: true, false, unknown"),
    ("icv_bits = [64, 96, 128]", "icv_bits = [64, 96, 'x']", '  { name = "aes-gmac"', "caps.algs.1.icv_bits.2:"),
    ('miss = "software"', 'mist = "software"', "mist =",
     "inbound.classify.mist: no such key; known: kind, key, rule, capacity, miss"),
    ("spi_owner = ", "# spi_owner = ", "[inbound.program]", "inbound.program.spi_owner is missing; legal: host"),
    ("[outbound]", "[outbond]", "[outbond]", "outbond: no such key; known: schema, id,"),
    ("schema = 1", "schema = 2", "schema =", "schema: 2 is not legal; legal: 1"),
    ('id = "marvell-cn10k-dpdk"', 'id = "two words"', "id =", 'id: "two words" is not legal'),
    ("min = 0, max = 255", "min = 9, max = 8", "spi_range =", "inbound.program.spi_range.min: is above `max`"),
    ('key = ["spi"]', 'key = [["spi"]]', 'key = [["spi"]]', "inbound.lookup.0.key: several keys"),
    ('alias = { policy = "reject"', 'alias = { policy = "coexist"', "alias =",
     'inbound.program.alias.policy: "coexist": a direct table has one entry a slot'),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "at", "what"), WRONG)
def test_a_wrong_value_is_one_line_with_file_and_line(tmp_path, old, new, at, what):
    path = edited(tmp_path, old, new)
    text = path.read_text()
    if at == "capacity = ":  # one of two: the one that was edited
        line = next(n for n, row in enumerate(text.splitlines(), 1) if row.startswith(new))
    else:
        line = line_of(text, at)
    with pytest.raises(InputError) as error:
        load_model(path)
    assert str(error.value).startswith(f"{path}:{line}: {what}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("data", "line", "what"),
    [
        (b"", 1, "schema is missing"),
        (b"schema = 1\nid = \n", 2, "not TOML: Invalid value"),
        (b"schema = 1\n\n[device\n", 3, "not TOML"),
        (b'schema = 1\nid = "a\xff"\n', 2, "not UTF-8"),
        (b"schema = 1\nschema = 1\n", 2, "not TOML: Cannot overwrite"),
        (b"a = " + b"[" * 5000, 1, "not TOML"),
        (b"inbound = 3\n", 1, "schema is missing"),
    ],
)
def test_what_is_no_model_at_all(tmp_path, data, line, what):
    path = tmp_path / "x.toml"
    path.write_bytes(data)
    with pytest.raises(InputError, match=re.escape(f"{path}:{line}: {what}")):
        load_model(path)


def test_unknown_names_and_paths_are_told():
    with pytest.raises(InputError, match=r"^marvell-9000: no such model; .*`espsim models` lists all$"):
        load_model("marvell-9000")
    with pytest.raises(InputError, match=r"no/such\.toml: cannot be read: No such file"):
        load_model("no/such.toml")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_model_or_an_input_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(data)
    with pytest.raises(InputError):
        load_model(path)


def test_the_readme_example_is_a_model(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", (shipped_folder() / "README.md").read_text(), re.DOTALL)
    path = tmp_path / "mine.toml"
    path.write_text(example)
    model = load_model(path)
    assert (model.id, model.value("inbound.lookup.0.index.bits"), model.spec.caps.esn) == ("mine", 13, True)
    path.write_text(example.replace('"direct"', '"dirct"'))
    with pytest.raises(InputError, match=r'mine.toml:7: inbound.lookup.0.kind: "dirct" is not legal; legal: direct'):
        load_model(path)


# -- extends ------------------------------------------------------------------------------------------------------


def write(folder, name: str, text: str):
    path = folder / f"{name}.toml"
    path.write_text(f'schema = 1\nid = "{name}"\n{text}')
    return path


def test_extends_merges_tables_and_replaces_lookups_and_inline_tables(tmp_path):
    text = 'extends = "marvell-cn10k-dpdk"\n[caps]\nreplay = { where = "driver", max = 1024 }\n'
    model = load_model(write(tmp_path, "child", text))
    replay = model.spec.caps.replay
    assert (replay.where, replay.max, replay.pow2_min) == ("driver", 1024, None)
    assert model.spec.caps.esn is True
    assert model.spec.device.vendor == "Marvell"
    v5 = load_model("marvell-cn10k-linux-v5")
    assert len(v5.spec.inbound.lookup) == 2
    lookup = (
        '[[inbound.lookup]]\nkind = "none"\nkey = []\ncapacity = 0\nscope = "port"\n'
        'multi_match = "impossible"\nmiss = "software"\n'
    )
    model = load_model(write(tmp_path, "short", f'extends = "marvell-cn10k-linux-v5"\n{lookup}'))
    assert len(model.spec.inbound.lookup) == 1
    # Suggestions for values that are still unknown are inherited, others are not; measurements never are.
    assert set(model.suggestions) == {"inbound.verify.on_mismatch", "inbound.verify.on_invalid"}
    assert load_model(write(tmp_path, "mine", 'extends = "nvidia-mlx5-linux-packet"\n')).spec.perf == []


def test_extends_finds_files_beside_and_errors_name_the_file_that_states_the_value(tmp_path):
    base = tmp_path / "base.toml"
    base.write_text(DPDK.replace('id = "marvell-cn10k-dpdk"', 'id = "base"'))
    child = write(tmp_path, "child", 'extends = "base"\n')
    assert source_of(load_model(child), "caps.esn").file == str(base)
    base.write_text(base.read_text().replace("esn = true", 'esn = "maybe"'))
    with pytest.raises(InputError, match=re.escape(f"{base}:{line_of(DPDK, 'esn')}: caps.esn")):
        load_model(child)
    grandchild = write(tmp_path, "grandchild", 'extends = "child"\n[caps]\nesn = 7\n')
    base.write_text(DPDK.replace('id = "marvell-cn10k-dpdk"', 'id = "base"'))
    with pytest.raises(InputError, match=re.escape(f"{grandchild}:5: caps.esn: 7")):
        load_model(grandchild)


def test_an_auxiliary_table_without_rows_is_refused(tmp_path):
    text = (shipped_folder() / "intel-82599-linux.toml").read_text()
    path = tmp_path / "x.toml"
    path.write_text(text.replace("capacity = 128", "capacity = 0"))
    line = line_of(text, "aux =")
    with pytest.raises(InputError, match=rf"x\.toml:{line}: inbound\.lookup\.0\.aux\.0\.capacity: 0: a table without"):
        load_model(path)


def test_no_table_at_all_has_no_rows():
    assert load_model("marvell-cn10k-linux-mainline").spec.inbound.lookup[0].capacity == 0


def test_two_models_of_one_id_are_refused(tmp_path):
    mine = write(tmp_path, "mine", 'extends = "sw-linux-xfrm"\n')
    other = tmp_path / "other.toml"
    other.write_text(f"# a copy\n{mine.read_text()}")
    assert [model.id for _, model in load_models([mine, str(mine), "sw-linux-xfrm"])] == ["mine", "sw-linux-xfrm"]
    with pytest.raises(InputError, match=re.escape(f"{other}:3: id: mine is the id of {mine}:2 too")):
        load_models([mine, other])
    shipped = tmp_path / "sw-linux-xfrm.toml"
    shipped.write_text((shipped_folder() / shipped.name).read_text())
    with pytest.raises(InputError, match=re.escape(f"{shipped}:3: id: sw-linux-xfrm is the id of")):
        load_models(["sw-linux-xfrm", shipped])


def test_the_base_of_unknowns_can_be_extended_and_is_no_device(tmp_path):
    assert "unknown-base" not in shipped_models()
    model = load_model(write(tmp_path, "mine", 'extends = "unknown-base"\n[caps]\nesn = true\n'))
    stated = [key for key, value in model.leaves() if value != "unknown"]
    assert stated == ["device.sources", "caps.esn"]
    assert load_model("unknown-base").id == "unknown-base"


@pytest.mark.parametrize(("first", "second", "at"), [("b", "a", "b"), ("a", "-", "a")])
def test_cycles_are_refused(tmp_path, first, second, at):
    write(tmp_path, "a", f'extends = "{first}"\n')
    write(tmp_path, "b", f'extends = "{second}"\n')
    with pytest.raises(InputError, match=rf"{at}\.toml:3: extends: .*a is a cycle"):
        load_model(tmp_path / "a.toml")


def test_a_parent_must_exist_and_be_named_like_its_file(tmp_path):
    with pytest.raises(InputError, match=r'a.toml:3: extends: no model "../b" beside this file or among'):
        load_model(write(tmp_path, "a", 'extends = "../b"\n'))
    write(tmp_path, "b", "").write_text('schema = 1\nid = "c"\nextends = "a"\n')
    with pytest.raises(InputError, match=r'b.toml:2: id: "c" is not the file\'s name'):
        load_model(write(tmp_path, "a", 'extends = "b"\n'))


# -- assumptions --------------------------------------------------------------------------------------------------


def test_an_assumption_fills_an_unknown_or_a_setting():
    model = load_model("marvell-cn10k-linux-v5")
    filled = model.assuming({"inbound.lookup.0.miss": "drop"})
    assert (model.value("inbound.lookup.0.miss"), filled.value("inbound.lookup.0.miss")) == ("unknown", "drop")
    assert filled.source("inbound.lookup.0.miss") is None
    dpdk = load_model("marvell-cn10k-dpdk")
    assert dpdk.assuming({"inbound.classify.capacity": 9}).value("inbound.classify.capacity") == 9
    assert dpdk.assuming({"inbound.program.full.policy": "silent"}).value("inbound.program.full.policy") == "silent"


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("inbound.lookup.0.mist", "drop", "model marvell-cn10k-linux-v5 has no key inbound.lookup.0.mist"),
        ("inbound.lookup.7.miss", "drop", "has no key"),
        ("inbound.lookup.0", "drop", "has no key|knows"),
        ("inbound.lookup.0.miss", "drip", '"drip" is not legal; legal: software, drop, fail_flag'),
        ("inbound.lookup.0.ways", 8, r"knows inbound.lookup.0.ways \(4\): to try another value, write a model"),
        ("inbound.classify.capacity", True, "true is not legal"),
    ],
)
def test_other_assumptions_are_refused(key, value, what):
    with pytest.raises(InputError, match=rf"--assume {key}.*: .*{what}"):
        load_model("marvell-cn10k-linux-v5").assuming({key: value})


def test_assumptions_as_text():
    v5, ixgbe = load_model("marvell-cn10k-linux-v5"), load_model("intel-82599-linux")
    assert parse_assumptions(v5, ["a.b=12", "c = true", 'd=["spi", "dst"]', "e=software", 'f="x"', "g=-1"]) == {
        "a.b": 12, "c": True, "d": ["spi", "dst"], "e": "software", "f": "x", "g": -1,
    }  # fmt: skip
    assert parse_assumptions(ixgbe, ["model"]) == {"inbound.lookup.0.multi_match": "lowest_index"}
    ours = parse_assumptions(v5, ["model", "inbound.lookup.0.miss=drop"])
    assert ours["inbound.lookup.0.miss"] == "drop"
    assert parse_assumptions(v5, ["inbound.lookup.0.miss=drop", "model"]) == ours
    texts = ["intel-82599-linux:x=1", "marvell-cn10k-linux-v5:y=2"]
    assert parse_assumptions(v5, texts, [v5, ixgbe]) == {"y": 2}
    for text in ("nonsense", "=1", "intel-82599-linux:x=1"):
        with pytest.raises(InputError, match=re.escape(f"--assume {text}: ")):
            parse_assumptions(v5, [text])


def test_a_models_own_suggestions_are_checked(tmp_path):
    text = 'extends = "marvell-cn10k-dpdk"\n[assume]\n"inbound.lookup.0.over_max" = "drip"\n'
    with pytest.raises(InputError, match=r'a.toml:5: assume: inbound.lookup.0.over_max: "drip" is not legal'):
        load_model(write(tmp_path, "a", text))
    with pytest.raises(InputError, match=r"a.toml:5: assume: model a knows caps.esn"):
        load_model(write(tmp_path, "a", text.replace('"inbound.lookup.0.over_max" = "drip"', '"caps.esn" = false')))
    with pytest.raises(InputError, match=r"a.toml:5: assume.inbound: put the whole key in quotes"):
        load_model(write(tmp_path, "a", text.replace('"inbound.lookup.0.over_max"', "inbound.lookup.0.over_max")))


# -- places and sources -------------------------------------------------------------------------------------------


def test_every_stated_value_has_its_line():
    for name in shipped_models():
        model = load_model(name)
        for key, value in model.leaves():
            source = source_of(model, key)
            with open(source.file) as file:
                line = file.readlines()[source.line - 1]
            assert key.rpartition(".")[2] in line, (key, line)
            if isinstance(value, str):
                assert value in line


def test_the_comment_beside_a_value_is_its_source():
    model = load_model("marvell-cn10k-dpdk")
    assert source_of(model, "inbound.lookup.0.index.bits").comment.endswith("roc_nix_inl.c:1229-1256")
    assert source_of(model, "caps.algs.3.icv_bits").comment.startswith("SHA1-96")
    assert source_of(model, "caps.algs.0.name").comment.startswith("The capability table of rte_security")


def test_the_locator_knows_the_corners_of_toml():
    text = '''# head
a = """x # not a comment
]"""  # after
"q.r" = 'it''s'
[t.u] # table
b = [1, # one
  { c = "\\"#", d.e = 2 },
  3]
[[v]]
[[v]]
w.x = 1979-05-27 07:32:00
[v.y]
z = {}
'''.replace("'it''s'", "'its'")
    places = locate(text)
    lines = {path: place.line for path, place in places.items()}
    assert lines["a",] == 2
    assert places["a",].comment == "after"
    assert lines["q.r",] == 4
    assert places["t", "u"].comment == "table"
    assert [lines["t", "u", "b", n] for n in range(3)] == [6, 7, 8]
    assert places["t", "u", "b", 0].comment == "one"
    assert lines["t", "u", "b", 1, "d", "e"] == 7
    assert [lines["v", n] for n in range(2)] == [9, 10]
    assert lines["v", 1, "w", "x"] == 11
    assert lines["v", 1, "y", "z"] == 13
