"""NEWSA, UPDSA, DELSA, GETSA, FLUSHSA: who is found, and the errno of each refusal."""

from __future__ import annotations

import errno

import pytest

from espsim.core.address import parse_address
from espsim.core.errors import XfrmError
from espsim.core.numbers import PROTO_AH, PROTO_COMP, PROTO_ESP
from espsim.sad.association import Direction, Encap, Limits, Mark, Mode, Selector
from espsim.sad.association import SecurityAssociation as Sa
from espsim.sad.entry import State
from espsim.sad.sad import Sad
from espsim.sad.spi import SPI_RULES
from tests.support import gcm_sa

A = parse_address
LOCAL, OTHER, PEER = "192.0.2.2", "192.0.2.3", "192.0.2.1"


@pytest.fixture(params=["rfc2401", "rfc4301"])
def sad(request):
    return Sad(SPI_RULES[request.param]())


def refused(call, *args, **options):
    with pytest.raises(XfrmError) as caught:
        call(*args, **options)
    return caught.value.errno, caught.value.extack


def alloc(sad, dst=LOCAL, spi=0x1000, **options):
    return sad.allocspi(A(PEER), A(dst), PROTO_ESP, spi, spi, **options)


class TestNewsa:
    def test_the_same_triple_is_refused_whatever_else_differs(self, sad):
        sad.newsa(gcm_sa())
        natted = Encap("espinudp", 4500, 31002, bytes(16))
        for same in (
            gcm_sa(), gcm_sa(src="198.51.100.1"), gcm_sa(reqid=5, if_id=3, mode=Mode.TRANSPORT), gcm_sa(encap=natted),
            gcm_sa(dir=Direction.OUT, window=0), gcm_sa(mark=Mark(5, 0xFF)),
        ):  # fmt: skip
            assert refused(sad.newsa, same) == (errno.EEXIST, None)
        assert len(sad) == 1

    def test_another_destination_family_protocol_or_spi_is_accepted(self, sad):
        sad.newsa(gcm_sa())
        sad.newsa(gcm_sa(dst=OTHER))
        sad.newsa(gcm_sa("2001:db8::1", "2001:db8::2"))
        sad.newsa(gcm_sa(spi=0x1002))
        sad.newsa(Sa(A(PEER), A(LOCAL), 0x1001, PROTO_AH))
        assert len(sad) == 5

    def test_a_larval_state_with_the_triple_is_in_the_way(self, sad):
        alloc(sad, spi=0x1001)
        assert refused(sad.newsa, gcm_sa()) == (errno.EEXIST, None)

    def test_spi_0_is_accepted_any_number_of_times_and_never_found(self, sad):
        sad.newsa(gcm_sa(spi=0))
        sad.newsa(gcm_sa(spi=0))
        assert len(sad) == 2
        assert refused(sad.getsa, A(LOCAL), 0, PROTO_ESP) == (errno.ESRCH, None)
        assert sad.lookup(A(LOCAL), 0, PROTO_ESP) is None

    @pytest.mark.parametrize("spi", [1, 200, 255, 0xFFFFFFFF])
    def test_reserved_spis_are_accepted(self, sad, spi):
        assert sad.newsa(gcm_sa(spi=spi)).sa.spi == spi

    def test_what_is_no_sa_is_refused_with_the_kernels_words(self, sad):
        assert refused(sad.newsa, Sa(A(PEER), A(LOCAL), 1, 17)) == (errno.EINVAL, "Unsupported protocol")
        assert refused(sad.newsa, Sa(A(PEER), A(LOCAL), 0x10000, PROTO_COMP)) == (
            errno.EINVAL, "SPI is too large for COMP (must be < 0x10000)",
        )  # fmt: skip
        sad.newsa(Sa(A(PEER), A(LOCAL), 0xFFFF, PROTO_COMP))

    def test_it_removes_the_acquire_of_its_tuple(self, sad):
        alloc(sad, spi=0x1000)
        refused(alloc, sad, spi=0x1000)
        assert [e.sa.spi for e in sad] == [0x1000, 0]
        sad.newsa(gcm_sa(spi=0x2000, mode=Mode.TUNNEL))  # another mode: not its tuple
        assert sorted(e.sa.spi for e in sad) == [0, 0x1000, 0x2000]
        sad.newsa(gcm_sa(spi=0x2001, mode=Mode.TRANSPORT))
        assert sorted(e.sa.spi for e in sad) == [0x1000, 0x2000, 0x2001]


