"use node"

import os
import socket
import subprocess
import sys
import urllib.request

from runtime import action, api, env, fetch, internal, internal_action

from .notes import add

calls = 0


@action
async def keep(ctx, text: str):
    print("keeping", text)
    await ctx.run_mutation(add, text=text)
    return await ctx.run_query(api.notes.texts)


@internal_action
async def whoami(ctx):
    global calls
    calls += 1
    return {"pid": os.getpid(), "calls": calls, "secret": env.get("SECRET"), "same": os.environ.get("SECRET")}


@action
def works(ctx):
    shown = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True)
    with open("note.txt", "w") as file:
        file.write(shown.stdout)
    return open("note.txt").read().strip()


@action
async def through_node(ctx, text: str):
    return await ctx.run_action(internal.script.shout, {"text": text})


@action
async def leaves(ctx):
    os._exit(3)


@action
async def peeks(ctx):
    found = {}
    for path in ("/", "/etc/passwd", "/proc/1/environ"):
        try:
            found[path] = bool(os.listdir(path) if os.path.isdir(path) else open(path).read())
        except OSError as error:
            found[path] = type(error).__name__
    try:
        socket.create_connection(("127.0.0.1", int(env["PORT"])), 5)
        found["server"] = True
    except OSError as error:
        found["server"] = type(error).__name__
    return found


@action
def asks(ctx, url: str):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.status


@action
async def asks_through_the_host(ctx, url: str):
    return (await fetch(url)).status
