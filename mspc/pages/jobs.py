"""Jobs: what is being done to many calls; and what was decided, by whom."""

import falcon

from mspc.admin.queries import CallFilter, DecisionsQuery
from mspc.admin.reading import read_query
from mspc.journal.events import Kind
from mspc.pages.calls import action_of, fitting
from mspc.pages.desk import Page
from mspc.pages.forms import delay, first, read_form, reason, selected, whole
from mspc.steering.destinations import LIMITS, PAUSES

MOST_SHOWN = 200
USUAL_PER_SECOND = 50
# Kinds of decisions, by the word in the address.
KINDS: dict[str, tuple[Kind, ...]] = {
    "": (),
    "pauses": PAUSES,
    "limits": LIMITS,
    "calls": ("retried", "cancelled", "deleted"),
    "jobs": ("bulk",),
    "secrets": ("revealed",),
    "crashes": ("crashed",),
}


class Jobs(Page):
    """GET /bulk: all of them. POST: begins one."""

    here = "bulk"

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        jobs = self.desk.steering.jobs()[:MOST_SHOWN]
        self.show(req, resp, "jobs.html", "Jobs", jobs=jobs)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = read_form(req)
        action = action_of(first(form, "action"))
        wanted = fitting(action, read_query(CallFilter, first(form, "query")).wanted())
        job = self.desk.steering.begin(
            action,
            selected(form) or wanted,
            req.context.who,
            limit=whole(form, "limit") or 1000,
            per_second=whole(form, "per_second") or USUAL_PER_SECOND,
            delay=delay(form),
            reason=reason(form),
        )
        self.go(req, resp, f"bulk/{job.id}")


class OneJob(Page):
    """GET /bulk/{id}; POST to stop it."""

    here = "bulk"

    def on_get(self, req: falcon.Request, resp: falcon.Response, job_id: str) -> None:
        job = self.desk.steering.job(job_id)
        if job is None:
            raise falcon.HTTPNotFound
        self.show(req, resp, "job.html", f"Job: {job.action}", job=job)

    def on_post_stop(
        self, req: falcon.Request, resp: falcon.Response, job_id: str
    ) -> None:
        if self.desk.steering.stop_job(job_id, req.context.who) is None:
            raise falcon.HTTPNotFound
        self.go(req, resp, f"bulk/{falcon.uri.encode_value(job_id)}")


class Decisions(Page):
    """GET /decisions: what was changed, by whom, and why."""

    here = "decisions"

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        what, of = req.get_param("what") or "", (req.get_param("of") or "").strip()
        about = DecisionsQuery(of).about()
        decisions = self.desk.view.decisions(about, KINDS.get(what, ()), MOST_SHOWN)
        self.show(
            req,
            resp,
            "decisions.html",
            "Decisions",
            decisions=decisions,
            kinds=KINDS,
            what=what if what in KINDS else "",
            of=of,
            most=MOST_SHOWN,
        )
