"""A client that ``warren codegen`` wrote, against a whole server."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from openapi_spec_validator import validate

from control_plane.cli.main import main
from tests.conftest import LiveServer, Tenant

STORE = """
from typing import Literal, NotRequired, TypedDict

from runtime import ApplicationError, Id, Int64, action, internal_query, mutation, query, v


class Line(TypedDict):
    text: str
    size: Int64
    note: NotRequired[str | None]


@mutation
async def add(ctx, lines: list[Line], raw: bytes = b"", kind: Literal["a", "b"] = "a") -> Id["things"]:
    return await ctx.db.insert("things", {"lines": lines, "raw": raw, "kind": kind})


@query(args={"id": v.id("things")}, returns=v.union(v.null(), v.object({
    "_id": v.id("things"), "_creationTime": v.number(), "raw": v.bytes(), "kind": v.string(),
    "lines": v.array(v.object({"text": v.string(), "size": v.int64(), "note": v.optional(v.nullable(v.string()))})),
})))
async def get(ctx, id):
    return await ctx.db.get(id)


@query(args={"self": v.number(), "a-b": v.optional(v.string())}, returns=v.any())
async def odd(ctx, **rest):
    return rest


@query
async def loose(ctx, **rest):
    return rest


@query(returns=v.array(v.number()))
async def specials(ctx, numbers: list[float]):
    return numbers


@action
async def refuse(ctx, why: str):
    raise ApplicationError({"why": why, "code": Int64(7)})


@action
async def accident(ctx):
    return 1 / 0


@internal_query
async def hidden(ctx):
    return 1


@query
async def list(ctx, str: int = 3, result: float = 0.5) -> list[dict[str, int | None]]:
    return [{"str": str, "none": None}]
"""
NESTED = "from runtime import query\n\n@query\nasync def ping(ctx) -> str:\n    return 'pong'\n"
FILES = {"store.py": STORE, "admin/users.py": NESTED, "class_/store.py": NESTED, "url.py": NESTED}

USE = """
from client import ApplicationError, Client, Int64, StoreGetResult, ThingsId

def use(client: Client, id: ThingsId) -> None:
    found: StoreGetResult | None = client.store.get(id=id)
    if found is not None:
        size: Int64 = found["lines"][0]["size"]
    text: str = client.admin.users.ping()
    numbers: list[dict[str, float | None]] = client.store.list(str=1)
    client.store.add(lines=[{"text": "a", "size": Int64(1)}], kind="b")
"""
MISUSES = [
    'client.store.get(id="text")',
    "client.store.get()",
    'client.store.add(lines=[{"text": "a", "size": 1}])',
    'client.store.add(lines=[], kind="c")',
    "client.store.hidden()",
    "client.store.list(other=1)",
]


@pytest.fixture(scope="module")
def tenant(server: LiveServer) -> Tenant:
    """A deployment of functions of many types."""
    return server.tenant(FILES)


def warren(tenant: Tenant, *arguments: str) -> Any:
    """Run the command for a deployment."""
    environment = {"WARREN_URL": f"http://127.0.0.1:{tenant.server.port}", "WARREN_DEPLOY_KEY": tenant.key}
    return CliRunner().invoke(main, list(arguments), env=environment)


@pytest.fixture(scope="module")
def written(tenant: Tenant, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated module."""
    path = tmp_path_factory.mktemp("generated") / "client.py"
    done = warren(tenant, "codegen", "-o", str(path))
    assert done.exit_code == 0, done.output
    return path


@pytest.fixture(scope="module")
def generated(written: Path) -> ModuleType:
    """The generated module, imported."""
    spec = importlib.util.spec_from_file_location("client", written)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def client(tenant: Tenant, generated: ModuleType) -> Any:
    """A client of the deployment."""
    with generated.Client(f"http://127.0.0.1:{tenant.server.port}", headers={"host": tenant.cloud}) as made:
        yield made


