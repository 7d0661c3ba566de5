"""Calls that do not come back, in Python and in C."""

import asyncio
import itertools
import re
from decimal import Decimal, localcontext

from runtime import Response


def loop(ctx):
    while True:
        pass


def deaf_loop(ctx):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def loop_in_c(ctx):
    sum(itertools.repeat(1))


def power(ctx):
    return Response(str((9**9**9).bit_length()))


def pattern(ctx):
    re.match(r"(a+)+\Z", "a" * 40 + "b")


def collisions(ctx):
    return {number * (2**61 - 1): None for number in range(10**6)}


class Evil:
    def __lt__(self, other):
        while True:
            pass


def sorting(ctx):
    return sorted([Evil(), Evil()])


def decimals(ctx):
    with localcontext() as context:
        context.prec = 10**8
        return Decimal(2) ** Decimal("0.5")


async def spinning_tasks(ctx):
    async def spin():
        while True:
            pass

    await asyncio.gather(*(spin() for _ in range(50)))


async def deaf_task(ctx):
    async def deaf():
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    asyncio.create_task(deaf())
    await asyncio.sleep(0)
    return Response("left a task behind")


async def calls_without_end(ctx):
    await ctx.run_action("functions:bomb", {})
    return Response("survived")


BURNING = {
    function.__name__: function
    for function in (
        *(loop, deaf_loop, loop_in_c, power, pattern, collisions, sorting, decimals),
        *(spinning_tasks, deaf_task, calls_without_end),
    )
}
