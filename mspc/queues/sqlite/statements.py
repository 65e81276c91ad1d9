"""What the embedded queue tells SQLite."""

from mspc.queues.sqlite.bulk import Bulk

LOAD_ROWS = 100

CALL = "id, accepted_at, attempts, last_error, payload, crc"
PUT = Bulk(f"INSERT INTO calls ({CALL}) VALUES ", "(?, ?, ?, ?, ?, ?)")
DELETE = {
    table: Bulk(f"DELETE FROM {table} WHERE seq IN (", "?", ")")
    for table in ("calls", "waiting")
}
LOAD_NEW = f"SELECT seq, {CALL} FROM calls WHERE seq > ? ORDER BY seq LIMIT {LOAD_ROWS}"
LOAD_DUE = (
    f"SELECT due, seq, {CALL} FROM waiting WHERE (due, seq) > (?, ?) AND due <= ?"
    f" ORDER BY due, seq LIMIT {LOAD_ROWS}"
)
NEXT_DUE = "SELECT min(due) FROM waiting WHERE due > ?"
WAIT = (
    f"INSERT INTO waiting (due, delay, {CALL})"
    " SELECT ?, ?, id, accepted_at, ?, ?, payload, ? FROM calls WHERE seq = ?"
)
WAIT_AGAIN = (
    "UPDATE waiting SET due = ?, delay = ?, attempts = ?, last_error = ?, crc = ?"
    " WHERE seq = ?"
)
DIE = {
    table: f"INSERT INTO dead (died_at, reason, {CALL})"
    f" SELECT ?, ?, id, accepted_at, ?, ?, payload, ? FROM {table} WHERE seq = ?"
    for table in ("calls", "waiting")
}
# After a step back of the clock nothing waits longer than it was told to.
CLAMP_DUE = "UPDATE waiting SET due = :now + delay WHERE due > :now + delay"
