"""Async code: `main` returns when every assertion holds."""

import asyncio

from contextlib import asynccontextmanager

log = []


@asynccontextmanager
async def step(name):
    log.append(name)
    yield name
    log.append("-" + name)


class Numbers:
    def __aiter__(self):
        self.n = 0
        return self

    async def __anext__(self):
        self.n += 1
        if self.n > 2:
            raise StopAsyncIteration
        return self.n


async def double(x):
    await asyncio.sleep(0.001)
    return x * 2


async def agen():
    for i in range(3):
        yield i


async def main():
    results = [await asyncio.gather(*map(double, range(3)))]
    async with asyncio.TaskGroup() as tg:
        t = tg.create_task(double(4))
    results.append(t.result())
    try:
        async with asyncio.timeout(0.001):
            await asyncio.Event().wait()
    except TimeoutError:
        results.append("timeout")
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 0.001)
    except asyncio.TimeoutError:
        results.append("waited")
    lock, queue = asyncio.Lock(), asyncio.Queue()
    async with lock, step("a"):
        queue.put_nowait(1)
        results.append(await queue.get())
    async with asyncio.Semaphore(2):
        results.append([x async for x in agen() if x])
    results.append([x async for x in Numbers()])
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        results.append("cancelled")
    done, pending = await asyncio.wait([asyncio.ensure_future(double(1))], return_when=asyncio.FIRST_COMPLETED)
    results.append(len(done) - len(pending))
    results.append([await one for one in asyncio.as_completed([double(7)])])
    results.append(await asyncio.shield(double(8)))
    try:
        async with asyncio.TaskGroup() as tg:
            tg.create_task(double(None))
    except ExceptionGroup as group:
        results.append(type(group.exceptions[0]).__name__)
    assert results + [log] == [
        [0, 2, 4],
        8,
        "timeout",
        "waited",
        1,
        [1, 2],
        [1, 2],
        "cancelled",
        1,
        [14],
        16,
        "TypeError",
        ["a", "-a"],
    ]
