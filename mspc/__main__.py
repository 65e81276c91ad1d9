"""The program, however it is started: `mspc`, `python -m mspc` or `python mspc.py`.

Signals come first: during the imports below, too, somebody may ask us to stop. Then
patching, before every other import: amqpstorm, urllib3 and logging create their locks,
threads and sockets at import or construction time, and those must be gevent's.
"""

from mspc.process import first

first.prepare()

import gc  # noqa: E402

gc.disable()  # what is imported stays: looking for garbage took an eighth of the start

from gevent import events, monkey  # noqa: E402

# Each of gevent's 25 events would have it read what every installed package is an entry
# point of: a fifth of the start, for plugins that nobody has.
events.notify_and_call_entry_points = events.notify  # type: ignore[attr-defined]
monkey.patch_all()

from pathlib import Path  # noqa: E402

from mspc.main import main  # noqa: E402

gc.freeze()
gc.enable()


def run(root: Path | None = None) -> int:
    """Runs mspc with the arguments of the command line; returns its exit code.

    Args:
        root: the project's folder: env.yml is looked for there, and relative paths
            start there. The working folder unless told otherwise.
    """
    return main(root or Path.cwd())


if __name__ == "__main__":
    raise SystemExit(run())
