"""The peer: POST /postMessage as a person would write it by hand, with the durability that Warren promises.

A plain ``def`` endpoint runs in FastAPI's thread pool; one connection a thread, WAL, ``synchronous=FULL``: the answer
leaves when the row is on disk.
"""

import os
import sqlite3
import threading
import time
import uuid

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
_local = threading.local()


class Message(BaseModel):
    author: str
    body: str


def _connection() -> sqlite3.Connection:
    connection: sqlite3.Connection | None = getattr(_local, "connection", None)
    if connection is None:
        connection = sqlite3.connect(os.environ["PEER_DATABASE"], timeout=30, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        columns = "id TEXT PRIMARY KEY, created REAL, author TEXT, body TEXT"
        connection.execute(f"CREATE TABLE IF NOT EXISTS messages ({columns})")
        _local.connection = connection
    return connection


@app.post("/postMessage")
def post_message(message: Message) -> None:
    _connection().execute(
        "INSERT INTO messages VALUES (?, ?, ?, ?)",
        (uuid.uuid4().hex, time.time() * 1000, message.author, f"Sent via HTTP action: {message.body}"),
    )
