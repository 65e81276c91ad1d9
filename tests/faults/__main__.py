"""`python -m tests.faults`: as in mspc.py, patching comes before every other import."""

from gevent import monkey

monkey.patch_all()

import sys

from tests.faults.command import main

sys.exit(main())
