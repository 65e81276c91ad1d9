"""Writes events down: a transaction for many, a row for each call.

All of it runs in the journal's thread.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import msgspec
from msgspec.structs import replace

from mspc.calls.words import STATES
from mspc.journal import statements as sql
from mspc.journal.applying import OF_CALLS, Batch
from mspc.journal.changes import Changes
from mspc.journal.events import Decided, Event
from mspc.journal.keys import key_of
from mspc.journal.rows import Rows

# Some text that is none, some number too large.
_UNFIT = (
    ValueError,
    TypeError,
    OverflowError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
)
# A note of the file.
CUT_AT = "cut_at"
_IN_USE = "closed", 0


class Writer:
    """Writes into one file.

    Attributes:
        states: how many calls there are, by state, as far as it is committed.
        last_at: when the last event happened, Unix seconds; 0 before the first.
        cut_at: the same before the file was cut off the first time, when nobody has
            found out yet what is missing.
        offset: of the last batch of the stream that was written; None before the first.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rows = Rows(db)
        (newest,) = db.execute("SELECT max(key) FROM calls").fetchone()
        self._newest: int = -1 if newest is None else newest
        known = dict(db.execute("SELECT name, value FROM position"))
        self.states = {state: int(known.get(state, 0)) for state in STATES}
        self.last_at = float(known.get("last_at", 0.0))
        self._closed: int | None = known.get("closed")
        self.cut_at = float(known.get(CUT_AT) or self.last_at)
        self.offset: int | None = known.get("offset")
        self._in_use = False  # and the file says so

    def begin(self) -> bool:
        """Notes that the file is in use, so that it survives a crash of the machine.

        Returns:
            Whether whoever had it before did not call end(). Of a file of before there
            were such notes nobody knows.
        """
        cut_off = self._closed == 0
        # What a full disk has can be read all the same.
        with suppress(sqlite3.OperationalError):
            sql.NOTE.change(self._db, [(CUT_AT, self.cut_at if cut_off else 0)])
            sql.NOTE.change(self._db, [_IN_USE])
            self._in_use = True
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")  # which syncs it
        return cut_off

    def cut(self, since: float) -> None:
        """Notes since when something is missing, Unix seconds.

        Raises:
            sqlite3.Error: that is not noted.
        """
        # In this order: of a file that is not in use nobody believes it.
        sql.NOTE.change(self._db, [_IN_USE])
        sql.NOTE.change(self._db, [(CUT_AT, since)])
        self._in_use = True

    def end(self) -> None:
        """Notes that the file has everything that happened.

        Raises:
            sqlite3.Error: that is not noted.
        """
        sql.NOTE.change(self._db, [("closed", 1)])

    def write(self, events: Sequence[Event], offset: int | None = None) -> Changes:
        """All of them, in one transaction; what cannot be written is left out.

        Args:
            events: in the order in which they came.
            offset: they came with the stream, up to here.

        Raises:
            sqlite3.Error: nothing was written.
        """
        try:
            return self._write(events, offset)
        except _UNFIT:  # no reason to lose others
            fit = [event for event in events if self._is_fit(event)]
        changes = self._write(fit, offset)
        changes.unfit = len(events) - len(fit)
        return changes

    def _is_fit(self, event: Event) -> bool:
        try:
            with self._transaction(keep=False):
                self._apply([event])
        except _UNFIT:
            return False
        return True

    def _write(self, events: Sequence[Event], offset: int | None) -> Changes:
        with self._transaction():
            batch = self._apply(events)
            changes = batch.counted()
            states = self._note(changes, offset)
        self._in_use = True
        self._newest = max(self._newest, batch.newest)
        self.states, self.last_at = states, max(self.last_at, changes.last_at)
        self.offset = self.offset if offset is None else offset
        return changes

    def forget(self, keys: Sequence[int], changes: Changes) -> None:
        """Deletes calls.

        Args:
            keys: theirs.
            changes: what that changes.

        Raises:
            sqlite3.Error: nothing was deleted.
        """
        with self._transaction():
            self._delete(keys, sql.FORGET_CALLS, sql.FORGET_THEIR_ATTEMPTS)
            states = self._note(changes, None)
        self.states = states

    def forget_destinations(self, numbers: Sequence[int]) -> None:
        """Deletes destinations that no call has."""
        self._rows.forget_numbers()
        with self._transaction():
            self._delete(numbers, sql.FORGET_DESTINATIONS)

    def forget_decisions(self, keys: Sequence[int]) -> None:
        with self._transaction():
            # Those of one decision have no index of their own: its targets name them.
            for key in keys:
                self._db.executemany(
                    "DELETE FROM targets WHERE target = ? AND decision = ?",
                    [(target, key) for target in self._targets(key)],
                )
            self._delete(keys, sql.FORGET_DECISIONS)

    def _delete(self, keys: Sequence[int], *statements: str) -> None:
        """What has one of these keys, by each of the statements."""
        gone = (msgspec.json.encode(keys).decode(),)
        for statement in statements:
            self._db.execute(statement, gone)

    def _targets(self, key: int) -> list[str]:
        query = "SELECT targets FROM decisions WHERE key = ?"
        (targets,) = self._db.execute(query, (key,)).fetchone()
        return msgspec.json.decode(targets, type=list[str])

    @contextmanager
    def _transaction(self, *, keep: bool = True) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT" if keep else "ROLLBACK")
        except BaseException:
            self._rows.forget_numbers()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        if not keep:
            self._rows.forget_numbers()

    def _apply(self, events: Sequence[Event]) -> Batch:
        batch = Batch(self._rows.found, self._newest)
        to_fold: list[Event] = []
        for event in events:
            if not isinstance(event, Decided):
                to_fold.append(event)
            elif self._note_decision(event):
                to_fold.append(event)
                batch.changes.decided.append(event)
            elif event.kind in OF_CALLS:
                to_fold.append(self._still_true(event))
        batch.fold(to_fold)
        self._rows.write(batch)
        return batch

    def _note(self, changes: Changes, offset: int | None) -> dict[str, int]:
        """Writes down what is to be known at the next start; the calls by state."""
        states = dict(self.states)
        for (_, before, after), count in changes.moved.items():
            if before is not None:
                states[before] -= count
            if after is not None:
                states[after] += count
        notes: list[tuple[str, object]] = [*states.items()]
        notes.append(("last_at", max(changes.last_at, self.last_at)))
        if offset is not None:
            notes.append(("offset", offset))
        if not self._in_use:  # the disk was full when it was opened
            notes.append(_IN_USE)
        sql.NOTE.change(self._db, notes)
        return states

    def _note_decision(self, event: Decided) -> bool:
        """Whether it was not known before."""
        key = key_of(event.id, event.at)
        targets = msgspec.json.encode(event.targets).decode()
        details = msgspec.json.encode(event.details).decode()
        values = event.id, event.kind, event.at, event.who, targets, event.reason
        known = "SELECT 1 FROM decisions WHERE id = ?"
        while self._db.execute(sql.DECIDE, (key, *values, details)).rowcount < 1:
            if self._db.execute(known, (event.id,)).fetchone() is not None:
                return False
            key += 1  # two of a millisecond may have one
        self._db.executemany(
            "INSERT OR IGNORE INTO targets VALUES (?, ?)",
            [(target, key) for target in event.targets],
        )
        if event.kind == "chunk":  # each has the ids of its calls
            self._forget_earlier(sql.CHUNKS, event.targets[0], key)
        elif event.kind == "bulk":  # one a second
            self._forget_earlier(sql.PROGRESS, event.targets[0], key)
        return True

    def _still_true(self, event: Decided) -> Decided:
        """One that the stream gives once more, for calls of which it is the last word.

        One that was cancelled may have been retried since; of another one nobody knew
        when it came first.
        """
        last = (self._db.execute(sql.LAST_WORD, (one,)) for one in event.targets)
        targets = [
            one
            for one, found in zip(event.targets, last, strict=True)
            if found.fetchone() == (event.id,)
        ]
        return replace(event, targets=tuple(targets))

    def _forget_earlier(self, which: str, job_id: str, before: int) -> None:
        """Of one job, what a later decision has made old."""
        rows = self._db.execute(which, (job_id, before)).fetchall()
        self._delete([key for (key,) in rows], sql.FORGET_DECISIONS)
        self._db.executemany(
            "DELETE FROM targets WHERE decision = ?1 AND target = ?2",
            [(key, job_id) for (key,) in rows],
        )