def check(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """What mypy says about a program that uses the client."""
    (folder / "use.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "client.py", "use.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_the_document_of_a_real_bundle_is_valid_openapi(tenant: Tenant) -> None:
    done = warren(tenant, "functions", "--openapi")
    document = json.loads(done.stdout)
    validate(document)
    assert "/api/run/store/get" in document["paths"] and "hidden" not in done.stdout
    assert tenant.control("GET", "openapi.json").json() == document


def test_the_generated_module_and_its_use_pass_mypy_strict(written: Path) -> None:
    found = check(written.parent, USE)
    assert found.returncode == 0, found.stdout


def test_each_misuse_is_found_by_mypy(written: Path) -> None:
    lines = "".join(f"    {misuse}\n" for misuse in MISUSES)
    found = check(written.parent, f"from client import Client\n\ndef use(client: Client) -> None:\n{lines}")
    wrong = {int(line.split(":")[1]) for line in found.stdout.splitlines() if line.startswith("use.py:")}
    assert wrong == set(range(4, 4 + len(MISUSES))), found.stdout


def test_values_of_every_type_come_back_as_they_were(client: Any, generated: ModuleType) -> None:
    big = generated.Int64(2**63 - 1)
    id = client.store.add(lines=[{"text": "é", "size": big, "note": None}], raw=b"\x00\xff")
    found = client.store.get(id=id)
    assert found["lines"] == [{"text": "é", "size": big, "note": None}]
    assert type(found["lines"][0]["size"]) is generated.Int64
    assert (found["raw"], found["kind"], found["_id"]) == (b"\x00\xff", "a", id)
    numbers = client.store.specials(numbers=[float("inf"), -0.0, 1.5, float("nan")])
    assert [repr(number) for number in numbers] == ["inf", "-0.0", "1.5", "nan"]


def test_names_that_python_keeps_for_itself_can_be_called(client: Any) -> None:
    assert client.store.list(str=5) == [{"str": 5, "none": None}]
    assert client.store.odd({"self": 1, "a-b": "x"}) == {"self": 1, "a-b": "x"}
    assert client.store.loose(self=1) == {"self": 1}
    assert client.admin.users.ping() == client.class_.store.ping() == "pong"
    assert client.url_.ping() == "pong"


def test_an_application_error_brings_its_data(client: Any, generated: ModuleType) -> None:
    with pytest.raises(generated.ApplicationError) as caught:
        client.store.refuse(why="closed")
    assert caught.value.data == {"why": "closed", "code": generated.Int64(7)}


def test_other_failures_and_refusals_are_told_apart(client: Any, generated: ModuleType, tenant: Tenant) -> None:
    with pytest.raises(generated.FunctionFailed) as failed:
        client.store.accident()
    assert not isinstance(failed.value, generated.ApplicationError)
    with pytest.raises(generated.FunctionFailed):
        client.store.list(str="x")
    elsewhere = generated.Client(client.url, headers={"host": "nobody.cloud.localhost"})
    with elsewhere, pytest.raises(generated.CallRefused) as refused:
        elsewhere.admin.users.ping()
    assert refused.value.status == 404
    with generated.Client("http://127.0.0.1:1") as nobody, pytest.raises(generated.NotReached):
        nobody.admin.users.ping()
    with pytest.raises(ValueError, match="Int64"):
        client.store.list(str=2**60)


def test_a_file_that_is_up_to_date_is_left_alone_and_can_be_checked(tenant: Tenant, written: Path) -> None:
    before = written.stat().st_mtime_ns
    assert json.loads(warren(tenant, "codegen", "--json", "-o", str(written)).stdout)["changed"] is False
    assert written.stat().st_mtime_ns == before
    assert warren(tenant, "codegen", "--check", "-o", str(written)).exit_code == 0
    old = written.with_name("old.py")
    old.write_text("")
    assert warren(tenant, "codegen", "--check", "-o", str(old)).exit_code == 1
    assert old.read_text() == ""
