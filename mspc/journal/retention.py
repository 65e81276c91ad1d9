"""Forgets what is old or too much, in steps that hold nobody up.

All of it runs in the journal's thread.
"""

import sqlite3
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import msgspec

from mspc.calls.words import DEAD, FINISHED, QUEUED, WAITING
from mspc.journal import columns
from mspc.journal import statements as sql
from mspc.journal.changes import Changes, Dead
from mspc.journal.folding import Cause
from mspc.journal.keys import first_key
from mspc.journal.writing import Writer

# In one step, which takes some milliseconds. Where none of so many is to go, the next
# step looks at twice as many calls, and so on.
STEP_ROWS = 200
MOST_ROWS = 1600
STEP_PAGES = 256
DAY_SECONDS = 86_400.0
DECISION_DAYS = 90
# Beyond these the oldest go: a caller that cancels ten calls a second makes two million
# a day.
MOST_DECISIONS = 100_000
# Calls that were open when they were passed are looked at again, and so are decisions.
ROUND_SECONDS = 3600.0
# Where there are too many calls and all that were passed are open, the oldest of these
# go, for so long after it was looked whether some of them have ended.
OPEN_GO_SECONDS = 600.0
# Where there are too many calls, those that were passed are looked at again when more
# than an eighth of them has ended, and this often in any case: a million takes seconds.
_FEW = 8
PASSED_SECONDS = 600.0
# Free pages that are kept for the next calls: 4 MiB.
_KEPT_PAGES = 1024
_NEWEST = (1 << 63) - 1

# All in one row: see SEEN_TOGETHER. `old` is NULL of a call that is open; one that may
# have ended unnoticed in a crash has ended then. `death` is for dead letters alone.
_SELECT = f"""
SELECT max(key), json_group_array(json_array(key, state, name, old, death))
    FILTER (WHERE old IS NOT NULL OR :open)
FROM (
    SELECT c.key, c.state, d.name, CASE c.state WHEN '{DEAD}'
        THEN json_array(c.id, c.finished_at, c.reason, c.status, c.error) END AS death,
        CASE
        WHEN c.state IN ({", ".join(f"'{state}'" for state in sorted(FINISHED))})
        THEN c.finished_at WHEN c.due <= :crashed THEN :crashed END < :before AS old
    FROM calls c JOIN destinations d ON d.number = c.destination
    WHERE c.key > :after AND c.key < :end ORDER BY c.key LIMIT :rows
)
"""
_OPEN_AMONG = f"""
SELECT count(*) FROM calls
    WHERE key > ? AND key <= ? AND state IN ('{QUEUED}', '{WAITING}')
"""
_UNUSED = f"""
SELECT d.number, EXISTS (SELECT 1 FROM calls c WHERE c.destination = d.number)
FROM destinations d WHERE d.number > ? ORDER BY d.number LIMIT {STEP_ROWS}
"""
# What is in force is the last word on a destination, and neither an end nor a relief;
# or on which calls may have ended unnoticed; or it says how a job goes on that has not
# ended, unless it is too old.
_OLD_DECISIONS = f"""
SELECT key, kind IN ('paused', 'limited') AND NOT EXISTS (
    SELECT 1 FROM targets t JOIN decisions later ON later.key = t.decision
    WHERE t.target = json_extract(d.targets, '$[0]') AND t.decision > d.key
    AND later.kind IN
        (d.kind, CASE d.kind WHEN 'paused' THEN 'resumed' ELSE 'unlimited' END))
    OR kind = 'crashed' AND NOT EXISTS (
    SELECT 1 FROM decisions later WHERE later.kind = 'crashed' AND later.key > d.key)
    OR kind IN ('bulk', 'chunk') AND d.key >= ?3 AND NOT (
    SELECT coalesce(json_extract(last.details, '$.ended'), 1)
    FROM targets t JOIN decisions last ON last.key = t.decision
    WHERE t.target = json_extract(d.targets, '$[0]') AND last.kind = 'bulk'
    ORDER BY t.decision DESC LIMIT 1)
FROM decisions d WHERE key > ?1 AND key < ?2 ORDER BY key LIMIT {STEP_ROWS}
"""
_OLDEST_KEPT = "SELECT key FROM decisions ORDER BY key DESC LIMIT 1 OFFSET ?"


