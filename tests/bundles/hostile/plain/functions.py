"""Functions whose results are no values, and calls that multiply."""

import asyncio

from runtime import action, mutation, query


class Text(str):
    pass


class Dict(dict):
    def items(self):
        while True:
            yield "a", 1


def deep():
    value = []
    for _ in range(100_000):
        value = [value]
    return value


def cyclic():
    value = {}
    value["self"] = value
    return value


RESULTS = {
    "deep": deep,
    "cyclic": cyclic,
    "text": lambda: Text("x"),
    "dict": lambda: Dict(a=1),
    "keys": lambda: {1: 2},
    "dollar": lambda: {"$bytes": "x"},
    "surrogate": lambda: ["\ud800"],
    "huge": lambda: "x" * 9_000_000,
    "many": lambda: [0] * 300_000,
    "big": lambda: 2**80,
    "object": object,
    "set": lambda: {1},
    "nan": lambda: float("nan"),
}


@query
def result(ctx, name: str):
    return RESULTS[name]()


@action
async def bomb(ctx):
    await asyncio.sleep(0.05)
    await asyncio.gather(*(ctx.run_action("functions:bomb", {}) for _ in range(32)))


@action
async def many_syscalls(ctx):
    for _ in range(40):
        calls = [ctx.run_query("functions:small", {}) for _ in range(1000)]
        await asyncio.gather(*calls)


@query
def small(ctx):
    return 1


@mutation
async def keep(ctx, text: str):
    return await ctx.db.insert("secrets", {"text": text})


@query
async def fetch(ctx, id: str):
    return await ctx.db.get(id)


@query
async def everything(ctx, table: str):
    return await ctx.db.query(table).collect()
