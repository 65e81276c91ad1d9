"""Which of the two programs was asked for. It comes first, so it imports nothing."""

from collections.abc import Sequence

_SERVING = ("serve", "check")


def is_command(arguments: Sequence[str]) -> bool:
    """Whether a running mspc is to be asked something; else mspc is to serve.

    Args:
        arguments: those of the command line, without the program's name.
    """
    words = iter(arguments)
    for word in words:
        if word in ("-h", "--help"):
            return True
        if len(word) > 3 and "--config".startswith(word):  # argparse takes --conf, too
            next(words, None)
        elif not word.startswith("-"):
            return word not in _SERVING
    return False
