"""The rule of columns: what a stage declares, and that it writes nothing else."""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np
import pytest

from espsim.aead.engines import engine_by_name
from espsim.batch.inbound import lookup, parse, trailer
from espsim.batch.inbound import order as inbound
from espsim.batch.inbound.order import InboundPipeline
from espsim.batch.inbound.replay import CHECK
from espsim.batch.outbound import order as outbound
from espsim.batch.outbound.order import OutboundPipeline
from espsim.batch.stages import REDO, REDO_SAS, Stage, checked, in_order
from espsim.core.inbound_batch import COLUMNS, InboundBatch
from espsim.core.numbers import NOT_ESP
from espsim.core.outbound_batch import OUT_COLUMNS, OutboundBatch
from espsim.core.verdict import Verdict
from espsim.reference.inbound import Inbound
from espsim.reference.outbound import Outbound
from espsim.sad.association import Direction, Encap, Mode, ReplayState
from tests.support import Peer, gcm_sa, ipv4, new_sad

PACKET = ipv4(bytes(range(40)))
PATHS: list[tuple[Stage[Any, Any], ...]] = [inbound.STAGES, outbound.STAGES]


def constant(size):
    return bytes(size)


@pytest.fixture
def batch():
    return InboundBatch.of([PACKET, PACKET])


@pytest.fixture
def columns():
    return InboundPipeline(Inbound(new_sad(gcm_sa())), "cryptography").columns


@pytest.mark.parametrize(
    ("stages", "names"), [(inbound.STAGES, set(COLUMNS)), (outbound.STAGES, {*OUT_COLUMNS, "out"})]
)
def test_every_column_has_one_stage(stages, names):
    defined = [name for stage in stages for name in stage.defines]
    assert sorted(defined) == sorted(names - {"verdict"})


def test_what_is_declared_twice_is_refused():
    """Each stage in turn declares each column of the others."""
    for stages in PATHS:
        in_order(*stages)
        for at, stage in enumerate(stages):
            for other in stages[:at]:
                for name in other.defines:
                    wider = replace(stage, defines=stage.defines | {name})
                    with pytest.raises(AssertionError, match=rf"{stage.name} defines {name}, which has its stage"):
                        in_order(*stages[:at], wider, *stages[at + 1 :])
                for name in other.sas:
                    wider = replace(stage, sas=stage.sas | {name})
                    with pytest.raises(AssertionError, match=f"{stage.name} defines SAs' {name}"):
                        in_order(*stages[:at], wider, *stages[at + 1 :])


def test_what_is_redone_was_defined_before():
    with pytest.raises(AssertionError, match="lookup redoes flags, which no stage before it defines"):
        in_order(lookup.STAGE, parse.STAGE)


@pytest.mark.parametrize("name", ["length", "offset"])
def test_of_the_source_the_arena_alone_may_be_redone(monkeypatch, name):
    monkeypatch.setitem(REDO, "check", frozenset({name}))
    with pytest.raises(AssertionError, match=f"check redoes {name}, which no stage before it defines"):
        in_order(CHECK)


def test_redo_names_stages_and_columns_that_are_there():
    names = {stage.name for stages in PATHS for stage in stages} | {"lookup by a device"}
    assert set(REDO) | set(REDO_SAS) <= names
    assert {name for columns in REDO.values() for name in columns} <= {*COLUMNS, *OUT_COLUMNS, "arena", "out"}
    sas = {name for stages in PATHS for stage in stages for name in stage.sas}
    assert {name for columns in REDO_SAS.values() for name in columns} <= sas | {"standing", "own.standing"}


def test_between_the_two_looks_at_the_window_no_stage_gives_a_verdict():
    names = [stage.name for stage in inbound.STAGES]
    between = inbound.STAGES[names.index("lookup") + 1 : names.index("settle")]
    assert between
    assert not [stage.name for stage in between if stage.objects]


def test_what_is_moved_of_the_sas_is_a_column_of_theirs():
    receiver = InboundPipeline(Inbound(new_sad(gcm_sa()), own_traffic=True), "cryptography")
    sender = OutboundPipeline(Outbound(new_sad(), constant), engine_by_name("cryptography"))
    for stages, path in ((inbound.STAGES, receiver), (outbound.STAGES, sender)):
        for name in {name for stage in stages for name in stage.sas}:
            assert isinstance(attrgetter(name)(path.columns), np.ndarray), name


@pytest.mark.parametrize("name", ["spi", "length", "offset", "arena"])
def test_another_stages_column_is_caught(batch, columns, name):
    def meddling(batch, _columns):
        getattr(batch, name)[0] += 1

    with pytest.raises(AssertionError, match=f"check wrote {name}"):
        checked(replace(CHECK, run=meddling), batch, columns)


def test_also_in_a_row_that_has_a_verdict(batch, columns):
    batch.verdict[:] = 3

    def meddling(batch, _columns):
        batch.sa_index[1] = 7

    with pytest.raises(AssertionError, match="trailer wrote sa_index"):
        checked(replace(trailer.STAGE, run=meddling), batch, columns)


@pytest.mark.parametrize("name", ["bits", "counts", "standing", "shape", "table4", "selectors"])
def test_a_column_of_the_sas_is_caught(batch, columns, name):
    column = getattr(columns, name)
    if not column.size:
        setattr(columns, name, np.zeros((1, 12), column.dtype))

    def meddling(_batch, columns):
        getattr(columns, name).reshape(-1)[0] ^= 1

    with pytest.raises(AssertionError, match=f"trailer wrote the SAs' {name}"):
        checked(replace(trailer.STAGE, run=meddling), batch, columns)


