"""Clients that stay connected: subscriptions, mutations once, through pushes, cuts and power failures."""

import asyncio
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import LiveServer, Tenant, bundle_files


@pytest.fixture
def tenant(server: LiveServer) -> Tenant:
    return server.tenant("clients")


class Client:
    """A sync client of the test: it remembers what it knows, and what it has not been answered."""

    def __init__(self, tenant: Tenant, session: str) -> None:
        self.tenant = tenant
        self.session = session
        self.known: dict[int, Any] = {}
        self.journals: dict[int, str | None] = {}
        self.unfinished: dict[int, dict[str, Any]] = {}
        self.answers: dict[int, Any] = {}
        self.transitions = 0
        self._version = 0
        self._connections = 0
        self.connection: ClientConnection | None = None

    async def __aenter__(self) -> "Client":
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.connection is not None
        await self.connection.close()

    async def open(self) -> None:
        """Connect, or connect again, and say again what was not answered."""
        if self.connection is not None:
            await self.connection.close()
        port, self._version = self.tenant.server.port, 0
        url = f"ws://{self.tenant.cloud}:{port}/api/1.48.0/sync"
        self.connection = await connect(url, host="127.0.0.1", port=port, proxy=None, max_size=2**27)
        await self.say("Connect", sessionId=self.session, connectionCount=self._connections, clientTs=0)
        self._connections += 1
        for mutation in self.unfinished.values():
            await self.connection.send(json.dumps(mutation))

    async def say(self, type: str, **fields: Any) -> None:
        assert self.connection is not None
        await self.connection.send(json.dumps({"type": type, **fields}))

    async def watch(self, query: int, path: str, args: dict[str, Any] | None = None) -> None:
        add = {"type": "Add", "queryId": query, "udfPath": path, "args": [args or {}]}
        self._version += 1
        await self.say("ModifyQuerySet", baseVersion=self._version - 1, newVersion=self._version, modifications=[add])

    async def mutate(self, number: int, path: str, args: dict[str, Any]) -> None:
        message = {"type": "Mutation", "requestId": number, "udfPath": path, "args": [args]}
        self.unfinished[number] = message
        assert self.connection is not None
        await self.connection.send(json.dumps(message))

    async def hear(self) -> Any:
        """One message, believed."""
        assert self.connection is not None
        async with asyncio.timeout(20):
            message = json.loads(await self.connection.recv())
        if message["type"] == "Transition":
            self.transitions += 1
            for change in message["modifications"]:
                if change["type"] != "QueryRemoved":
                    self.known[change["queryId"]] = change.get("value", change.get("errorMessage"))
                    self.journals[change["queryId"]] = change["journal"]
        elif message["type"] == "MutationResponse":
            self.unfinished.pop(message["requestId"], None)
            self.answers[message["requestId"]] = message
        return message

    async def until(self, holds: Any) -> None:
        """Hear until this holds."""
        while not holds(self):
            await self.hear()


def bodies(client: Client, query: int = 0) -> list[str]:
    return [document["body"] for document in client.known.get(query) or []]


async def test_what_one_client_writes_another_one_sees(tenant: Tenant) -> None:
    async with Client(tenant, "one") as one, Client(tenant, "two") as two:
        await one.watch(0, "messages:list")
        await one.until(lambda client: client.known.get(0) == [])
        await two.mutate(0, "messages:send", {"author": "two", "body": "hello"})
        await one.until(lambda client: bodies(client) == ["hello"])
        tenant.run("messages:send", {"author": "http", "body": "and over HTTP"})
        await one.until(lambda client: bodies(client) == ["hello", "and over HTTP"])


async def test_a_push_changes_what_is_subscribed_to(tenant: Tenant) -> None:
    async with Client(tenant, "one") as client:
        await client.watch(0, "messages:list")
        await client.watch(1, "other:version")
        await client.until(lambda client: "Could not find" in str(client.known.get(1)))
        version = "from runtime import query\n@query\nasync def version(ctx):\n    return {}\n"
        for number in (1, 2):
            files = {**bundle_files("clients"), "other.py": version.format(number).encode()}
            assert tenant.push(files).status_code == 201
            await client.until(lambda client, number=number: client.known.get(1) == number)


