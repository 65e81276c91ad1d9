"""urllib3 alone, which makes calls on kept connections: `... calls PORT COUNT`."""

from gevent import monkey

monkey.patch_all()

import json
import sys

import urllib3

from benchmarks.limits.clock import GREENLETS, repeat
from benchmarks.load import body


def main(port: int, count: int) -> None:
    call = json.loads(body(f"http://127.0.0.1:{port}/notification"))
    headers = {**call["headers"], "Idempotency-Key": "0" * 32}
    content = call["body"].encode()
    pool = urllib3.HTTPConnectionPool("127.0.0.1", port, maxsize=GREENLETS)

    def operation(_: int) -> None:
        answer = pool.urlopen(
            "POST", "/notification", content, headers, retries=False, redirect=False
        )
        if answer.status != 200:
            raise SystemExit(f"the target answered {answer.status}")

    repeat(operation, count)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