class Retention:
    """Goes round: through calls, destinations and decisions, each from the oldest."""

    def __init__(
        self,
        db: sqlite3.Connection,
        writer: Writer,
        days: int,
        max_calls: int,
        clock: Callable[[], float],
    ) -> None:
        """
        Args:
            db: the file.
            writer: of that file.
            days: for which a finished call is kept, and one that may have ended
                unnoticed in a crash.
            max_calls: how many calls are kept.
            clock: Unix seconds.
        """
        self._db = db
        self._writer = writer
        self._days = days
        self._max_calls = max_calls
        self._clock = clock
        self._began = clock()
        self._rows = STEP_ROWS  # which the next step looks at
        self._call = self._destination = self._decision = -1
        # Before this key there are too many decisions. Counted once a round.
        self._kept: int | None = None
        # Calls before self._call were open when they were passed: so many.
        self._passed = 0
        self._passed_since = self._began
        self._looks_again = False
        self._open_go_until = 0.0

    def step(self) -> Changes | None:
        """Does a little; None when there is nothing to do for now.

        Raises:
            sqlite3.Error: that step was not done.
        """
        now = self._clock()
        if not 0 <= now - self._began < ROUND_SECONDS:
            self._began = now
            self._look_again(now)
            self._destination = self._decision = -1
            self._kept = None
        changes = self._forget_calls(now)
        if changes is None and not self._give_back():
            if self._forget_destinations() or self._forget_decisions(now):
                return Changes()
            return None
        return changes or Changes()

    def _forget_calls(self, now: float) -> Changes | None:
        over = sum(self._writer.states.values()) - self._max_calls
        if over > 0 and self._have_ended(now):
            self._look_again(now)
        old = now - self._days * DAY_SECONDS
        # Most calls are finished soon after they came: an hour later they are passed.
        passed = first_key(old - ROUND_SECONDS)
        end = _NEWEST if over > 0 else passed
        last, ended = self._look(self._call, end, old, self._rows)
        if last is not None:
            if len(ended) > STEP_ROWS:
                del ended[STEP_ROWS:]
                last = ended[-1][0]
            gone = [row for n, row in enumerate(ended) if n < over or row[3]]
            self._rows = STEP_ROWS if gone else min(2 * self._rows, MOST_ROWS)
            if over <= len(ended):  # whatever follows is neither too much nor old
                last_gone = gone[-1][0] if gone else -1
                last = min(last, max(last_gone, passed - 1))
            self._pass(last)
            return self._forgotten(gone)
        if over <= 0:
            return None
        if self._looks_again:
            self._looks_again, self._open_go_until = False, now + OPEN_GO_SECONDS
        if now < self._open_go_until:
            # All that were passed are open, and somebody must go.
            _, oldest = self._look(-1, end, old, STEP_ROWS, open_ones=True)
            self._passed = max(0, self._passed - len(oldest[:over]))
            return self._forgotten(oldest[:over])
        # Those that were open when they were passed may have ended since.
        self._look_again(now)
        return Changes()

    def _have_ended(self, now: float) -> bool:
        """Whether many of those that were open when they were passed are not any more:
        they are older than whatever would go next.

        To look at all of them again takes as long for one that has ended as for many.
        Where as many have come, only the clock tells that it is time.
        """
        open_now = self._writer.states[QUEUED] + self._writer.states[WAITING]
        if self._passed - open_now > self._passed // _FEW:
            return True
        return self._passed > 0 and now - self._passed_since >= PASSED_SECONDS

    def _look_again(self, now: float) -> None:
        self._call, self._passed, self._passed_since = -1, 0, now
        self._looks_again = True

    def _pass(self, last: int) -> None:
        (count,) = self._db.execute(_OPEN_AMONG, (self._call, last)).fetchone()
        self._passed += count
        self._call = last

    def _look(
        self, after: int, end: int, old: float, rows: int, *, open_ones: bool = False
    ) -> tuple[int | None, list[Sequence[Any]]]:
        """The key of the last of so many calls, None when there are none; and those of
        them that have ended, or all.
        """
        (crashed,) = self._db.execute(sql.CRASHED).fetchone()
        bounds = {"after": after, "end": end, "rows": rows, "open": open_ones}
        last, found = self._db.execute(
            _SELECT, {**bounds, "crashed": crashed, "before": old}
        ).fetchone()
        return last, sorted(columns.rows_together.decode(found), key=itemgetter(0))

    def _forgotten(self, rows: Sequence[Sequence[Any]]) -> Changes:
        changes = Changes()
        changes.moved.update((name, state, None) for _, state, name, _, _ in rows)
        for _, _, name, _, death in rows:
            if death is not None:
                call_id, at, *cause = msgspec.json.decode(death)
                changes.undone.append(Dead(Cause(*cause), name, call_id, at, ""))
        if rows:
            self._writer.forget([row[0] for row in rows], changes)
        return changes

    def _give_back(self) -> bool:
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free <= _KEPT_PAGES:
            return False
        # execute() takes one step, and with it one page, since there are no rows.
        pages = min(STEP_PAGES, free - _KEPT_PAGES)
        self._db.executescript(f"PRAGMA incremental_vacuum({pages})")
        return True

    def _forget_destinations(self) -> bool:
        rows = self._db.execute(_UNUSED, (self._destination,)).fetchall()
        if not rows:
            return False
        self._destination = rows[-1][0]
        unused = [number for number, used in rows if not used]
        if unused:
            self._writer.forget_destinations(unused)
        return True

    def _forget_decisions(self, now: float) -> bool:
        if self._kept is None:
            most = (MOST_DECISIONS - 1,)
            (self._kept,) = self._db.execute(_OLDEST_KEPT, most).fetchone() or (-1,)
        old = first_key(now - DECISION_DAYS * DAY_SECONDS)
        asked = self._decision, max(old, self._kept), old
        rows = self._db.execute(_OLD_DECISIONS, asked).fetchall()
        if not rows:
            return False
        self._decision = rows[-1][0]
        gone = [key for key, in_force in rows if not in_force]
        if gone:
            self._writer.forget_decisions(gone)
        return True
