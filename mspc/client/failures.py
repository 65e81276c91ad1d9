"""What ends a command, and the exit code that tells a script which of them it was."""

from mspc.errors import MspcError

INTERRUPTED = 130


class Failure(MspcError):
    """Its text says what is wrong and what to do."""

    exit_code = 1


class SaidNo(Failure):
    """mspc was asked, and does not do it."""


class WrongUse(Failure):
    """The command line, or what is in the environment."""

    exit_code = 2


class NotFound(Failure):
    exit_code = 3


class NotAllowed(Failure):
    exit_code = 4


class NotReachable(Failure):
    """Nobody answers, or it is no mspc that does."""

    exit_code = 5
