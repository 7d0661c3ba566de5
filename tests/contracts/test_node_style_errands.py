"""When is an action sent on an errand, and what is said when it cannot be?"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from runtime import limits
from runtime.errors import Overloaded
from runtime.invocation import Deployment, Failed, Invocation, Outcome, Succeeded, Version
from runtime.main import Router, SystemClock, open_cellar, run_router
from runtime.names import DeploymentName, RequestId, VersionNumber, parse_function_path
from runtime.ports import Errands
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, Engine, FunctionDeclaration, Kind, Visibility
from runtime.protocol.messages import Reason
from runtime.settings import read_settings

BUNDLE = {
    "jobs.py": b'"use node"\nfrom runtime import action\n@action\nasync def run(ctx, text: str):\n    return text\n',
    "calls.py": b"from runtime import action\n@action\nasync def run(ctx):\n"
    b"    return await ctx.run_action('jobs:run', text='nested')\n",
}


class Kept:
    """Errands that are kept, and answered with what they asked."""

    def __init__(self) -> None:
        self.asked: list[Invocation] = []
        self.full = False

    async def run(self, invocation: Invocation) -> Outcome:
        if self.full:
            raise Overloaded("no worker can be asked")
        self.asked.append(invocation)
        return Succeeded(values.encode(values.decode(invocation.args)["text"]))

    async def analyse(self, *_: object) -> Declaration:
        raise AssertionError("nothing is pushed here")


@asynccontextmanager
async def opened(data: Path, errands: Errands | None) -> AsyncIterator[Router]:
    settings, clock = read_settings({"data": str(data), "spares": "0"}, {}), SystemClock()
    async with (
        open_cellar(settings, clock) as cellar,
        run_router(settings, cellar, clock, 0, errands=errands) as router,
    ):
        yield router


def invocation(path: str, **args: str) -> Invocation:
    functions = tuple(
        FunctionDeclaration(f"{module}:run", Kind.ACTION, Visibility.PUBLIC, f"{module}.py", 1, engine=engine)
        for module, engine in (("jobs", Engine.PYTHON), ("calls", Engine.ISOLATE))
    )
    version = Version(VersionNumber(1), "0", BUNDLE, Declaration(functions, node_style=("jobs.py",)))
    deployment = Deployment(DeploymentName("happy-animal-1"), version, {})
    found = parse_function_path(path)
    return Invocation(deployment, version, found, Kind.ACTION, values.encode(dict(args)), RequestId("r"))


async def test_a_node_style_action_is_sent_on_an_errand_and_waited_for(tmp_path: Path) -> None:
    kept = Kept()
    async with opened(tmp_path, kept) as router:
        outcome = await router.conductor.run(invocation("jobs:run", text="direct"))
        assert isinstance(outcome, Succeeded) and values.decode(outcome.value) == "direct"
        assert router.admission.running() == 0
    assert [(one.depth, str(one.path)) for one in kept.asked] == [(0, "jobs:run")]


async def test_one_that_an_isolate_calls_is_too_one_level_deeper(tmp_path: Path) -> None:
    kept = Kept()
    async with opened(tmp_path, kept) as router:
        outcome = await router.conductor.run(invocation("calls:run"))
        assert isinstance(outcome, Succeeded) and values.decode(outcome.value) == "nested"
    assert [(one.depth, str(one.path)) for one in kept.asked] == [(1, "jobs:run")]


async def test_without_a_worker_it_fails_and_says_so(tmp_path: Path) -> None:
    async with opened(tmp_path, None) as router:
        outcome = await router.conductor.run(invocation("jobs:run", text="x"))
    assert isinstance(outcome, Failed) and outcome.failure.exception == "NoWorker"
    assert 'begins with "use node": this server has no worker for it' in outcome.failure.message


async def test_arguments_past_their_limit_go_nowhere(tmp_path: Path) -> None:
    kept = Kept()
    async with opened(tmp_path, kept) as router:
        outcome = await router.conductor.run(invocation("jobs:run", text="x" * limits.NODE_ARGUMENT_BYTES))
    assert isinstance(outcome, Failed) and outcome.failure.reason is Reason.ARGUMENTS
    assert "5242891 bytes of arguments, limit 5242880 bytes (NODE_ARGUMENT_BYTES)" in outcome.failure.message
    assert kept.asked == []


async def test_a_queue_that_is_full_is_raised_and_the_permit_given_back(tmp_path: Path) -> None:
    kept = Kept()
    kept.full = True
    async with opened(tmp_path, kept) as router:
        with pytest.raises(Overloaded, match="no worker can be asked"):
            await router.conductor.run(invocation("jobs:run", text="x"))
        assert router.admission.running() == 0
