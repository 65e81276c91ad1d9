"""What serving imports, in the order in which it must.

Signals come first: during the imports below, too, somebody may ask us to stop. Then
patching, before every other import: amqpstorm, urllib3 and logging create their locks,
threads and sockets at import or construction time, and those must be gevent's.
"""

from mspc.process import first

first.prepare()

import gc  # noqa: E402

# What is imported stays: looking for garbage took an eighth of the start. main.py has
# it looked for again.
gc.disable()

from gevent import events, monkey  # noqa: E402

# Each of gevent's 25 events would have it read what every installed package is an entry
# point of: a fifth of the start, for plugins that nobody has.
events.notify_and_call_entry_points = events.notify  # type: ignore[attr-defined]
monkey.patch_all()

import mimetypes  # noqa: E402

# Falcon reads the machine's list of file types, 1,700 lines, for files that it is to
# serve: here it serves none.
mimetypes.knownfiles.clear()

from mspc.main import main  # noqa: E402

__all__ = ["main"]