class TestMarks:
    def test_specific_marks_then_the_wildcard_but_not_after_it(self, sad):
        for mark in (Mark(1, 0xFF), Mark(2, 0xFF), Mark()):
            sad.newsa(gcm_sa(mark=mark))
        assert refused(sad.newsa, gcm_sa(mark=Mark(3, 0xFF))) == (errno.EEXIST, None)

    def test_the_newest_that_matches_is_found_first(self, sad):
        for mark in (Mark(1, 0xFF), Mark(2, 0xFF)):
            sad.newsa(gcm_sa(mark=mark))
        daddr = A(LOCAL)
        assert sad.lookup(daddr, 0x1001, 50) is None  # an unmarked packet
        assert sad.lookup(daddr, 0x1001, 50, 0x701).sa.mark.value == 1
        assert sad.lookup(daddr, 0x1001, 50, 2).sa.mark.value == 2
        assert sad.lookup(daddr, 0x1001, 50, 3) is None
        sad.newsa(gcm_sa(mark=Mark()))
        assert sad.lookup(daddr, 0x1001, 50, 1).sa.mark == Mark()  # the wildcard is newest and shadows
        assert sad.getsa(daddr, 0x1001, 50, Mark(1, 0xFF)).sa.mark == Mark()
        assert sad.delsa(daddr, 0x1001, 50, Mark(2, 0xFF)).sa.mark == Mark()
        assert sad.lookup(daddr, 0x1001, 50, 1).sa.mark.value == 1

    def test_a_value_is_kept_without_what_its_mask_leaves_out(self, sad):
        """XFRMA_MARK 0x105/0xff is 5/0xff from then on, on 6.1, 6.12 and 7.3 alike (row marks_in.22)."""
        assert sad.newsa(gcm_sa(mark=Mark(0x105, 0xFF))).sa.mark == Mark(5, 0xFF)
        assert sad.lookup(A(LOCAL), 0x1001, 50, 0x305) is not None
        with pytest.raises(XfrmError, match="EEXIST"):
            sad.newsa(gcm_sa(mark=Mark(5, 0xFF)))

    def test_the_duplicate_check_asks_with_the_new_ones_masked_value(self, sad):
        sad.newsa(gcm_sa(mark=Mark(1, 0xFF)))
        sad.newsa(gcm_sa(mark=Mark(0, 0)))
        sad.delsa(A(LOCAL), 0x1001, 50)
        assert refused(sad.newsa, gcm_sa(mark=Mark(0x301, 0xFFF))) == (errno.EEXIST, None)


