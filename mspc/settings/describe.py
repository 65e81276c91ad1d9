"""The settings in one line, for the log at start."""

from mspc.settings.config import Config, SqliteConfig


def describe(config: Config) -> str:
    """The settings that matter in one line, without a secret."""
    queue, http = config.queue, config.http
    if isinstance(queue, SqliteConfig):
        store = f"queue {queue.path}"
    else:
        scheme = "amqps" if queue.tls else "amqp"
        pairs = ((f"[{h}]" if ":" in h else h, port) for h, port in queue.hosts)
        hosts = ",".join(f"{host}:{port}" for host, port in pairs)
        store = f"{queue.queue_type} queue {queue.name} on {scheme}://{hosts}"
        store += f", spool {queue.spool or 'off'}"
    port = f"https {http.https_port}" if http.tls else f"http {http.port}"
    return (
        f"{store}; {port} on {http.host}; "
        f"authorization {'on' if config.auth.key else 'off'}; "
        f"fast publish {'on' if http.fast_publish else 'off'}; "
        f"{config.consumers} consumers; again after {config.delays.initial:g} s; "
        f"log {config.log.level}, file {config.log.file or 'none'}"
    )