async def test_a_changed_variable_changes_what_is_subscribed_to(server: LiveServer) -> None:
    tenant = server.tenant(
        {"colors.py": "from runtime import env, query\n@query\nasync def now(ctx):\n    return env.get('COLOR')\n"}
    )
    async with Client(tenant, "one") as client:
        await client.watch(0, "colors:now")
        await client.until(lambda client: client.known == {0: None})
        tenant.control("PUT", "env/COLOR", json={"value": "blue"})
        await client.until(lambda client: client.known == {0: "blue"})
        headers = {"Host": tenant.cloud, "Authorization": f"Convex {tenant.key}"}
        changes = {"changes": [{"name": "COLOR", "value": "red"}]}
        answer = server.http.post("/api/update_environment_variables", json=changes, headers=headers)
        assert answer.status_code == 200, answer.text
        await client.until(lambda client: client.known == {0: "red"})


async def test_a_page_keeps_its_end_while_it_grows(tenant: Tenant) -> None:
    for number in range(4):
        tenant.run("messages:send", {"author": "a", "body": str(number)})
    async with Client(tenant, "one") as client:
        await client.watch(0, "messages:page", {"paginationOpts": {"numItems": 2, "cursor": None}})
        await client.until(lambda client: 0 in client.known)
        assert [document["body"] for document in client.known[0]["page"]] == ["3", "2"]
        assert client.journals[0] is not None
        cursor = client.known[0]["continueCursor"]
        tenant.run("messages:send", {"author": "a", "body": "4"})
        await client.until(lambda client: len(client.known[0]["page"]) == 3)
        assert [document["body"] for document in client.known[0]["page"]] == ["4", "3", "2"]
        assert client.known[0]["continueCursor"] == cursor


async def test_a_commit_elsewhere_is_no_work_for_those_it_does_not_touch(server: LiveServer) -> None:
    code = """
from runtime import mutation, query

@query
async def one(ctx, table: str):
    print("read", table)
    return [d["n"] for d in await ctx.db.query(table).collect()]

@mutation
async def add(ctx, table: str, n: int):
    await ctx.db.insert(table, {"n": n})
"""
    tenant = server.tenant({"rows.py": code})
    async with Client(tenant, "one") as client:
        for table in ("a", "b"):
            tenant.run("rows:add", {"table": table, "n": 0})
        await client.watch(0, "rows:one", {"table": "a"})
        await client.until(lambda client: client.known == {0: [0]})
        for number in range(1, 11):
            tenant.run("rows:add", {"table": "b", "n": number})
        tenant.run("rows:add", {"table": "a", "n": 1})
        await client.until(lambda client: client.known == {0: [0, 1]})
        assert client.transitions == 2
    assert tenant.log().count("read a") == 2


async def test_mutations_are_run_once_through_power_failures(own_server: LiveServer) -> None:
    tenant = own_server.tenant("clients")
    client = Client(tenant, "a session that lasts")
    await client.open()
    count, failures = 60, 3
    for number in range(count):
        await client.mutate(number, "messages:send", {"author": "me", "body": str(number)})
    for failure in range(1, failures + 1):
        await client.until(lambda client, failure=failure: len(client.answers) >= failure * 10)
        own_server.kill()
        await _drain(client)
        own_server.start()
        await client.open()
    await client.until(lambda client: not client.unfinished)
    assert all(answer["success"] for answer in client.answers.values())
    assert client.connection is not None
    await client.connection.close()
    async with Client(tenant, "another") as reader:
        await reader.watch(0, "messages:list")
        await reader.until(lambda client: 0 in client.known)
        assert sorted(bodies(reader), key=int) == [str(number) for number in range(count)]


async def _drain(client: Client) -> None:
    """Hear what was on its way when the server died."""
    try:
        while True:
            await client.hear()
    except (ConnectionClosed, TimeoutError):
        return


