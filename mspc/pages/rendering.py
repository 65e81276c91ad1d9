"""Templates to HTML."""

from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mspc import __version__
from mspc.pages.wording import FILTERS

if TYPE_CHECKING:
    from jinja2 import Environment

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

    @cached_property
    def _environment(self) -> "Environment":
        # Here: it is a twentieth of the start, and it may be that nobody ever looks.
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.filters.update(FILTERS)
        environment.globals["version"] = __version__
        return environment

    def render(self, name: str, **values: object) -> bytes:
        """
        Args:
            name: of the template.
            values: what the template shows.
        """
        template = self._environment.get_template(name)
        return template.render(**values).encode(errors="replace")


@cache
def static(name: str) -> bytes:
    """The content of a file of STATIC: read once, not for each page."""
    return (FOLDER / "static" / name).read_bytes()
