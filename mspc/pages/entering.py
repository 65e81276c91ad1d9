"""Logging in and out, and the files that every page needs."""

import re

import falcon

from mspc.pages.desk import Page, set_cookie
from mspc.pages.forms import first, read_form
from mspc.pages.login import ADMIN
from mspc.pages.rendering import STATIC, static

_OWN_PATH = re.compile(r"[A-Za-z0-9][^\\:\x00-\x20]*")
HOUR = 3600


class Login(Page):
    """GET /login: a form, or a link that logs in once. POST: a key."""

    open_to_all = True

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        # HEAD uses nothing up: a preview of the link may send it.
        token = req.get_param("once") if req.method == "GET" else None
        if token is not None and self.desk.logins.use_link(token):
            set_cookie(req, resp, self.desk.logins, ADMIN)
            self.go(req, resp, "")
            return
        told = "The link is used or too old: log in with a key." if token else ""
        self._form(req, resp, told, req.get_param("next") or "")

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        form = read_form(req)
        right = self.desk.logins.right_of(first(form, "key"))
        to = first(form, "next")
        if right is None:
            resp.status = falcon.HTTP_403
            self._form(req, resp, "That is neither ADMIN_KEY nor READ_KEY.", to)
            return
        set_cookie(req, resp, self.desk.logins, right)
        # A path of ours: else a link could send who logs in to another site.
        self.go(req, resp, to if _OWN_PATH.fullmatch(to) else "")

    def _form(
        self, req: falcon.Request, resp: falcon.Response, told: str, to: str
    ) -> None:
        req.context.right = None
        self.show(
            req,
            resp,
            "login.html",
            "Log in",
            told=told,
            told_wrong=bool(told),
            next=to,
        )


class Logout(Page):
    """POST /logout."""

    open_to_all = True

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        name = self.desk.logins.cookie_name
        if name in req.cookies:  # it is made of the keys: nobody else is told of it
            resp.unset_cookie(name, path="/", same_site="Strict")
        self.go(req, resp, "login")


class Static:
    """GET /static/{name}: the style, the script, the icon."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        if name not in STATIC:
            raise falcon.HTTPNotFound
        resp.content_type = STATIC[name]
        resp.set_header("Cache-Control", f"private, max-age={HOUR}")
        resp.data = static(name)

    on_head = on_get
