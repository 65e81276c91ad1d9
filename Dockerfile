FROM python:3.13-slim

# Lines of the log appear as they are written; modules are compiled below.
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1

WORKDIR /app

# The packages first: they change less often than the code. All of them come as wheels.
COPY requirements.txt requirements-tracing.txt ./
RUN pip install --no-cache-dir --disable-pip-version-check --root-user-action=ignore \
        -r requirements.txt -r requirements-tracing.txt

# A fixed uid, so that files which are mounted can be made readable to it. Named volumes
# get the owner and the mode of the directories they are mounted on.
RUN groupadd --gid 1000 mspc \
    && useradd --uid 1000 --gid mspc --no-create-home --home-dir /app \
        --shell /usr/sbin/nologin mspc \
    && install --directory --owner=mspc --group=mspc --mode=0700 data logs ssl

COPY LICENSE mspc.py ./
COPY mspc mspc
RUN python -m compileall -q mspc

USER 1000:1000
VOLUME ["/app/data", "/app/logs"]
EXPOSE 8008 8009

# Asks the running service for /health/live: a RabbitMQ that is away is no reason to
# replace this container.
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s \
    CMD ["python", "mspc.py", "--check"]

# No shell in between, so that Python itself gets the signal and ends in good order. As
# process 1 it would lose one that comes before its first line runs: a blocked one waits.
STOPSIGNAL SIGTERM
CMD ["env", "--block-signal=TERM", "--block-signal=INT", "python", "mspc.py"]
