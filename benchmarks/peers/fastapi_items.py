"""The peer: twenty rows by an index of a large table, as a person would write it by hand.

A plain ``def`` endpoint runs in FastAPI's thread pool; one connection a thread.
"""

import os
import sqlite3
import threading
from typing import Any

from fastapi import FastAPI

app = FastAPI()
_local = threading.local()


def _connection() -> sqlite3.Connection:
    connection: sqlite3.Connection | None = getattr(_local, "connection", None)
    if connection is None:
        connection = sqlite3.connect(os.environ["PEER_DATABASE"], timeout=30, isolation_level=None)
        connection.row_factory = sqlite3.Row
        _local.connection = connection
    return connection


@app.get("/items")
def items(group: int) -> list[dict[str, Any]]:
    found = _connection().execute(
        'SELECT id, created, "group", text FROM items WHERE "group" = ? ORDER BY created LIMIT 20', (group,)
    )
    return [dict(row) for row in found]