async def test_an_answer_that_was_lost_is_given_again(tenant: Tenant) -> None:
    client = Client(tenant, "careless")
    await client.open()
    await client.mutate(0, "messages:send", {"author": "me", "body": "once"})
    assert client.connection is not None
    async with Client(tenant, "watching") as watching:
        await watching.watch(0, "messages:list")
        await watching.until(lambda client: bodies(client) == ["once"])
    client.connection.transport.abort()
    async with client:
        await client.until(lambda client: not client.unfinished)
        assert client.answers[0]["success"]
        assert client.answers[0]["result"] == tenant.run("messages:list")["value"][0]["_id"]
    assert len(tenant.run("messages:list")["value"]) == 1


async def test_a_reader_that_does_not_read_costs_nobody_else_anything(tenant: Tenant) -> None:
    big = "x" * 500_000
    async with Client(tenant, "lazy") as lazy, Client(tenant, "eager") as eager:
        assert lazy.connection is not None
        lazy.connection.transport.pause_reading()
        await lazy.watch(0, "messages:list")
        await eager.watch(0, "messages:list")
        for number in range(8):
            await eager.mutate(number, "messages:send", {"author": "me", "body": f"{number} {big}"})
        await eager.until(lambda client: len(bodies(client)) == 8)
        lazy.connection.transport.resume_reading()
        await lazy.until(lambda client: len(bodies(client)) == 8)
        assert lazy.transitions < 8


# --- the official client of PyPI -------------------------------------------------------------------------------------


@pytest.fixture
def guarded() -> Iterator[None]:
    """The client waits in native code and holds the interpreter; only a signal gets through."""

    def expired(*_: object) -> None:
        raise AssertionError("the client was not answered in time")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a default deployment answers: the official client cannot be told a Host header."""
    live = LiveServer(tmp_path_factory.mktemp("default"), WARREN_DEFAULT_DEPLOYMENT="main", WARREN_SITE_PORT="0")
    answer = live.admin("POST", "/v1/deployments", json={"name": "main"})
    assert Tenant(live, "main", answer.json()["deploy_key"]).push("clients").status_code == 201
    yield f"http://127.0.0.1:{live.port}"
    live.stop()


def test_the_official_python_client_queries_writes_subscribes_and_fails_as_it_should(url: str, guarded: None) -> None:
    from convex import ConvexClient, ConvexError, ConvexInt64

    client, other = ConvexClient(url), ConvexClient(url)
    assert client.query("messages:list") == []
    subscription: Iterator[Any] = iter(client.subscribe("messages:list"))
    assert next(subscription) == []
    client.mutation("messages:send", {"author": "me", "body": "hello"})
    assert [document["body"] for document in client.query("messages.js:list", {})] == ["hello"]
    other.mutation("messages:send", {"author": "you", "body": "too"})
    while len(seen := next(subscription)) < 2:
        assert len(seen) == 1
    echoed: Any = client.action("messages:echo", {"i": ConvexInt64(2**40), "b": b"\0\xff", "n": 1, "f": float("-inf")})
    assert (echoed["i"].value, echoed["b"], echoed["n"], echoed["f"]) == (2**40, b"\0\xff", 1.0, float("-inf"))
    for call, path in ((client.query, "messages:fail"), (client.mutation, "messages:fail_mutation")):
        with pytest.raises(ConvexError) as failed:
            call(path)
        assert failed.value.data == {"code": 7.0}
    for path in ("messages:nothing", "messages:send"):
        with pytest.raises(Exception, match="messages") as refused:
            client.query(path, {})
        assert not isinstance(refused.value, ConvexError)
    assert len(client.query("messages:list")) == 2
    assert client.query("messages:whoami") is None


def test_the_official_http_client_of_python_is_answered(url: str, guarded: None) -> None:
    from convex import ConvexError
    from convex.http_client import ConvexHttpClient

    client = ConvexHttpClient(url)
    client.mutation("messages:send", {"author": "http", "body": "hello"})
    assert [document["body"] for document in client.query("messages:list")] == ["hello"]
    with pytest.raises(ConvexError) as failed:
        client.query("messages:fail")
    assert failed.value.data == {"code": 7}
    client.set_auth("not-a-token")
    with pytest.raises(Exception, match="401"):
        client.query("messages:whoami")
