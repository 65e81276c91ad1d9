"""What the embedded queue tells SQLite."""

from mspc.process.bulk import Bulk, inserting

# Of what is found, and not yet read, in one look: a few milliseconds, for which a
# commit waits. While a million calls were looked through by 2,000, healthy calls took
# eight times as long in the median as alone, and twice by 500 (`make bench ARGS='--only
# fairness --cases waiting --subjects mspc-sqlite'`).
SCAN_ROWS = 500

# What is longer lies in `bodies`, where it stays until its call is done with; its row
# has a reference instead. So a failed attempt, which writes the row anew, writes no
# more than for a small call. What fits into one page with the rest of its row stays
# there: the usual call is one insert and one delete.
LARGEST_INLINE = 3072
# Payloads above this are read only when there is room for them in memory.
LARGEST_UNCOUNTED = 16_384

_MARK = b"mspc:bodies/"
_LONGEST_REFERENCE = len(_MARK) + 19  # digits of the largest number

CALL = "id, accepted_at, attempts, last_error, payload, crc, lane"
PUT = inserting(f"INSERT INTO calls ({CALL})", 7)
# `seq` is told, for SQLite gives a number again when its row is gone: whoever knows a
# row of `waiting` that was taken out meanwhile must not find another one there.
PUT_WAITING = inserting(f"INSERT INTO waiting (seq, due, delay, {CALL})", 10)
PUT_BODY = inserting("INSERT INTO bodies (body, payload)", 2)
DELETE = {
    table: Bulk(f"DELETE FROM {table} WHERE seq IN (", "?", ")")
    for table in ("calls", "waiting", "dead")
}
DELETE_BODY = Bulk("DELETE FROM bodies WHERE body IN (", "?", ")")

