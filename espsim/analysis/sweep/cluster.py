"""Tasks on a Dask cluster (`distributed`, an extra). Workers need only this espsim; the rows come back here.

What this does not do: start a cluster, or install espsim on it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from espsim.analysis.sweep.plan import Task, TaskRow, run_task
from espsim.analysis.sweep.pool import DIED
from espsim.core.closing import Closing
from espsim.core.errors import InputError

CONNECT = 10.0
LOOK = 2.0
"""Seconds to wait for a scheduler, and between checks that it is still there."""
_PER_THREAD, _LEAST, _MOST = 4, 16, 2048
_WHERE = "--dask"


class Cluster(Closing):
    """A scheduler's address. InputError: `distributed` is not installed, or no scheduler answers there."""

    def __init__(self, address: str, died: Callable[[str], None] = lambda _text: None) -> None:
        try:
            import distributed  # noqa: PLC0415 - an extra
        except ImportError:
            raise InputError("a cluster needs distributed: pip install 'espsim[sweep]'", where=_WHERE) from None
        self._library: Any = distributed
        self._client: Any = None
        self._died = died
        # Their loggers report a lost scheduler in many lines; one of ours is enough. Each logger has its own level.
        for name in [*logging.root.manager.loggerDict, "distributed", "tornado"]:
            if name.partition(".")[0] in ("distributed", "tornado"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on versions that differ a little
                self._client = self._library.Client(address, timeout=CONNECT)
        except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise InputError(f"no scheduler answers at this address ({type(error).__name__})", where=_WHERE) from None

    def rows(self, tasks: Iterator[Task]) -> Iterator[list[TaskRow]]:
        """As LocalPool.rows. InputError: the scheduler is gone, or its workers don't have this espsim."""
        places: dict[Any, Task] = {}
        while True:
            places.update(self._submitted(itertools.islice(tasks, self._room() - len(places))))
            if not places:
                return
            rows = [self._row(future, places.pop(future)) for future in self._finished(list(places))]
            if rows:
                yield rows

    def close(self) -> None:
        """Leave the cluster. Tasks that still run are dropped."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=CONNECT)

    def _room(self) -> int:
        """How many tasks are submitted at once: a few for each of the cluster's threads, whose number changes."""
        self._alive()
        try:
            threads = int(sum(self._client.nthreads().values()))
        except Exception as error:
            raise self._gone(error) from None
        return min(_MOST, max(_LEAST, _PER_THREAD * threads))

    def _submitted(self, tasks: Iterator[Task]) -> dict[Any, Task]:
        try:
            return {self._client.submit(run_task, task, pure=False): task for task in tasks}
        except Exception as error:
            raise self._gone(error) from None

    def _finished(self, futures: list[Any]) -> list[Any]:
        try:
            done = self._library.wait(futures, timeout=LOOK, return_when="FIRST_COMPLETED").done
        except TimeoutError:
            self._alive()
            return []
        except Exception as error:
            raise self._gone(error) from None
        return list(done)

    def _row(self, future: Any, task: Task) -> TaskRow:
        if future.status == "finished":
            try:
                row = future.result(timeout=CONNECT)
            except Exception as error:
                raise self._gone(error) from None
            return TaskRow(*row)
        if future.status != "error":
            raise self._gone()
        raised = future.exception(timeout=CONNECT)
        if isinstance(raised, self._library.scheduler.KilledWorker):
            self._died("a task killed the workers that ran it, and was given up")
            return TaskRow(task.place, None, None, DIED)
        raise InputError(
            f"the cluster cannot run espsim's tasks ({type(raised).__name__}): install this espsim there", where=_WHERE
        )

    def _alive(self) -> None:
        if self._client.status != "running":
            raise self._gone()

    def _gone(self, error: Exception | None = None) -> InputError:
        how = f" ({type(error).__name__})" if error is not None else ""
        what = f"the scheduler is gone{how}; its rows are kept: run the same command again to continue"
        return InputError(what, where=_WHERE)
