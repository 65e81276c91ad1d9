"""Starts mspc: `python mspc.py`, from any directory.

Patching comes before every other import: amqpstorm, urllib3 and logging create their
locks, threads and sockets at import or construction time, and those must be gevent's.
The package `mspc/` wins over this file of the same name, because a directory with an
`__init__.py` is found first.
"""

from gevent import monkey

monkey.patch_all()

from mspc.main import main  # noqa: E402

if __name__ == "__main__":
    raise SystemExit(main())
