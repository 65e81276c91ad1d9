"""The settings file: a flat YAML mapping, taken as the text that stands in it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mspc.errors import ConfigError

_COMMENT = re.compile(r"[^\S\n]*#.*")


@dataclass(frozen=True, slots=True)
class File:
    """What was read.

    Attributes:
        texts: by name; empty where nothing or null stands.
        problems: a sentence for each mistake, by name.
        commented: the unquoted values that a comment follows, by name: where they
            stand, and the value with the comment.
    """

    texts: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    commented: dict[str, tuple[str, str]] = field(default_factory=dict)


def read_file(path: Path) -> File:
    """Reads the file.

    Raises:
        ConfigError: it is no flat mapping at all.
    """
    source = _source(path)
    node = _composed(path, source)
    file = File()
    if node is None or node.tag.endswith(":null"):
        return file
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} must consist of lines `KEY: value`.")
    for key, value in node.value:
        name = key.value if isinstance(key, yaml.ScalarNode) else "A key"
        place = f"{name} ({path.name}, line {key.start_mark.line + 1})"
        if name in file.texts or name in file.problems:
            file.problems[name] = f"{place} is given twice: remove one."
        elif not isinstance(key, yaml.ScalarNode) or not _is_plain(value, source):
            file.problems[name] = f"{place} must be one plain or quoted value."
        else:
            file.texts[name] = "" if value.tag.endswith(":null") else value.value
            comment = _COMMENT.match(source, value.end_mark.index)
            if comment and value.style is None:
                whole = source[value.start_mark.index : comment.end()].strip()
                file.commented[name] = (place, whole)
    return file


def _source(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}.") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text.") from exc


def _composed(path: Path, source: str) -> yaml.Node | None:
    """The nodes as they are composed: YAML would construct 0123 as 83."""
    try:
        return yaml.compose(source, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        fault = getattr(exc, "problem", None) or "its form is not understood"
        raise ConfigError(
            f"{path} is not valid YAML{place}: {fault}. A value with characters that"
            " mean something in YAML, such as :: * & @ % { or !, needs quotes: '::'."
        ) from exc


def _is_plain(value: yaml.Node, source: str) -> bool:
    plain = isinstance(value, yaml.ScalarNode) and value.tag.startswith("tag:yaml")
    # Else characters that mean something in YAML would go unnoticed: `KEY: &abc` and
    # `KEY: |` would be the default.
    first = source[value.start_mark.index : value.start_mark.index + 1]
    return (
        plain
        and first not in ("&", "!")
        and (bool(value.value) or first not in ("|", ">"))
    )