def test_a_nested_column_of_the_sas_is_caught(batch):
    columns = InboundPipeline(Inbound(new_sad(gcm_sa()), own_traffic=True), "cryptography").columns

    def meddling(_batch, columns):
        columns.own.sent[0, 0] += 1

    with pytest.raises(AssertionError, match=r"check wrote the SAs' own\.sent"):
        checked(replace(CHECK, run=meddling), batch, columns)


@pytest.mark.parametrize("to", [0, 4, 254])
def test_a_verdict_over_another_one_is_caught(batch, columns, to):
    batch.verdict[1] = 3

    def resetting(batch, _columns):
        batch.verdict[1] = to

    with pytest.raises(AssertionError, match="lookup wrote a verdict over another one"):
        checked(replace(lookup.STAGE, run=resetting), batch, columns)


def test_a_stage_that_may_not_object_is_caught(batch, columns):
    def objecting(batch, _columns):
        batch.verdict[0] = 3

    with pytest.raises(AssertionError, match="check gave a verdict, and may not object"):
        checked(replace(CHECK, run=objecting), batch, columns)


def test_the_sealed_packets_are_a_column(batch):
    path = OutboundPipeline(Outbound(new_sad(), constant), engine_by_name("cryptography"))
    out = OutboundBatch.of([PACKET], out=np.zeros(100, np.uint8))

    def meddling(batch, _columns):
        batch.out[3] = 1

    with pytest.raises(AssertionError, match="seqno wrote out"):
        checked(Stage("seqno", meddling), out, path.columns)


def test_a_stage_that_does_what_it_declares_passes(batch, columns):
    for stage in inbound.STAGES:
        checked(stage, batch, columns)
    assert batch.verdict.tolist() == [NOT_ESP] * 2
    batch.verdict[:] = Verdict.MODE  # of the batch that was in these columns before
    checked(parse.STAGE, batch, columns)
    batch.verdict[:] = Verdict.MODE
    with pytest.raises(AssertionError, match="parse wrote a verdict over another one"):
        checked(replace(parse.STAGE, defines=frozenset(COLUMNS) - {"family"}), batch, columns)


WRAP, ODD, DUMMY = 1 << 32, PACKET + b"\7\7\2\4", b"\0\x3b"
ESN = gcm_sa(flags=frozenset({"esn"}), replay=ReplayState(seq=1000, bitmap=1 << 10))
SENDER = gcm_sa("192.0.2.2", "192.0.2.9", 0x2002, dir=Direction.OUT, window=0)
TRANSPORT = gcm_sa(spi=0x3003, mode=Mode.TRANSPORT)
UDP6 = gcm_sa("2001:db8::1", "2001:db8::2", encap=Encap("espinudp", 4500, 4500, bytes(16)))


def run_all_checked() -> list[int]:
    """Batches in which each stage has to write all that it declares; the verdicts of the packets that came in."""
    peer = Peer(ESN)
    # The fourth one's number was seen, until the third one has moved the window on.
    packets = [peer.packet(1001, b"", 0, plaintext=DUMMY), peer.packet(1 << 31, PACKET)]
    packets += [peer.packet(WRAP - 10, PACKET), peer.packet(WRAP + 990, b"", 0, plaintext=ODD)]
    packets += [Peer(SENDER).packet(5, PACKET), Peer(TRANSPORT).packet(5, PACKET[20:], 17)]
    receiver = Inbound(new_sad(ESN, SENDER, TRANSPORT, keep_window=True), own_traffic=True)
    with InboundPipeline(receiver, "cryptography", debug=True) as path:
        batch = InboundBatch.of(packets)
        path.run(batch)
    with OutboundPipeline(Outbound(new_sad(UDP6), constant), "cryptography", debug=True) as sender:
        # Zeros: new memory may still hold the same packet, sealed by an earlier run, and no change would be seen.
        clear = OutboundBatch.of([PACKET], 0.0, np.zeros(4096, np.uint8))
        sender.run(clear)
        assert sender.answers(clear)[0] is not None
    return [int(verdict) for verdict in batch.verdict]


def test_every_stage_writes_what_it_declares():
    good = Verdict.DELIVERED
    assert run_all_checked() == [Verdict.TRAILER, good, good, good, Verdict.SENT, good]


@pytest.mark.parametrize(
    ("stage", "name"),
    [(stage, name) for stage, names in REDO.items() if "device" not in stage for name in sorted(names)],
)
def test_and_needs_all_of_what_it_may_redo(monkeypatch, stage, name):
    monkeypatch.setitem(REDO, stage, REDO[stage] - {name})
    with pytest.raises(AssertionError, match=f"{stage} wrote {name}"):
        run_all_checked()


def test_a_lookup_by_a_device_may_say_who_sent_a_packet_and_hand_an_sa_over(batch, columns):
    def handing_over(batch, columns):
        batch.flags[:] ^= 1
        columns.counts.reshape(-1)[0] += 1
        columns.standing[0] ^= 1

    checked(Stage("lookup by a device", handing_over), batch, columns)
    with pytest.raises(AssertionError, match="lookup wrote the SAs'"):
        checked(Stage("lookup", handing_over), batch, columns)
