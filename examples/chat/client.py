"""The chat in a terminal, with the Python package `convex` as it comes.

pip install convex
python examples/chat/client.py --room lobby --name Ann
"""

import argparse
import asyncio
import os
import signal
import sys
from typing import Any

from convex import ConvexClient


async def show_new(client: ConvexClient, room: str, most: int | None) -> None:
    """Print what is said in a room, now and whenever something is."""
    latest, shown = 0.0, 0
    async for messages in client.subscribe("chat:messages", {"room": room}):
        new: list[dict[str, Any]] = [each for each in messages if each["at"] > latest]
        for each in new:
            print(f"{each['author']}: {each['body']}", flush=True)
            latest, shown = each["at"], shown + 1
        if most is not None and shown >= most:
            return


async def say_lines(client: ConvexClient, room: str, name: str) -> None:
    """Say every line that is typed, until the end of them."""
    typed = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(typed), sys.stdin)
    while line := await typed.readline():
        if body := line.decode().strip():
            client.mutation("chat:say", {"room": room, "author": name, "body": body})


async def main() -> None:
    """Show a room and send every line that is typed."""
    parser = argparse.ArgumentParser(description="A chat in the terminal.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:3210")
    parser.add_argument("--room", default="lobby")
    parser.add_argument("--name", default="Somebody in a terminal")
    parser.add_argument("--until", type=int, metavar="N", help="only listen, and stop after N messages")
    chosen = parser.parse_args()
    client = ConvexClient(chosen.url)
    # `async for` leaves the interpreter free while nothing is said; a plain `for` holds it, and nobody could type.
    listening = asyncio.create_task(show_new(client, chosen.room, chosen.until))
    await (listening if chosen.until is not None else say_lines(client, chosen.room, chosen.name))
    # The package cannot be called off while it waits for news: it would end with a trace.
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, for the same reason
    asyncio.run(main())
