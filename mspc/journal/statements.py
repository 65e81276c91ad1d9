"""What the journal tells SQLite; columns.py has the values for it."""

from collections.abc import Sequence

from mspc.calls.words import SUCCEEDED
from mspc.process.bulk import Bulk, inserting, placeholders

# Of one call; the older ones are forgotten.
KEPT_ATTEMPTS = 50
_FIND = """
SELECT c.key, c.id, d.name, c.state, c.changed_at, c.due, c.attempts, c.finished_at,
    c.reason, c.status, c.error, length(c.headers) = 0 AND length(c.body) = 0
FROM calls c CROSS JOIN destinations d ON d.number = c.destination WHERE c.id IN (
"""
FIND = Bulk(_FIND, "?", ")")
_STATE = ("key", "state", "changed_at", "due", "attempts", "finished_at", "reason")
_LAST_ATTEMPT = (
    "status",
    "error",
    "number",
    "attempted_at",
    "seconds",
    "text",
    "answer",
    "decision",
    "next_at",
)
_CALL = (
    "id",
    "destination",
    "method",
    "url",
    "labels",
    "max_attempts",
    "body_bytes",
    "headers",
    "body",
)
FILL = """
UPDATE calls SET method = ?, url = ?, labels = ?, max_attempts = ?, body_bytes = ?,
    headers = ?, body = ? WHERE key = ?
"""
FAILED = inserting("INSERT OR REPLACE INTO attempts", 11)
FORGET_ATTEMPTS = f"""
DELETE FROM attempts WHERE call = ?1 AND at < (SELECT at FROM attempts WHERE call = ?1
    ORDER BY at DESC LIMIT 1 OFFSET {KEPT_ATTEMPTS - 1})
"""
_AMONG = "IN (SELECT value FROM json_each(?))"  # however many: one statement
FORGET_CALLS = f"DELETE FROM calls WHERE key {_AMONG}"
FORGET_THEIR_ATTEMPTS = f"DELETE FROM attempts WHERE call {_AMONG}"
FORGET_DESTINATIONS = f"DELETE FROM destinations WHERE number {_AMONG}"
FORGET_DECISIONS = f"DELETE FROM decisions WHERE key {_AMONG}"
NOTE = inserting("INSERT OR REPLACE INTO position", 2)
DECIDE = """
INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
CRASHED = "SELECT max(at) FROM decisions WHERE kind = 'crashed'"
# Of open calls: the others have no time to come.
OLDEST_DUE = "SELECT min(due) FROM calls WHERE due > ?"
OLDEST_DUE_OF = """
SELECT min(due) FROM calls WHERE due > ? AND destination =
    (SELECT number FROM destinations WHERE name = ?)
"""
CHUNKS = """
SELECT d.key FROM decisions d INDEXED BY decisions_kind
    JOIN targets t ON t.decision = d.key AND t.target = ?
WHERE d.kind = 'chunk' AND d.key < ?
"""
# The first one has the ids of all calls, and what is not `running` says who stopped it.
PROGRESS = """
SELECT d.key FROM targets t CROSS JOIN decisions d ON d.key = t.decision
WHERE t.target = ? AND t.decision < ? AND d.kind = 'bulk'
    AND json_extract(d.details, '$.status') = 'running'
    AND json_type(d.details, '$.ids') IS NULL
"""
LAST_WORD = """
SELECT d.id FROM targets t CROSS JOIN decisions d ON d.key = t.decision
WHERE t.target = ? AND d.kind IN ('cancelled', 'retried', 'deleted')
ORDER BY t.decision DESC LIMIT 1
"""
# Who came first died first, nearly: one that was retried may have died again. So they
# are looked for among some that came first or last, of a thousand.
_DEAD_OF = """
FROM (
    SELECT id, finished_at, answer FROM (
        SELECT c.id, c.finished_at, c.answer, c.reason, c.status, c.error
        FROM destinations d CROSS JOIN calls c INDEXED BY calls_standing
        WHERE d.name = ? AND c.destination = d.number
            AND c.state = 'dead' AND c.state <> 'succeeded'
        ORDER BY c.key {} LIMIT 1000
    ) WHERE reason = ? AND status IS ? AND error = ? LIMIT 50
)
"""
FIRST_DEAD = f"SELECT min(finished_at) {_DEAD_OF.format('')}"
LATEST_DEAD = f"""
SELECT id, finished_at, answer {_DEAD_OF.format("DESC")}
ORDER BY finished_at DESC LIMIT 1
"""
# The key is that of who died last.
GROUPS = """
SELECT reason, status, error, d.name, count, first, last,
    CAST(substr(latest, 18) AS INTEGER)
FROM (
    SELECT reason, status, error, destination, count(*) AS count,
        min(finished_at) AS first, max(finished_at) AS last,
        max(printf('%017.6f%d', finished_at, key)) AS latest
    FROM calls INDEXED BY calls_state WHERE state = 'dead' AND state <> 'succeeded'
    GROUP BY reason, status, error, destination
) found JOIN destinations d ON d.number = found.destination
ORDER BY count DESC
"""
_SEEN = (
    "c.key",
    "c.id",
    "c.state",
    "c.method",
    "c.url",
    "d.name",
    "c.labels",
    "c.due",
    "c.attempts",
    "c.max_attempts",
    "c.body_bytes",
    "c.finished_at",
    "c.reason",
    "c.status",
    "c.error",
    "c.number",
    "c.attempted_at",
    "c.seconds",
    "c.text",
    "c.answer",
    "c.decision",
    "c.next_at",
)
SEEN = ", ".join(_SEEN)
_NAMES = ", ".join(one.partition(".")[2] for one in _SEEN)
# All rows in one: to step from one to the next, Python's sqlite3 lets the interpreter's
# lock go, and gets it back when the thread with all the greenlets pauses.
SEEN_TOGETHER = f"json_group_array(json_array({_NAMES}))"
ATTEMPTS = """
SELECT number, at, seconds, status, error, text, answer, decision, next_at, reason
FROM attempts WHERE call = ? ORDER BY at, number
"""


def _updating(columns: Sequence[str]) -> Bulk:
    """The first one is the key."""
    new = (f"{name} = new.column{n}" for n, name in enumerate(columns[1:], 2))
    head = f"UPDATE calls SET {', '.join(new)} FROM (VALUES "
    return Bulk(head, placeholders(len(columns)), ") AS new WHERE key = new.column1")


_INSERTED = (*_STATE, *_LAST_ATTEMPT, *_CALL)
INSERT = inserting(
    f"INSERT INTO calls ({', '.join(_INSERTED)})",
    len(_INSERTED),
    " ON CONFLICT DO NOTHING",
)
# What all that were delivered have in common is not bound for each.
DELIVERED = Bulk(
    f"""
INSERT INTO calls ({", ".join(_INSERTED)})
SELECT column1, '{SUCCEEDED}', column2, NULL, column3, column2, '',
    column4, '', column3, column5, column6, '', column7, 'done', NULL,
    column8, column9, column10, column11, column12, column13, column14, column15,
    column16
FROM (VALUES """,
    placeholders(16),
    ") WHERE column1 IS NOT NULL ON CONFLICT DO NOTHING",
)
UPDATE = _updating(_STATE)
UPDATE_LAST = _updating((*_STATE, *_LAST_ATTEMPT))
