"""Memory of tables: zeroed, at cache lines, and no worse but for speed where the kernel refuses huge pages."""

from __future__ import annotations

import errno
import mmap

import numpy as np
import pytest
from click.testing import CliRunner

from espsim.jit import memory

HUGE = 2 << 20


class Refused(mmap.mmap):
    """Pages of a kernel built without transparent huge pages."""

    asked = 0

    def madvise(self, *_: int) -> None:
        Refused.asked += 1
        raise OSError(errno.EINVAL, "Invalid argument")


@pytest.mark.parametrize("huge", [True, False])
@pytest.mark.parametrize("refused", [True, False])
@pytest.mark.parametrize("shape", [(0,), (3,), (HUGE // 8 - 1,), (HUGE // 8, 2)])
def test_zeros(monkeypatch, huge, refused, shape):
    if refused:
        monkeypatch.setattr(mmap, "mmap", Refused)
        Refused.asked = 0
    array = memory.zeros(shape, np.uint64, huge=huge)
    assert (array.shape, array.dtype) == (shape, np.dtype(np.uint64))
    assert not array.any()
    array[...] = 7
    if array.size:  # else numpy 2.0 says some address
        assert array.ctypes.data % (HUGE if array.nbytes >= HUGE else memory.LINE) == 0
    if refused:
        assert Refused.asked == (array.nbytes >= HUGE)


def test_a_table_is_filled_and_read_without_huge_pages(monkeypatch):
    from espsim.cli.bench import bench

    monkeypatch.setattr(mmap, "mmap", Refused)
    monkeypatch.setattr("espsim.measure.cases.LEAST", 1e-4)
    Refused.asked = 0
    done = CliRunner().invoke(bench, ["lookup", "--sas", "100k", "--quick", "--json"])
    assert done.exit_code == 0, done.output
    assert Refused.asked
