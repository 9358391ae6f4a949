"""Keeps the rows of a sweep in a SQLite file.

    meta(key TEXT PRIMARY KEY, value TEXT)     schema, digest, study (JSON, as in `sweep report --json`), seed, tasks
    rows(place INTEGER PRIMARY KEY,            the task's place, from 0
         answer TEXT, result TEXT,             in a few words; values by name, as JSON. Both null if the task failed
         error TEXT)                           why the task failed, else null

The file states its type (`PRAGMA application_id`: 0x65737377, "essw") and its schema (`PRAGMA user_version`: 1).

One sweep writes it at a time. Its lock is flock(2) of a second file, FILE-lock. The system frees it when the process
ends, however it ends. A killed sweep leaves that file, unlocked. (A lock on the SQLite file would not last: SQLite
unlocks the whole file after every statement.)

The journal is SQLite's rollback journal, not its WAL. So one file holds everything between two commits, and it may be
in a cluster's shared folder. What a killed sweep left of a commit is rolled back when the file is opened again.

A row is committed when it comes. Rows that come during a commit form the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from typing import Any

from espsim.analysis.sweep.plan import SweepPlan, TaskRow
from espsim.core.closing import Closing
from espsim.core.errors import InputError

SCHEMA = 1
APPLICATION = 0x65737377
_WAIT = 10.0  # seconds to wait while another reader or writer has the file
_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rows(place INTEGER PRIMARY KEY, answer TEXT, result TEXT, error TEXT);
"""


class Store(Closing):
    """One file, open for the sweep that writes it.

    InputError: another sweep writes it, it belongs to another study, it is not a sweep's file, it is damaged, or it
    can't be written (a full disk). Stored rows stay in each case.
    """

    def __init__(self, path: str, plan: SweepPlan) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = _Lock(path)
        try:
            _make(path)
            with _told(path):
                self._connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
                self._prepare(self._connection, plan)
        except BaseException:
            self.close()
            raise

    def done(self) -> list[int]:
        """The places that have a row, in order."""
        with _told(self._path):
            return [place for (place,) in self._open.execute("SELECT place FROM rows ORDER BY place")]

    def failed(self) -> int:
        """How many rows have an error."""
        with _told(self._path):
            return int(self._open.execute("SELECT count(*) FROM rows WHERE error IS NOT NULL").fetchone()[0])

    def add(self, rows: Iterable[TaskRow]) -> None:
        """Store rows: they are committed when this returns. InputError: they can't be written; earlier rows stay."""
        with _told(self._path):
            self._open.execute("BEGIN IMMEDIATE")
            try:
                self._open.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", map(_columns, rows))
                self._open.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self._open.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file and free its lock."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
        self._lock.close()

    @property
    def lock(self) -> int:
        """The descriptor that holds the lock. A forked process must close it, or the lock outlives the sweep."""
        return self._lock.descriptor

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None  # noqa: S101 - no one uses a closed one
        return self._connection

    def _prepare(self, connection: sqlite3.Connection, plan: SweepPlan) -> None:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = NORMAL")
        if not os.path.getsize(self._path):
            study = json.dumps(plan.study.as_dict())
            about = {"schema": SCHEMA, "digest": plan.digest, "study": study, "seed": plan.seed, "tasks": plan.tasks}
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {SCHEMA}")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _TABLES.strip().split("\n"):
                connection.execute(statement)
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [(k, str(v)) for k, v in about.items()])
            connection.execute("COMMIT")
            return
        found = _about(connection, self._path)
        if found["digest"] != plan.digest:
            raise InputError(f"holds {_named(found)}: give -o another file", where=self._path)


class Saved:
    """A file's rows, for a report. InputError: it is not a sweep's file, or damaged."""

    def __init__(self, path: str) -> None:
        if not os.path.isfile(path):
            what = (
                "is a directory" if os.path.isdir(path) else "no such file" if not os.path.exists(path) else "no file"
            )
            raise InputError(what, where=path)
        if not os.path.getsize(path):
            raise InputError("is empty: no sweep has written to it yet", where=path)
        with _told(path), contextlib.closing(sqlite3.connect(path, timeout=_WAIT, isolation_level=None)) as connection:
            connection.execute("BEGIN")  # all reads see one state of the file, though a sweep may write
            about = _about(connection, path)
            self.study: dict[str, Any] = json.loads(about["study"])
            self.seed, self.tasks = int(about["seed"]), int(about["tasks"])
            self.rows = [
                TaskRow(place, answer, None if result is None else json.loads(result), error)
                for place, answer, result, error in connection.execute("SELECT * FROM rows ORDER BY place")
            ]


def _columns(row: TaskRow) -> tuple[int, str | None, str | None, str | None]:
    return row.place, row.answer, None if row.values is None else json.dumps(row.values), row.error


def _about(connection: sqlite3.Connection, path: str) -> dict[str, str]:
    """The table `meta`. InputError: the file is not a sweep's, has a later schema, or is damaged."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise InputError("is not a file of espsim sweep, and is left as it is", where=path)
    if schema != SCHEMA:
        raise InputError(f"has schema {schema}, and this espsim reads {SCHEMA}", where=path)
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise InputError(_DAMAGED, where=path)
    return dict(connection.execute("SELECT key, value FROM meta"))


_DAMAGED = "is damaged or cut short, so none of its rows can be trusted: start again with another file"


def _named(about: dict[str, str]) -> str:
    try:
        study = json.loads(about["study"])
        quick = ", --quick" if study["quick"] else ""
        return f"another sweep (study {study['study']}, seed {about['seed']}{quick}, or what its files said then)"
    except (KeyError, ValueError):
        return "another sweep"


def _make(path: str) -> None:
    """Make the file if it is not there, and check that it can be written."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from None
    regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    if not regular:
        raise InputError("cannot hold rows: it is not a regular file", where=path)


class _Lock(Closing):
    """The right to write a file. InputError: another process has it."""

    def __init__(self, path: str) -> None:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError("cannot hold rows: it is not a regular file", where=path)
        self._path = f"{os.path.realpath(path)}-lock"
        self.descriptor = -1
        while not self._taken(path):
            self._drop()

    def close(self) -> None:
        """Free the lock, and remove its file."""
        if self.descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path)
            self._drop()

    def _taken(self, path: str) -> bool:
        """Take the lock. False: its last holder removed the file meanwhile, so it must be made again."""
        try:
            self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._drop()
            raise InputError("another sweep is writing to it", where=path) from None
        except (OSError, ValueError) as error:
            self._drop()
            raise _unwritable(path, error) from None
        try:
            return os.stat(self._path).st_ino == os.fstat(self.descriptor).st_ino
        except FileNotFoundError:
            return False

    def _drop(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _unwritable(path: str, error: OSError | ValueError) -> InputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputError(f"cannot be written: {reason}", where=path)


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Turns SQLite's errors into InputErrors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            raise InputError("another program holds it locked", where=path) from None
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise InputError(
                f"cannot be written ({error}); the rows before stay: make room, run it again", where=path
            ) from None
        raise InputError(f"cannot be used: {error}", where=path) from None
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        what = "is not a file of espsim sweep, and is left as it is" if code == sqlite3.SQLITE_NOTADB else _DAMAGED
        raise InputError(what, where=path) from None
