"""The routes of dead letters by cause, and of what is done to many calls."""

from collections.abc import Iterator

from mspc.admin.queries import BulkBody, PlanBody
from mspc.admin.routes import JOURNAL, Asked, Reply, Route
from mspc.admin.shapes import (
    GroupList,
    JobList,
    ShownJob,
    ShownPlan,
    shown_group,
    shown_job,
    shown_plan,
)
from mspc.api.errors import Missing
from mspc.calls.sentences import shown
from mspc.errors import InvalidProperties
from mspc.journal.base import EVERYTHING, Filter, View
from mspc.steering.base import Job, Steering


class BulkRoutes:
    """Handles /v1/dead/groups and the routes below /v1/bulk."""

    def __init__(self, view: View, steering: Steering) -> None:
        self._view = view
        self._steering = steering

    def routes(self) -> Iterator[Route]:
        one = "/v1/bulk/{job_id}"
        yield Route(
            "GET",
            "/v1/dead/groups",
            "Dead letters by cause, the most first.",
            GroupList,
            self.groups,
            "read",
            errors=JOURNAL,
        )
        yield Route(
            "POST",
            "/v1/bulk/plan",
            "What a job would reach; changes nothing.",
            ShownPlan,
            self.plan,
            body=PlanBody,
            errors=JOURNAL,
        )
        yield Route(
            "POST",
            "/v1/bulk",
            "Begins a job: retry, cancel or delete many calls.",
            ShownJob,
            self.begin,
            body=BulkBody,
            status=202,
            errors=(409, *JOURNAL),
        )
        yield Route(
            "GET",
            "/v1/bulk",
            "Jobs, newest first.",
            JobList,
            self.jobs,
            "read",
            errors=JOURNAL,
        )
        yield Route(
            "GET",
            one,
            "How far a job is.",
            ShownJob,
            self.job,
            "read",
            errors=(404, *JOURNAL),
        )
        yield Route(
            "DELETE",
            one,
            "Ends it after what it is doing.",
            ShownJob,
            self.stop,
            errors=(404, *JOURNAL),
        )

    def groups(self, asked: Asked) -> Reply:
        return Reply(GroupList([shown_group(one) for one in self._view.groups()]))

    def plan(self, asked: Asked) -> Reply:
        body: PlanBody = asked.body
        return Reply(shown_plan(self._steering.plan(body.action, body.filter.wanted())))

    def begin(self, asked: Asked) -> Reply:
        body: BulkBody = asked.body
        job = self._steering.begin(
            body.action,
            _wanted(body),
            asked.who,
            limit=body.most,
            per_second=body.per_second,
            delay=body.seconds,
            reason=body.reason or "",
        )
        return Reply(shown_job(job), 202)

    def jobs(self, asked: Asked) -> Reply:
        return Reply(JobList([shown_job(one) for one in self._steering.jobs()]))

    def job(self, asked: Asked) -> Reply:
        job_id = asked.path["job_id"]
        return Reply(_known(self._steering.job(job_id), job_id))

    def stop(self, asked: Asked) -> Reply:
        job_id = asked.path["job_id"]
        return Reply(_known(self._steering.stop_job(job_id, asked.who), job_id))


def _wanted(body: BulkBody) -> Filter | tuple[str, ...]:
    """Which calls a job is for.

    Raises:
        InvalidProperties: it does not say, or says it twice.
    """
    if body.ids is not None:
        if body.filter is not None or body.all:
            raise InvalidProperties(["ids and filter must not both be given."])
        return tuple(body.ids)
    wanted = EVERYTHING if body.filter is None else body.filter.wanted()
    if wanted == EVERYTHING and not body.all:
        told = 'filter is empty: say "all": true if every call is meant.'
        raise InvalidProperties([told])
    return wanted


def _known(job: Job | None, job_id: str) -> ShownJob:
    if job is None:
        raise Missing("no_such_job", f"There is no job {shown(job_id)}.")
    return shown_job(job)