# The number of the body that a row refers to, NULL for none. What looks like a
# reference and is none (other bytes have no such body) is a payload like any other.
_REFERRED = (
    f"CASE WHEN length(r.payload) <= {_LONGEST_REFERENCE}"
    f" AND substr(r.payload, 1, {len(_MARK)}) = x'{_MARK.hex()}'"
    f" THEN CAST(CAST(substr(r.payload, {len(_MARK) + 1}) AS TEXT) AS INTEGER) END"
)
_WITH_BODY = f"r LEFT JOIN bodies b ON b.body = {_REFERRED}"
# length() reads no payload, and CASE only what it gives.
_SIZE = "coalesce(length(b.payload), length(r.payload))"
_ROW = (
    "r.seq, r.id, r.accepted_at, r.attempts, r.last_error, r.crc, b.body,"
    f" {_SIZE}, r.lane"
)
# Which rows there are, and whom they go to; NULL where no version has looked.
SCAN_NEW = (
    "SELECT seq, lane FROM calls WHERE seq > ? AND seq <= ?"
    f" ORDER BY seq LIMIT {SCAN_ROWS}"
)
SCAN_DUE = (
    "SELECT due, seq, lane FROM waiting WHERE (due, seq) > (?, ?) AND due <= ?"
    f" ORDER BY due, seq LIMIT {SCAN_ROWS}"
)
# Large payloads are left out here, and read one by one.
LOAD = {
    table: Bulk(
        f"SELECT {_ROW}, CASE WHEN {_SIZE} <= {LARGEST_UNCOUNTED}"
        " THEN coalesce(b.payload, r.payload) END"
        f" FROM {table} {_WITH_BODY} WHERE r.seq IN (",
        "?",
        ")",
    )
    for table in ("calls", "waiting")
}
LOAD_ONE = {
    table: f"SELECT {_ROW}, coalesce(b.payload, r.payload) FROM {table} {_WITH_BODY}"
    " WHERE r.seq = ?"
    for table in ("calls", "waiting")
}
# Rows by the ids of their calls; the last two are when it is due and why it died.
FIND = {
    table: Bulk(
        f"SELECT r.seq, r.id, b.body, {_SIZE}, r.lane, {more} FROM {table} {_WITH_BODY}"
        " WHERE r.id IN (",
        "?",
        ")",
    )
    for table, more in {
        "calls": "0, ''",
        "waiting": "r.due, ''",
        "dead": "0, r.reason",
    }.items()
}
# How the calls of some ids stand: see Kept in queues/base.py.
KEPT = {
    table: Bulk(
        f"SELECT id, attempts, last_error, {more} FROM {table} WHERE id IN (", "?", ")"
    )
    for table, more in {
        "dead": "0.0, died_at, reason",
        "calls": "0.0, NULL, ''",
        "waiting": "due / 1000.0, NULL, ''",
    }.items()
}
# Rows in the order of their ids, as FIND has them.
RECENT_ROWS = 50
RECENT = {
    table: f"SELECT r.seq, r.id, b.body, {_SIZE}, r.lane, {due}, '' FROM {table}"
    f" {_WITH_BODY} WHERE r.id > ? AND r.id < ? ORDER BY r.id LIMIT {RECENT_ROWS}"
    for table, due in {"calls": "0", "waiting": "r.due"}.items()
}
# The last dead letters, the newest first.
RECENT_DEAD = (
    f"SELECT r.seq, r.id, b.body, {_SIZE}, r.lane, 0, r.reason FROM dead {_WITH_BODY}"
    f" WHERE r.seq < ? ORDER BY r.seq DESC LIMIT {RECENT_ROWS}"
)
# All of some rows, whatever their size.
LOAD_ALL = {
    table: Bulk(
        f"SELECT {_ROW}, coalesce(b.payload, r.payload) FROM {table} {_WITH_BODY}"
        " WHERE r.seq IN (",
        "?",
        ")",
    )
    for table in ("calls", "waiting", "dead")
}
STILL_THERE = {
    table: Bulk(f"SELECT seq, id FROM {table} WHERE seq IN (", "?", ")")
    for table in ("calls", "waiting", "dead")
}
LAST_WAITING = "SELECT coalesce(max(seq), 0) FROM waiting"
NEXT_DUE = "SELECT min(due) FROM waiting WHERE due > ?"
WAIT = (
    f"INSERT INTO waiting (seq, due, delay, {CALL})"
    " SELECT ?, ?, ?, id, accepted_at, ?, ?, payload, ?, ? FROM calls WHERE seq = ?"
)
WAIT_AGAIN = (
    "UPDATE waiting SET due = ?, delay = ?, attempts = ?, last_error = ?, crc = ?,"
    " lane = ? WHERE seq = ?"
)
PUT_OFF = "UPDATE waiting SET seq = ?, due = ?, delay = ? WHERE seq = ?"
DIE = {
    table: f"INSERT INTO dead (died_at, reason, {CALL})"
    f" SELECT ?, ?, id, accepted_at, ?, ?, payload, ?, ? FROM {table} WHERE seq = ?"
    for table in ("calls", "waiting")
}
# A long payload of an older layout leaves its row at the first failure.
MOVE_BODY = {
    table: (
        f"INSERT INTO bodies (body, payload) SELECT ?, payload FROM {table}"
        " WHERE seq = ?",
        f"UPDATE {table} SET payload = ? WHERE seq = ?",
    )
    for table in ("calls", "waiting")
}
# After a step back of the clock nothing waits longer than it was told to.
CLAMP_DUE = "UPDATE waiting SET due = :now + delay WHERE due > :now + delay"
COUNTS = (
    "SELECT (SELECT count(*) FROM calls), (SELECT count(*) FROM waiting),"
    " (SELECT count(*) FROM dead)"
)
LAST_NEW = "SELECT coalesce(max(seq), 0) FROM calls"
LAST_BODY = "SELECT seq FROM sqlite_sequence WHERE name = 'bodies'"
# Those whose rows somebody has deleted by hand. The body of a row that is damaged may
# be all that is left of a call.
ORPHANS = (
    "SELECT body FROM bodies WHERE NOT EXISTS"
    " (SELECT 1 FROM dead WHERE reason LIKE 'damaged%')"
    + "".join(
        f" EXCEPT SELECT {_REFERRED} FROM {table} r"
        for table in ("calls", "waiting", "dead")
    )
)


def reference(body: int) -> bytes:
    """What the row of a call has whose payload is the body of this number."""
    return _MARK + str(body).encode()


def be_due(due: int, delay: int) -> Bulk:
    """Lets rows of `waiting` be due then, that are due later; `delay` as they have it.

    Both in milliseconds.
    """
    head = f"UPDATE waiting SET due = {due}, delay = {delay} WHERE due > {due}"
    return Bulk(f"{head} AND seq IN (", "?", ")")


def needs_body(payload: bytes) -> bool:
    return len(payload) > LARGEST_INLINE or payload.startswith(_MARK)
