"""The chat in a terminal, with the Python package `convex` as it comes.

pip install convex
python examples/chat/client.py --room lobby --name Ann
"""

import argparse
import threading
from typing import Any

from convex import ConvexClient


def show_new(client: ConvexClient, room: str, most: int | None) -> None:
    """Print what is said in a room, now and whenever something is."""
    latest, shown = 0.0, 0
    for messages in client.subscribe("chat:messages", {"room": room}):
        new: list[dict[str, Any]] = [each for each in messages if each["at"] > latest]
        for each in new:
            print(f"{each['author']}: {each['body']}", flush=True)
            latest, shown = each["at"], shown + 1
        if most is not None and shown >= most:
            return


def main() -> None:
    """Show a room and send every line that is typed."""
    parser = argparse.ArgumentParser(description="A chat in the terminal.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:3210")
    parser.add_argument("--room", default="lobby")
    parser.add_argument("--name", default="Somebody in a terminal")
    parser.add_argument("--until", type=int, metavar="N", help="only listen, and stop after N messages")
    chosen = parser.parse_args()
    if chosen.until is not None:
        show_new(ConvexClient(chosen.url), chosen.room, chosen.until)
        return
    # One client listens and one speaks: a call and a subscription of one client take turns.
    listening = threading.Thread(target=show_new, args=(ConvexClient(chosen.url), chosen.room, None), daemon=True)
    listening.start()
    speaking = ConvexClient(chosen.url)
    try:
        while line := input():
            speaking.mutation("chat:say", {"room": chosen.room, "author": chosen.name, "body": line})
    except (EOFError, KeyboardInterrupt):
        return


if __name__ == "__main__":
    main()
