"""How is an errand run that somebody elsewhere waits for?

Taken from the desk, made an invocation of what this deployment runs now, run by whoever runs Node-style modules here,
and answered. While it runs, the desk is told so every three seconds, and tells whether anybody still waits.

Rules
1. What was taken is answered, whatever happens: an errand that failed here is an answer too.
2. What nobody waits for any more is cancelled.
3. An answer is worth trying again: whoever waits would wait for its lease to end.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from runtime.errors import IsolateLost, NotFound, OurMistake, Overloaded, WarrenError
from runtime.invocation import Deployment, Invocation, Outcome
from runtime.names import DeploymentName, parse_function_path
from runtime.ports import Call, Errand, ErrandDesk, Errands
from runtime.protocol.declaration import Declaration

log = logging.getLogger("warren.worker")

_HOLD = 3.0  # seconds
_TRIES = 20
_DELAY = 0.5

Result = Outcome | Declaration | Exception


class ErrandRunner:
    """Runs errands with ``local``, the part of this process that can."""

    def __init__(
        self,
        desk: ErrandDesk,
        find: Callable[[DeploymentName], Awaitable[Deployment | None]],
        local: Errands,
        hold: float = _HOLD,
    ) -> None:
        self._desk, self._find, self._local, self._hold = desk, find, local, hold

    async def work(self, id: str) -> None:
        """Take an errand, run it, answer."""
        try:
            errand = await self._desk.take(id)
        except Overloaded as error:
            log.info("an errand is left to others: %s", error)
            return
        except OurMistake as mistake:
            log.error("an errand cannot be run: %s", mistake)
            return
        if errand is None:
            return
        try:
            result = await self._held(errand)
        except asyncio.CancelledError:
            await self._answer(errand, IsolateLost("the worker that ran it was stopped"))
            raise
        await self._answer(errand, result)

    async def _held(self, errand: Errand) -> Result:
        """Run it, and keep its lease meanwhile."""
        task = asyncio.create_task(self._run(errand))
        try:
            while not (await asyncio.wait({task}, timeout=self._hold))[0]:
                try:
                    if not await self._desk.hold(errand):
                        task.cancel()
                except Overloaded as error:
                    log.debug("a lease is not renewed: %s", error)
            return IsolateLost("nobody waited for it any more") if task.cancelled() else task.result()
        finally:
            task.cancel()

    async def _run(self, errand: Errand) -> Result:
        try:
            order = errand.order
            if isinstance(order, Call):
                return await self._local.run(await self._invocation(errand.name, order))
            return await self._local.analyse(errand.name, order.bundle, order.environment)
        except WarrenError as error:
            return error
        except Exception as error:
            log.exception("an errand of %s failed", errand.name)
            return error

    async def _invocation(self, name: DeploymentName, call: Call) -> Invocation:
        deployment = await self._find(name)
        version = deployment.version if deployment is not None else None
        if deployment is None or version is None or call.path not in version.functions:
            raise NotFound(f"{call.path} is not a function of {name} any more")
        return Invocation(
            deployment,
            version,
            parse_function_path(call.path),
            call.kind,
            call.args,
            call.request_id,
            call.depth,
            call.identity,
            call.job,
        )

    async def _answer(self, errand: Errand, result: Result) -> None:
        for _ in range(_TRIES):
            try:
                return await self._desk.answer(errand, result)
            except Overloaded:
                await asyncio.sleep(_DELAY)
        log.warning("an errand of %s was run, and its answer cannot be told", errand.name)
