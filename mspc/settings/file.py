"""The settings file: what was read of it."""

from dataclasses import dataclass, field


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
