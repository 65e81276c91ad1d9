"""The settings file: a flat YAML mapping, taken as the text that stands in it."""

import re
from pathlib import Path

import yaml

from mspc.errors import ConfigError
from mspc.settings.file import File

_COMMENT = re.compile(r"[^\S\n]*#.*")


def read_mapping(path: Path, source: str) -> File:
    """
    Args:
        path: of the file, for what is said of it.
        source: its text.

    Raises:
        ConfigError: it is no flat mapping at all.
    """
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
