"""Starts mspc from a checkout: `python mspc.py`, from any directory.

The package `mspc/` wins over this file of the same name, because a directory with an
`__init__.py` is found first.
"""

from mspc.__main__ import run  # isort: skip - heeds signals before it imports the rest

from pathlib import Path

if __name__ == "__main__":
    raise SystemExit(run(Path(__file__).resolve().parent))
