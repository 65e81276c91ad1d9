"""Celery on RabbitMQ."""

import os
from typing import Any

from celery import Celery
from celery.signals import setup_logging

from benchmarks.peers import work

app = Celery("bench", broker=os.environ.get("BENCH_BROKER"))
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_pool_limit=64,
    task_default_queue=os.environ.get("BENCH_QUEUE", "bench"),
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
)


@setup_logging.connect
def _logging(**_: Any) -> None:
    work.log_to_stderr()


@app.task(bind=True, max_retries=None)
def make(self: Any, call_id: str, call: dict[str, Any]) -> None:
    try:
        work.make(call_id, call)
    except Exception as exc:
        raise self.retry(exc=exc, countdown=work.RETRY_SECONDS) from exc


def enqueue(call_id: str, call: dict[str, Any]) -> None:
    """Returns when RabbitMQ has confirmed the task."""
    make.delay(call_id, call)
