"""What audit says of each SA is what the device's path does with a packet that is sealed for it.

Every shipped model, SAs of all kinds that meet each other, real packets through `reference.offloaded`, as `decap
--model` has it. Where a model has an unknown, no answer that audit calls known may be refuted by a legal value.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from espsim.aead.suites import Algorithm
from espsim.analysis.audit import WORKS, audit
from espsim.analysis.inventory import Inventory, take_inventory
from espsim.core.address import parse_address
from espsim.core.errors import InputError, UnknownReached, XfrmError
from espsim.core.verdict import DeviceOutcome, Verdict
from espsim.offload.assume import read_value, split
from espsim.offload.device import Device
from espsim.offload.model import Model, load_model, parse_assumptions, shipped_models
from espsim.offload.schema import legal
from espsim.reference.offloaded import OffloadedInbound
from espsim.sad.association import Direction, Encap, Mark, Mode, Offload, SecurityAssociation
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad
from espsim.text.scan import survey_file
from espsim.text.show import format_dump
from tests.support import Peer, ipv4, udp

INNER = ipv4(udp(b"payload"))
_HIT = DeviceOutcome.HIT
_WRONG = (DeviceOutcome.WRONG_SA, DeviceOutcome.SHADOWED)


def an_sa(rng: random.Random, number: int) -> SecurityAssociation:
    """An inbound SA whose SPI, addresses and mark others may have too; its key is its own."""
    mark = Mark(rng.choice([1, 2]), rng.choice([1, 3, 0xFF])) if rng.random() < 0.2 else Mark()
    window = rng.choice([0, 32, 64, 64, 64, 512])
    encap = Encap("espinudp", 4500, rng.choice([4500, 4500, 1024]), bytes(4)) if rng.random() < 0.15 else None
    offload = rng.choice([None, None, None, False, True])
    size = rng.choice([16, 16, 16, 24, 32])
    key = number.to_bytes(2) * ((size + 4) // 2)
    return SecurityAssociation(
        parse_address(f"198.51.100.{rng.randrange(3)}"),
        parse_address(f"192.0.2.{rng.randrange(4)}"),
        rng.choice([0x100, 0x200, 0x1100, 0x12345678]) + rng.randrange(12),
        mode=rng.choice([Mode.TUNNEL, Mode.TRANSPORT]),
        algorithms=(Algorithm("aead", "rfc4106(gcm(aes))", key, 128),),
        reqid=rng.choice([0, 1, 2]),
        mark=mark if mark.value & mark.mask == mark.value else Mark(),
        window=window,
        flags=frozenset({"esn"} if window and rng.random() < 0.2 else ()),
        encap=encap,
        offload=None if offload is None else Offload("eth0", Direction.IN, packet=offload),
    )


def some_sas(seed: int, count: int = 60) -> list[SecurityAssociation]:
    """SAs that one kernel can hold, oldest first."""
    rng, sad = random.Random(seed), Sad()
    found = []
    for number in range(1, count + 1):
        sa = an_sa(rng, number)
        try:
            sad.newsa(sa)
        except XfrmError:
            continue
        found.append(sa)
    return found


def inventory_of(tmp_path: Path, sas: list[SecurityAssociation]) -> Inventory:
    path = tmp_path / "dump"
    path.write_text("".join(format_dump(sa) for sa in reversed(sas)))
    return take_inventory(survey_file(str(path)))


def packet_for(sa: SecurityAssociation) -> bytes:
    if sa.mode is Mode.TUNNEL:
        return Peer(sa).packet(1, INNER)
    return Peer(sa).packet(1, udp(b"payload"), 17)


def decapped(sas: list[SecurityAssociation], device: Device) -> list[str]:
    """What becomes of a packet of each SA, each in a host of its own that has them all. UnknownReached as the path."""
    return [_decapped(*_host(sas, device.model), n) for n in range(len(sas))]


def _host(sas: list[SecurityAssociation], model: Model) -> tuple[OffloadedInbound, list[SadEntry]]:
    sad = Sad()
    entries = [sad.newsa(sa) for sa in sas]
    path = OffloadedInbound(sad, Device(model))
    for entry in entries:
        path.offload(entry)
    return path, entries


def _decapped(path: OffloadedInbound, entries: list[SadEntry], n: int) -> str:
    sa, own = entries[n].sa, entries[n]
    path.mark = sa.mark.value
    received = path.receive(packet_for(sa), 0.0)
    assert received is not None
    if received.used is own and received.verdict is Verdict.DELIVERED and received.device in (*_WRONG, _HIT):
        # Opened with its own context, though software alone might have found an SA of another mark first.
        return "hardware" if path.device.mode else "software"
    if received.device in _WRONG:
        return "wrong_sa"
    if received.verdict is Verdict.DELIVERED:
        return "software"
    if received.verdict is not Verdict.NO_SA and received.entry is not own:
        return "wrong_sa"  # device or software found another one first, by its mark
    if received.verdict is Verdict.NO_SA and received.device is DeviceOutcome.MISS:
        assert received.counter == "XfrmInNoStates"
        assert sa.offload is not None
    return "lost"


def audited(inventory: Inventory, model: Model) -> list[str]:
    """What audit says of each SA, oldest first."""
    found = audit(inventory, Device(model), most=10_000)
    assert sum(found.works.values()) == len(inventory.offered)
    listed = {finding.sa: finding.works for finding in found.findings}
    plain = "hardware" if found.device.model.spec.caps.offload != [] else "software"
    works = [listed.get(index, plain) for index in inventory.offered]
    installed = {row.works for row in found.traffic if row.fate == "installed"}
    if installed == {"software"}:  # taken, but the device has no receive path
        works = [listed.get(index, "software") for index in inventory.offered]
    assert {name: works.count(name) for name in WORKS} == {name: found.works[name] for name in WORKS}
    return works


@pytest.mark.parametrize("ident", shipped_models())
@pytest.mark.parametrize("seed", [pytest.param(14, marks=pytest.mark.long), 21])
def test_audit_and_decap_agree(tmp_path, ident, seed):
    sas = some_sas(seed)
    model = load_model(ident)
    model = model.assuming(parse_assumptions(model, ["model"]))
    said = audited(inventory_of(tmp_path, sas), model)
    rng = random.Random(seed)
    assumed, met = with_what_is_unknown(model, sas, rng)
    for sa, works, true in zip(sas, said, met, strict=True):
        assert works in (true, "unknown"), (sa.name, works, true, assumed)
    if not assumed:
        assert said == met


def with_what_is_unknown(
    model: Model, sas: list[SecurityAssociation], rng: random.Random
) -> tuple[dict[str, object], list[str]]:
    """Run decap's path; each unknown that stops it is assumed, at random among what is legal, and it is run again."""
    assumed: dict[str, object] = {}
    for _ in range(60):
        try:
            return assumed, decapped(sas, Device(model.assuming(assumed)))
        except UnknownReached as reached:
            assumed[reached.key] = a_value(model.assuming(assumed), reached, rng)
    raise AssertionError(assumed)


