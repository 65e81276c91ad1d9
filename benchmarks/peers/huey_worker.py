"""Huey's consumer with gevent, as its documentation starts it: patched first."""

from gevent import monkey

monkey.patch_all()

import logging

from huey.bin.huey_consumer import consumer_main

from benchmarks.peers import work

if __name__ == "__main__":
    work.log_to_stderr()
    logging.getLogger("huey").propagate = False
    consumer_main()
