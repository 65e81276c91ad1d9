"""A form for one call, and a copy of one that was."""

import json
from dataclasses import dataclass, replace

import falcon

from mspc.api import codes
from mspc.api.errors import Denied
from mspc.calls.validation import METHODS
from mspc.errors import BadRequest, InvalidProperties, QueueError
from mspc.pages.desk import Page
from mspc.pages.forms import Form, first, read_form
from mspc.pages.login import ADMIN


@dataclass(frozen=True, slots=True)
class CallForm:
    """The fields as they were filled in."""

    url: str = ""
    method: str = "POST"
    headers: str = ""
    body: str = ""
    delay: str = ""
    labels: str = ""
    requeue: bool = True

    def payload(self) -> bytes:
        """The call as a client would send it.

        Raises:
            InvalidProperties: a line of the headers is none.
        """
        call: dict[str, object] = {"url": self.url, "method": self.method}
        # A value may have what else ends a line for splitlines().
        lines = self.headers.split("\n")
        headers = dict(map(_header, filter(str.strip, lines)))
        optional = {
            "headers": headers,
            "body": self.body,
            "delay": self.delay,
            "labels": self.labels.split(),
        }
        call |= {name: value for name, value in optional.items() if value}
        if not self.requeue:
            call["requeue"] = False
        return json.dumps(call).encode()


class Send(Page):
    """GET /send: a form. POST: sends it."""

    here = "send"

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = CallForm()
        problems: list[str] = []
        copied = req.get_param("copy")
        if copied:
            if req.context.right != ADMIN:
                raise Denied(codes.READ_ONLY, "A copy has the secrets of its call.")
            form, problems = self._copy(copied)
            if form.url:
                self.desk.steering.revealed(copied, req.context.who)
        self._form(req, resp, form, problems, copied=bool(form.url))

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = _filled(read_form(req))
        try:
            call_id = self.desk.send(form.payload())
        except (BadRequest, QueueError) as exc:
            bad = isinstance(exc, BadRequest)
            resp.status = falcon.HTTP_400 if bad else falcon.HTTP_503
            self._form(req, resp, form, list(getattr(exc, "problems", [str(exc)])))
            return
        self.go(req, resp, f"calls/{call_id}")

    def _copy(self, call_id: str) -> tuple[CallForm, list[str]]:
        """A form with what is known of a call, and what is missing."""
        seen = self.desk.view.call(call_id)
        if seen is None:
            return CallForm(), [f"{call_id} is not known."]
        headers = "\n".join(f"{name}: {value}" for name, value in seen.headers)
        labels = " ".join(seen.labels)
        again = seen.max_attempts != 1
        form = CallForm(seen.url, seen.method, headers, labels=labels, requeue=again)
        if len(seen.body) < seen.body_bytes:
            kept = f"Only {len(seen.body)} of the {seen.body_bytes} bytes of its body"
            return form, [f"{kept} are kept: it is left out."]
        try:
            body = seen.body.decode()
        except UnicodeDecodeError:
            return form, ["Its body is no text: it is left out."]
        told = ["Its lines end with CRLF; those of this copy end with LF."]
        return replace(form, body=body), told if "\r" in body else []

    def _form(
        self,
        req: falcon.Request,
        resp: falcon.Response,
        form: CallForm,
        problems: list[str],
        *,
        copied: bool = False,
    ) -> None:
        self.show(
            req,
            resp,
            "send.html",
            "Send a call",
            form=form,
            problems=problems,
            copied=copied,
            methods=METHODS.split(", "),
        )


def _filled(form: Form) -> CallForm:
    names = ("url", "method", "headers", "delay", "labels")
    texts = {name: first(form, name) for name in names}
    body = form.get("body", [""])[0]
    # Browsers end each line of a text area with CRLF, however it was ended in the page.
    texts["headers"] = texts["headers"].replace("\r\n", "\n")
    body = body.replace("\r\n", "\n")
    return CallForm(**texts, body=body, requeue=bool(first(form, "requeue")))


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise InvalidProperties([f"headers: {line.strip()!r} has no colon."])
    return name.strip(), value.strip()