def a_value(model: Model, reached: UnknownReached, rng: random.Random) -> object:
    words = [w for w in legal(split(reached.key)).split(", ") if w not in ("unknown", "config", "shared", "a string")]
    options = [w for w in words if not w.startswith("a ") and w != "longest"]
    if reached.key.endswith((".key", ".identity")):
        options += ['["spi"]', '["spi", "dst"]', '["spi", "dst", "src"]']
    example = reached.assume.removeprefix("--assume ").strip("'").partition("=")[2]
    values = [read_value(word) for word in [*options, example]]
    rng.shuffle(values)
    for value in values:
        try:
            model.assuming({reached.key: value})
        except InputError:
            continue
        return value
    raise AssertionError(reached.key)


def test_the_kinds_of_ends_are_all_met(tmp_path):
    """The SAs above are of enough kinds: every fate occurs in some model, else the test above would say little."""
    sas = some_sas(21)
    ends: set[str] = set()
    for ident in ("marvell-cn10k-dpdk", "nvidia-mlx5-linux-packet", "marvell-cn10k-vpp", "unknown-nic"):
        model = load_model(ident)
        ends |= set(audited(inventory_of(tmp_path, sas), model.assuming(parse_assumptions(model, ["model"]))))
    assert ends == set(WORKS)


def test_an_answer_that_a_value_could_refute_is_unknown(tmp_path):
    """Whether B, whose capabilities are not public, is in the device decides what A's packets meet."""
    path = tmp_path / "mine.toml"
    path.write_text('schema = 1\nid = "mine"\nextends = "marvell-cn10k-vpp"\n[caps]\nesn = "unknown"\n')
    plain = some_sas(1)[0]
    a = replace(plain, spi=0x155, window=64, flags=frozenset(), encap=None, offload=None, mark=Mark())
    b = replace(a, spi=0x4155, flags=frozenset({"esn"}))
    c = replace(a, spi=0x156)
    b = replace(b, spi=0x155, dst=parse_address("192.0.2.77"))
    found = audited(inventory_of(tmp_path, [a, b, c]), load_model(str(path)))
    assert found == ["unknown", "unknown", "hardware"]
