"""The program, however it is started: `mspc`, `python -m mspc` or `python mspc.py`.

It is two programs. `mspc calls list` and the like ask an mspc that runs; they patch
nothing, and are there in a moment. All else serves, and starting.py has to be the
first that it imports.
"""

import sys

from mspc.client.dispatch import is_command

if is_command(sys.argv[1:]):
    from mspc.process import first

    first.prepare_command()
    from mspc.client.main import main
else:
    from mspc.starting import main

from pathlib import Path  # isort: skip - heeds signals before it imports the rest


def run(root: Path | None = None) -> int:
    """Runs mspc with the arguments of the command line; returns its exit code.

    Args:
        root: the project's folder: env.yml is looked for there, and relative paths
            start there. The working folder unless told otherwise.
    """
    return main(root or Path.cwd())


if __name__ == "__main__":
    raise SystemExit(run())