class TestUpdsa:
    def test_nobody_there(self, sad):
        sad.newsa(gcm_sa())
        assert refused(sad.updsa, gcm_sa(spi=0x1002)) == (errno.ESRCH, None)
        assert refused(sad.updsa, gcm_sa(dst=OTHER)) == (errno.ESRCH, None)
        assert refused(sad.updsa, gcm_sa(spi=0)) == (errno.ESRCH, None)

    def test_a_larval_state_becomes_the_sa_whatever_its_source_reqid_and_mode(self, sad):
        alloc(sad, spi=0x1001)
        entry = sad.updsa(gcm_sa(src="198.51.100.9", reqid=77))
        assert entry.state is State.VALID
        assert entry.sa.keys is not None
        assert [e.sa.reqid for e in sad] == [77]
        assert sad.lookup(A(LOCAL), 0x1001, 50) is entry

    @pytest.mark.parametrize(
        ("larval", "update", "outcome"),
        [
            (None, None, None), (Direction.IN, Direction.IN, Direction.IN), (Direction.IN, None, None),
            (None, Direction.IN, "ESRCH"), (Direction.IN, Direction.OUT, "ESRCH"),
        ],
    )  # fmt: skip
    def test_the_direction_of_a_larval_state(self, sad, larval, update, outcome):
        alloc(sad, spi=0x1001, dir=larval)
        window = 0 if update is Direction.OUT else 64
        if outcome == "ESRCH":
            assert refused(sad.updsa, gcm_sa(dir=update, window=window)) == (errno.ESRCH, None)
            assert [e.state for e in sad] == [State.LARVAL]
        else:
            assert sad.updsa(gcm_sa(dir=update)).sa.dir is outcome

    @pytest.mark.parametrize(
        ("old", "new", "ok"),
        [(None, None, True), (Direction.IN, Direction.IN, True), (None, Direction.IN, False),
         (Direction.IN, None, False)],
    )  # fmt: skip
    def test_the_direction_of_a_valid_sa_must_be_equal(self, sad, old, new, ok):
        sad.newsa(gcm_sa(dir=old))
        if ok:
            sad.updsa(gcm_sa(dir=new))
        else:
            assert refused(sad.updsa, gcm_sa(dir=new)) == (errno.ESRCH, None)

    def test_a_valid_sa_gets_lifetimes_and_ports_and_keeps_its_keys_reqid_mode_and_selector(self, sad):
        encap = Encap("espinudp", 4500, 4500, bytes(16))
        entry = sad.newsa(gcm_sa(reqid=1, encap=encap))
        entry.packets, entry.oseq, keys = 5, 9, entry.sa.keys
        moved, limits = Encap("espinudp", 4500, 31002, bytes(16)), Limits(hard_packets=9)
        update = gcm_sa(key_byte=8, reqid=2, mode=Mode.TRANSPORT, encap=moved, limits=limits,
                        selector=Selector(proto=6))  # fmt: skip
        assert sad.updsa(update) is entry
        sa = entry.sa
        assert (sa.encap, sa.limits, sa.limited) == (moved, limits, True)
        assert (sa.reqid, sa.mode, sa.selector) == (1, Mode.TUNNEL, Selector())
        assert (sa.algorithms[0].key[0], sa.keys) == (7, keys)
        assert (entry.packets, entry.oseq, len(sad)) == (5, 9, 1)

    def test_encapsulation_neither_comes_nor_goes(self, sad):
        encap = Encap("espinudp", 4500, 4500, bytes(16))
        sad.newsa(gcm_sa())
        assert refused(sad.updsa, gcm_sa(encap=encap)) == (errno.EINVAL, None)
        sad.newsa(gcm_sa(dst=OTHER, encap=encap))
        assert refused(sad.updsa, gcm_sa(dst=OTHER)) == (errno.EINVAL, None)

    def test_encapsulation_keeps_its_type(self, sad):
        sad.newsa(gcm_sa(encap=Encap("espinudp", 4500, 4500, bytes(16))))
        update = gcm_sa(encap=Encap("espintcp", 4500, 4500, bytes(16)))
        assert refused(sad.updsa, update) == (errno.EINVAL, None)

    def test_what_the_update_does_not_state_stays(self, sad):
        """xfrm_state_update copies if_id and the output mark only where they are not 0, coaddr where both have one."""
        entry = sad.newsa(gcm_sa(if_id=3, output_mark=Mark(7, 0xFF), coa=A("192.0.2.77")))
        sad.updsa(gcm_sa())
        assert (entry.sa.if_id, entry.sa.output_mark, entry.sa.coa) == (3, Mark(7, 0xFF), A("192.0.2.77"))

    def test_the_spi_stays_taken(self, sad):
        alloc(sad, spi=0x1001)
        sad.updsa(gcm_sa())
        assert refused(alloc, sad, spi=0x1001)[0] == errno.ENOENT


class TestDelsaGetsaFlush:
    def test_they_find_larval_states_too(self, sad):
        entry = alloc(sad)
        assert sad.getsa(A(LOCAL), 0x1000, PROTO_ESP) is entry
        assert sad.delsa(A(LOCAL), 0x1000, PROTO_ESP) is entry
        assert entry.state is State.DEAD
        assert len(sad) == 0

    @pytest.mark.parametrize("key", [(OTHER, 0x1001, 50), (LOCAL, 0x1002, 50), (LOCAL, 0x1001, 51), (LOCAL, 0, 50)])
    def test_nobody_there(self, sad, key):
        sad.newsa(gcm_sa())
        sad.newsa(gcm_sa(spi=0))
        for request in (sad.getsa, sad.delsa):
            assert refused(request, A(key[0]), *key[1:]) == (errno.ESRCH, None)
        assert len(sad) == 2

    def test_a_deleted_spi_is_free_at_once(self, sad):
        sad.newsa(gcm_sa(spi=0x1000))
        sad.delsa(A(LOCAL), 0x1000, 50)
        assert alloc(sad, dst=OTHER).sa.spi == 0x1000

    def test_an_expired_spi_is_free_and_gone(self, sad):
        entry = sad.newsa(gcm_sa(spi=0x1000))
        sad.expire(entry)
        assert entry.state is State.EXPIRED
        assert sad.lookup(A(LOCAL), 0x1000, 50) is None
        sad.expire(entry)  # a second time is no error
        assert alloc(sad).sa.spi == 0x1000

    def test_flush_by_protocol_takes_leftovers_of_that_protocol(self, sad):
        sad.newsa(gcm_sa())
        refused(alloc, sad, spi=0)
        sad.newsa(Sa(A(PEER), A(LOCAL), 0x1001, PROTO_AH))
        assert sad.flush(PROTO_COMP) == 0
        assert sad.flush(PROTO_ESP) == 2
        assert [e.sa.proto for e in sad] == [PROTO_AH]
        assert sad.flush() == 1
        assert sad.flush() == 0
        assert sad.lookup(A(LOCAL), 0x1001, PROTO_AH) is None
        assert alloc(sad).sa_index == 3  # and an index is never used twice
