"""What is put into a queue beside mspc is what mspc would have put there."""

import hashlib
import json

from tests.faults.backlog import Backlog
from tests.faults.checker import Hit, Sent, check
from tests.faults.load import call_to

BASE = "http://127.0.0.1:12345"
COUNT = 2_500


def test_every_call_is_one_that_the_ledger_can_check() -> None:
    backlog = Backlog(BASE, COUNT)
    batches = list(backlog.batches())
    calls = [call for batch in batches for call in batch]

    assert [len(batch) for batch in batches] == [1000, 1000, 500]
    assert len({len(payload) for _, payload in calls}) == 1
    assert [call_id for call_id, _ in calls] == [
        backlog.id(n) for n in range(1, COUNT + 1)
    ]
    for call_id, payload in (calls[0], calls[1234], calls[-1]):
        call = json.loads(payload)
        assert call == call_to(BASE, call_id)
        digest = hashlib.sha256(call["body"].encode()).hexdigest()
        assert call["headers"]["X-Check"] == digest


def test_its_ids_are_known_without_a_list() -> None:
    backlog = Backlog(BASE, COUNT)

    assert backlog.id(1) in backlog
    assert backlog.id(COUNT) in backlog
    for other in (backlog.id(0), backlog.id(COUNT + 1), "stored-1", "load0-1", 5):
        assert other not in backlog


def test_a_stored_call_may_come_but_only_once_and_as_it_was() -> None:
    backlog = Backlog(BASE, COUNT)
    promised, other = backlog.id(1), backlog.id(2)
    sent = [Sent(promised, "ok", 0, 0.0, 0.0)]
    hits = [Hit(promised, 1.0, True, 200), Hit(other, 1.0, True, 200)]

    assert check(sent, hits, stored=backlog).problems(0) == []
    assert check(sent, hits).unexpected == (other,)
    assert check(sent, hits[1:], stored=backlog).lost == (promised,)
    assert check(sent, hits * 2, stored=backlog).duplicated == 2
    wrong = [*hits, Hit("stored-1", 1.0), Hit(backlog.id(3), 1.0, False, 200)]
    verdict = check(sent, wrong, stored=backlog)
    assert (verdict.unexpected, verdict.corrupted) == (("stored-1",), (backlog.id(3),))
