"""What does the control plane believe of a bundle with Node-style modules?"""

from collections.abc import AsyncIterator

import msgspec
import pytest

from runtime import limits
from runtime.names import DeploymentName
from runtime.protocol.declaration import Declaration, Engine, FunctionDeclaration, Kind, Packages, Visibility
from tests.contracts.office_at_work import AtWork, office_at_work
from tests.contracts.test_control_plane_pushes import tar_gz

MINE = DeploymentName("mine")
URL = "/v1/deployments/mine"
FILES = {"mail/send.py": b"'use node'\n", "pictures.mjs": b'"use node";\n', "m.py": b"m\n"}


def action(path: str, file: str, engine: Engine, kind: Kind = Kind.ACTION) -> FunctionDeclaration:
    return FunctionDeclaration(path, kind, Visibility.PUBLIC, file, 1, engine=engine)


SEND = action("mail/send:now", "mail/send.py", Engine.PYTHON)
SHRINK = action("pictures:shrink", "pictures.mjs", Engine.NODE)
DECLARED = Declaration(functions=(SEND, SHRINK), node_style=("mail/send.py", "pictures.mjs"), packages=Packages("lock"))


@pytest.fixture
async def office() -> AsyncIterator[AtWork]:
    async with office_at_work() as work:
        await work.create(MINE)
        yield work


async def push(office: AtWork, declaration: Declaration, files: dict[str, bytes] = FILES) -> tuple[int, str]:
    """Push a bundle that declares this; the status, and what was declared or why not."""
    told = {"declaration.json": msgspec.json.encode(declaration), **files}
    answer = await office.http.post(f"{URL}/pushes", content=tar_gz(told))
    return answer.status_code, answer.text


async def test_functions_are_listed_with_what_runs_them(office: AtWork) -> None:
    status, text = await push(office, DECLARED)
    assert status == 201, text
    listed = (await office.http.get(f"{URL}/functions")).json()["functions"]
    assert {each["path"]: each["engine"] for each in listed} == {"mail/send:now": "python", "pictures:shrink": "node"}
    times = {each["time_limit"] for each in listed}
    assert times == {int(limits.NODE_ACTION_TIME)}


async def test_locks_are_kept_with_the_version(office: AtWork) -> None:
    await push(office, DECLARED)
    deployment = await office.registry.deployments.load(MINE)
    assert deployment is not None and deployment.version is not None
    assert deployment.version.declaration.packages == Packages("lock")
    assert "lock" not in (await office.http.get(f"{URL}/versions")).text


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (action("m:f", "m.py", Engine.PYTHON), "where its file does not"),
        (action("mail/send:now", "mail/send.py", Engine.ISOLATE), "where its file does not"),
        (action("mail/send:now", "mail/send.py", Engine.NODE), "where its file does not"),
        (action("mail/send:now", "mail/send.py", Engine.PYTHON, Kind.MUTATION), "is a mutation"),
        (action("mail/send:now", "mail/send.py", Engine.PYTHON, Kind.HTTP_ACTION), "is a http action"),
        (action("m:now", "mail/send.py", Engine.PYTHON), "whose functions have other paths"),
        (action("mail/send:now", "nothing.py", Engine.PYTHON), "a file or line that it does not have"),
    ],
)
async def test_a_claim_about_what_runs_a_function_is_looked_over(
    office: AtWork, function: FunctionDeclaration, reason: str
) -> None:
    status, text = await push(office, Declaration(functions=(function,), node_style=("mail/send.py",)))
    assert status == 422
    assert reason in text


async def test_other_claims_that_cannot_be_meant_are_not_kept(office: AtWork) -> None:
    status, text = await push(office, Declaration(node_style=("m.py",)))
    assert (status, "Node-style modules that are none" in text) == (422, True)
    status, text = await push(office, Declaration(packages=Packages(node="x" * (limits.PACKAGE_LOCK + 1))))
    assert (status, "limit PACKAGE_LOCK" in text) == (422, True)
    both = (action("a:f", "a.py", Engine.PYTHON), action("a:f", "a.mjs", Engine.NODE))
    files = {"a.py": b"'use node'", "a.mjs": b"'use node'"}
    status, text = await push(office, Declaration(functions=both, node_style=("a.mjs", "a.py")), files)
    assert (status, "a:f is declared twice" in text) == (422, True)


async def test_a_node_style_module_is_declared_once(office: AtWork) -> None:
    status, text = await push(office, Declaration(node_style=("mail/send.py",) * 1_000))
    assert status == 422 and "one twice" in text
