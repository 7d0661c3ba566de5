"""RQ as its documentation starts it, on a Redis server of the benchmark's own.

RQ comes from the benchmark's own environment. Its worker says nothing (``--quiet``): a line a job would cost it time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis
from rq import Queue
from rq.job import Job

from benchmarks.servers import HERE
from runtime.adapters.queue.embedding import installed

FORKS = "rq.Worker"
SIMPLE = "rq.SimpleWorker"


class Redis:
    """A Redis server on a Unix socket, the same program as Warren's own, which writes nothing to disk."""

    def __init__(self, scratch: Path) -> None:
        program = next(installed())
        path = scratch / "rq.sock"
        command = [str(program), "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
        with (scratch / "rq-redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=scratch, stdout=log, stderr=log)
        self.url = f"unix://{path}"
        self.client = redis.Redis.from_url(self.url)
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                if self._process.poll() is not None:
                    raise
                time.sleep(0.02)

    def __enter__(self) -> "Redis":
        return self

    def __exit__(self, *_: Any) -> None:
        self.client.close()
        self._process.terminate()
        self._process.wait()


def ends(server: Redis, worker: str, count: int) -> list[float]:
    """Have one worker do so many jobs that do nothing; when each of them ended, in seconds since 1970."""
    server.client.flushall()
    queue = Queue("bench", connection=server.client)
    jobs = [queue.enqueue("rq_nothing.nothing") for _ in range(count)]
    command = [sys.executable, "-m", "rq.cli", "worker", "--burst", "--quiet", "--worker-class", worker]
    environment = {**os.environ, "PYTHONPATH": str(HERE / "peers")}
    subprocess.run([*command, "--url", server.url, "bench"], env=environment, check=True, capture_output=True)
    done = []
    for job in Job.fetch_many([job.id for job in jobs], server.client):
        assert job is not None and job.ended_at is not None and job.is_finished, "each is done, and done well"
        done.append(job.ended_at.timestamp())
    return done
