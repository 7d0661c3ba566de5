"""Calls that want more memory than there is."""

import asyncio
import itertools
import zlib

from runtime import Response


def list_growth(ctx):
    everything = []
    while True:
        everything.append(bytes(100_000))


def dict_growth(ctx):
    return {str(number): [number] for number in itertools.count()}


def multiply(ctx):
    return "x" * 10**11


def width(ctx):
    return f"{1:>99999999999}"


def unzip(ctx):
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(1024)) + packer.flush()
    return zlib.decompress(bomb)


def recursion(ctx):
    return recursion(ctx)


def deep(ctx):
    thing = []
    for _ in range(10**6):
        thing = [thing]
    return repr(thing)


async def tasks(ctx):
    while True:
        asyncio.create_task(asyncio.sleep(3600))


async def long_answer(ctx):
    def more():
        return b"x" * (1 << 20)

    async def endless():
        while True:
            yield more()

    return Response(endless())


MEMORY = {
    function.__name__: function
    for function in (list_growth, dict_growth, multiply, width, unzip, recursion, deep, tasks, long_answer)
}
