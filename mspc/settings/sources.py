"""Where each setting comes from: the environment, the settings file, or nobody."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mspc.errors import ConfigError
from mspc.settings.file import File
from mspc.settings.table import NAMES, SECRETS, SETTINGS

# As Kubernetes and Docker set <NAME>_PORT for what is called <name>.
_LINK = re.compile(r"(?:tcp|udp|sctp)://(?:[0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]+")
MASK = "********"


@dataclass(frozen=True, slots=True)
class Sources:
    """What was given, unchecked.

    Attributes:
        path: the settings file; None when there is none.
        file: what was read of it.
        given: the settings of the environment, which win.
        links: names in the environment that are set for another reason.
    """

    path: Path | None
    file: File
    given: dict[str, str]
    links: list[str]

    @property
    def texts(self) -> dict[str, str]:
        """By name, also names that are no settings; without what stands empty."""
        texts = self.file.texts | self.given
        return {n: t for n, t in texts.items() if t or n not in NAMES}


def read_sources(path: Path | None, environ: Mapping[str, str], root: Path) -> Sources:
    """Reads `path`, or env.yml in `root` if there is one, and the environment.

    Raises:
        ConfigError: the file cannot be read.
    """
    if path is None and _may_be_there(root / "env.yml"):
        path = root / "env.yml"
    file = File() if path is None else _read(path)
    # An empty variable is one that nobody set: it must not open what a key closes.
    variables = {name: environ[name] for name in NAMES if environ.get(name)}
    links = [name for name in variables if _is_link(name, variables)]
    given = {n: t for n, t in variables.items() if n not in links}
    return Sources(path, file, given, links)


def shown(sources: Sources) -> list[tuple[str, str, str]]:
    """Every setting: its name, its text without a secret, and where that is from."""
    texts = sources.texts
    rows = []
    for name, default, *_ in SETTINGS:
        text = texts.get(name, default)
        origin = "default"
        if name in texts:
            origin = "environment" if name in sources.given else str(sources.path)
        rows.append((name, MASK if name in SECRETS and text else text, origin))
    return rows


def _is_link(name: str, variables: Mapping[str, str]) -> bool:
    """Whether it was put there for a service or a container that is called like it."""
    if name == "QUEUE_NAME":  # Docker's links have one besides: /app/queue
        alias = re.fullmatch("/[^/]+/queue", variables[name])
        return alias is not None and _is_link("QUEUE_PORT", variables)
    address = variables.get(name, "")
    return name.endswith(("_PORT", "_HOST")) and bool(_LINK.fullmatch(address))


def _may_be_there(path: Path) -> bool:
    """Whether it is, or cannot be looked for: _source() says why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # it may have the key that closes the port: not to be passed over
        pass
    return True


def _read(path: Path) -> File:
    source = _source(path)
    if not source.strip():
        return File()
    # Here: whoever has all settings in the environment starts without YAML.
    from mspc.settings.mapping import read_mapping

    return read_mapping(path, source)


def _source(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text.") from exc
