"""`import espsim`: what it loads; every name exists and is documented; the README's example runs."""

from __future__ import annotations

import inspect
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import espsim
from espsim.explain.steps import Step
from espsim.offload.compare import association
from espsim.offload.device import Device, PacketKey
from espsim.offload.model import load_model, parse_assumptions
from espsim.reference.inbound import Inbound
from tests.support import gcm_sa, ipv4, new_sad, udp


def dumped(src: str, dst: str, spi: int, key: str) -> str:
    """An SA as `ip xfrm state` prints it."""
    head = f"src {src} dst {dst}\n\tproto esp spi 0x{spi:08x} reqid 1 mode tunnel\n\treplay-window 64\n"
    return f"{head}\taead rfc4106(gcm(aes)) {key} 128\n"


README = Path(__file__).parents[2] / "README.md"


def test_the_import_loads_neither_numpy_nor_numba_nor_click():
    code = (
        "import espsim, sys; print(sorted({'numpy', 'numba', 'click', 'cryptography', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("name", espsim.__all__)
def test_every_name_is_there_and_documented(name):
    found = getattr(espsim, name)
    assert name in dir(espsim)
    assert isinstance(found, str) or inspect.getdoc(found)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'spi'"):
        espsim.spi  # noqa: B018 - the look is the test


def test_the_readmes_library_section(tmp_path):
    """In an interpreter of its own, as a reader would run it."""
    (code,) = re.findall(r"## As a library.*?```python\n(.*?)```", README.read_text(), re.DOTALL)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    said = ran.stdout.splitlines()
    assert said[1] == "REPLAY_DUPLICATE"
    assert said[2] == "OpenedBatch(1000 DELIVERED) [2 3 4]"
    assert said[3] == "[(1, 'EEXIST')]"
    assert said[5] == "True"


def test_notes_say_what_a_file_has_that_cannot_be_used(tmp_path):
    path = tmp_path / "sad"
    path.write_text(
        dumped("1.1.1.1", "2.2.2.2", 0x100, "<<Keys hidden>>") + dumped("1.1.1.1", "2.2.2.2", 0x101, f"0x{5:040x}")
    )
    notes: list[str] = []
    assert len(list(espsim.load_sad(path, notes=notes))) == 1
    assert [note for note in notes if "0x00000100@2.2.2.2 is not used" in note]


def test_sas_from_a_text():
    text = dumped("1.1.1.1", "2.2.2.2", 0x101, f"0x{5:040x}")
    assert [entry.sa.spi for entry in espsim.load_sad(io.StringIO(text))] == [0x101]
    with pytest.raises(espsim.InputError, match="no SA in it"):
        espsim.load_sad(io.StringIO(""))


# -- batches: the reference path's answers -----------------------------------------------------------------------


def test_batches_say_what_single_packets_say():
    sas = [gcm_sa("1.1.1.1", "2.2.2.2", 0x100, window=64), gcm_sa("1.1.1.1", "2.2.2.3", 0x100, window=64)]
    clear = [ipv4(udp(bytes(10 * n))) for n in range(1, 8)]
    sealed = espsim.seal_batch(new_sad(sas[0]), [*clear, b"\0"])
    assert (sealed.verdict[-1], sealed.sa_index[-1], sealed.packet(7)) == (255, -1, None)
    wire = [packet for packet in map(sealed.packet, range(7)) if packet is not None]
    wire[6] = wire[6][:-1] + bytes([wire[6][-1] ^ 1])
    wire += [wire[0], b"junk", clear[0]]
    sad, other = new_sad(*sas), new_sad(*sas)
    opened = espsim.open_batch(sad, wire)
    answers = [Inbound(other).receive(packet) for packet in wire]
    for row, answer in enumerate(answers):
        assert opened.verdict[row] == (255 if answer is None else answer.verdict)
        assert opened.inner(row) == (None if answer is None else answer.inner)
        assert opened.sa_index[row] == (-1 if answer is None or answer.entry is None else answer.entry.sa_index)
        assert opened.seq64[row] == ((answer.seq64 if answer is not None else 0) or 0)
    assert repr(opened) == "OpenedBatch(6 DELIVERED, 2 not ESP, 1 INTEGRITY, 1 REPLAY_DUPLICATE)"
    assert [entry.window.top for entry in sad] == [entry.window.top for entry in other] == [6, 0]


def test_sealing_tells_its_steps_and_no_key():
    sa = gcm_sa()
    steps: list[Step] = []
    sent = espsim.seal_packet(new_sad(sa), ipv4(udp(b"inside")), trace=steps.append)
    assert sent is not None
    assert sent.packet is not None
    assert [step.step for step in steps][-5:] == ["nonce", "AAD", "encryption", "ICV", "outer IPv4 header"]
    assert bytes([7] * 16).hex() not in repr(steps)


# -- lookup tables ------------------------------------------------------------------------------------------------


def test_softwares_table_finds_the_newest_and_grows():
    table = espsim.LookupTable()
    assert table.find([1], np.array([1], np.uint32)).tolist() == [-1]
    assert table.insert([7, 8], np.array([1, 2], np.uint32)) == []
    assert table.find([7, 8, 8], np.array([1, 2, 1], np.uint32)).tolist() == [0, 1, -1]
    table.insert([7], np.array([1], np.uint32))
    table.insert([7], np.array([[0x20010DB8 << 32, 1]], np.uint64))
    assert table.find([7], np.array([1], np.uint32)).tolist() == [2]
    assert table.find([7, 7], np.array([[0x20010DB8 << 32, 1], [0, 1]], np.uint64)).tolist() == [3, -1]
    assert (len(table), repr(table)) == (4, "LookupTable(software, 4 SAs)")


@pytest.mark.parametrize(
    "model", ["marvell-cn10k-dpdk", "marvell-cn10k-linux-v5", "intel-82599-linux", "sw-linux-xfrm"]
)
def test_a_models_table_is_the_devices(model):
    spis = np.array([0x90, 0x190, 0x91, 0x90, 0x12345678], np.uint32)
    daddr = np.array([1, 2, 3, 4, 5], np.uint32)
    table = espsim.LookupTable(model, ["model"])
    refused = table.insert(spis, daddr)
    loaded = load_model(model)
    device = Device(loaded, parse_assumptions(loaded, ["model"]))
    base = association(loaded, 1)
    for n, (spi, dst) in enumerate(zip(spis.tolist(), daddr.tolist(), strict=True)):
        errno = device.add(n, replace(base, src=bytes(4), dst=dst.to_bytes(4), spi=spi)).errno
        assert errno == dict(refused).get(n)
    for spi, dst, row in zip(spis.tolist(), daddr.tolist(), table.find(spis, daddr).tolist(), strict=True):
        answer = device.lookup(PacketKey(bytes(4), dst.to_bytes(4), spi))
        assert row == (answer.sa_index if answer.action == "use" else -1)


@pytest.mark.parametrize("daddr", [np.zeros(2, np.uint32), np.zeros((1, 3), np.uint64)])
def test_arrays_that_do_not_fit(daddr):
    with pytest.raises(espsim.InputError, match="shape"):
        espsim.LookupTable().insert([7], daddr)


def test_spi_0_is_no_sas():
    with pytest.raises(espsim.InputError, match="SPI 0"):
        espsim.LookupTable().insert([0], np.zeros(1, np.uint32))


# -- what the commands answer -------------------------------------------------------------------------------------


def test_audit_is_the_commands(tmp_path):
    path = tmp_path / "dump"
    path.write_text(
        dumped("1.1.1.1", "2.2.2.2", 0x190, f"0x{5:040x}") + dumped("1.1.1.3", "2.2.2.4", 0x90, f"0x{6:040x}")
    )
    found = espsim.audit(path, "marvell-cn10k-dpdk")
    assert (found["sas"], found["lost"], found["models"][0]["fates"]["aliases"]) == (2, 1, 1)
