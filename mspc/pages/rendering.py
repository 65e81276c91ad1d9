"""Templates to HTML."""

import os
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mspc import __version__
from mspc.pages.wording import FILTERS

FOLDER = Path(__file__).parent
STATIC = {
    "mspc.css": "text/css; charset=utf-8",
    "mspc.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
# Nothing from elsewhere, nothing inline: what strangers sent is text, whatever it says.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


class Templates:
    """Those in templates/, compiled once."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(FILTERS)
        self._environment.globals["version"] = __version__

    def render(self, name: str, path: str, **values: object) -> bytes:
        """
        Args:
            name: of the template.
            path: of the page, below the prefix: links are relative to it.
            values: what the template shows.
        """
        root = "../" * (path.count("/") - 1) or "./"
        template = self._environment.get_template(name)
        return template.render(root=root, **values).encode(errors="replace")


def static(name: str) -> bytes | None:
    """The content of a file of static/, None for one that is not there."""
    if name not in STATIC:
        return None
    return (FOLDER / "static" / os.path.basename(name)).read_bytes()
