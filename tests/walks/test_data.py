"""A developer gives a deployment a schema: documents are compared with it, found by its indexes, read page by page."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import LiveServer, Tenant

FUNCTIONS = """
from runtime import UNSET, Id, Int64, PaginationOptions, PaginationResult, action, mutation, query

@mutation
async def add(ctx, author: str, n: int, more: dict = {}):
    return await ctx.db.insert("messages", {"author": author, "n": n, **more})

@mutation
async def add_anything(ctx, document: dict):
    return await ctx.db.insert("messages", document)

@mutation
async def add_many(ctx, count: int):
    for n in range(count):
        await ctx.db.insert("messages", {"author": "ab"[n % 2], "n": n})

@mutation
async def remove(ctx, id: Id["messages"]):
    await ctx.db.delete(id)

@query
async def get(ctx, id: Id["messages"]):
    return await ctx.db.get(id)

@action
async def shout(ctx, id: Id["messages"]):
    return id

@query
async def newest(ctx, author: str, above: int = 0, count: int = 3):
    query = ctx.db.query("messages").with_index("by_author", lambda q: q.eq("author", author).gt("n", above))
    return [one["n"] for one in await query.order("desc").take(count)]

@query
async def page(ctx, author: str, paginationOpts: PaginationOptions) -> PaginationResult:
    query = ctx.db.query("messages").with_index("by_author", lambda q: q.eq("author", author))
    return await query.paginate(paginationOpts)

@query
async def wrong_order(ctx):
    return await ctx.db.query("messages").with_index("by_author", lambda q: q.eq("n", 1)).collect()

@query
async def files(ctx):
    return await ctx.db.system.query("_storage").collect()
"""

HEAD = "from runtime import define_schema, define_table, v\n"
MESSAGES = 'define_table({"author": v.string(), "n": v.number()})'
BY_AUTHOR = f'{HEAD}schema = define_schema({{"messages": {MESSAGES}.index("by_author", ["author", "n"])}})\n'
PLAIN = f'{HEAD}schema = define_schema({{"messages": {MESSAGES}}})\n'


def bundle(schema: str | None) -> Mapping[str, str]:
    return {"m.py": FUNCTIONS} if schema is None else {"m.py": FUNCTIONS, "schema.py": schema}


def value(answer: Any) -> Any:
    assert answer["status"] == "success", answer
    return answer["value"]


def error(answer: Any) -> str:
    assert answer["status"] == "error", answer
    return str(answer["errorMessage"])


@pytest.fixture
def tenant(server: LiveServer) -> Tenant:
    return server.tenant(bundle(BY_AUTHOR))


def test_documents_are_found_by_an_index_in_its_order(tenant: Tenant) -> None:
    value(tenant.run("m:add_many", {"count": 20}))
    assert value(tenant.run("m:newest", {"author": "b"})) == [19, 17, 15]
    assert value(tenant.run("m:newest", {"author": "a", "above": 15.0})) == [18, 16]


def test_a_document_that_does_not_fit_is_refused_with_its_path(tenant: Tenant) -> None:
    said = error(tenant.run("m:add_anything", {"document": {"author": 5, "n": 1}}))
    assert "document.author must be a string, got int 5" in said and "the schema of table 'messages'" in said
    assert "document.x is not expected" in error(tenant.run("m:add", {"author": "a", "n": 1, "more": {"x": 1}}))
    assert "document.n is missing" in error(tenant.run("m:add_anything", {"document": {"author": "a"}}))


def test_a_schema_that_documents_do_not_fit_refuses_the_push_and_the_old_version_runs_on(server: LiveServer) -> None:
    tenant = server.tenant(bundle(None))
    value(tenant.run("m:add", {"author": "a", "n": 1}))
    bad = value(tenant.run("m:add_anything", {"document": {"author": "a", "n": "two"}}))
    refused = tenant.push(bundle(BY_AUTHOR))
    assert refused.status_code == 422
    (diagnostic,) = refused.json()["diagnostics"]
    assert diagnostic["file"] == "schema.py"
    for part in (bad, "'messages'", "document.n must be a number, got str 'two'"):
        assert part in diagnostic["message"]
    value(tenant.run("m:add_anything", {"document": {"anything": "goes"}}))
    assert "has no index 'by_author'" in error(tenant.run("m:newest", {"author": "a"}))


def test_an_index_is_there_with_the_version_that_needs_it_and_after_a_rollback(server: LiveServer) -> None:
    tenant = server.tenant(bundle(PLAIN))
    value(tenant.run("m:add_many", {"count": 500}))
    with ThreadPoolExecutor(2) as threads:
        writing = threads.submit(lambda: [tenant.run("m:add", {"author": "b", "n": n}) for n in range(1_000, 1_030)])
        second = tenant.push(bundle(BY_AUTHOR))
        assert second.status_code == 201, second.text
        written = writing.result()
    assert [answer["status"] for answer in written] == ["success"] * 30
    assert value(tenant.run("m:newest", {"author": "b"})) == [1029, 1028, 1027]
    assert tenant.push(bundle(None)).status_code == 201
    assert tenant.push(bundle(PLAIN)).status_code == 201
    value(tenant.run("m:add", {"author": "b", "n": 2_000}))
    number = second.json()["version"]
    assert tenant.control("POST", "rollback", json={"version": number}).status_code == 200
    assert value(tenant.run("m:newest", {"author": "b"})) == [2000, 1029, 1028]


def test_pages_are_read_one_after_the_other(tenant: Tenant) -> None:
    value(tenant.run("m:add_many", {"count": 25}))
    found, cursor, pages = [], None, 0
    while True:
        options = {"numItems": 5, "cursor": cursor, "id": pages}
        page = value(tenant.run("m:page", {"author": "a", "paginationOpts": options}))
        found += [one["n"] for one in page["page"]]
        cursor, pages = page["continueCursor"], pages + 1
        assert isinstance(cursor, str) and "\n" not in cursor
        if page["isDone"]:
            break
    assert found == list(range(0, 25, 2))
    assert pages == 3


def test_a_cursor_of_another_query_is_the_error_that_clients_know(tenant: Tenant) -> None:
    value(tenant.run("m:add_many", {"count": 10}))
    options = {"numItems": 2, "cursor": None}
    cursor = value(tenant.run("m:page", {"author": "a", "paginationOpts": options}))["continueCursor"]
    for author, given in (("b", cursor), ("a", "made up"), ("a", cursor[:-1])):
        answer = tenant.run("m:page", {"author": author, "paginationOpts": {"numItems": 2, "cursor": given}})
        assert "InvalidCursor" in error(answer)
        assert answer["errorData"] == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}


def test_a_cursor_outlives_the_server(own_server: LiveServer) -> None:
    tenant = own_server.tenant(bundle(BY_AUTHOR))
    value(tenant.run("m:add_many", {"count": 10}))
    options = {"numItems": 2, "cursor": None}
    cursor = value(tenant.run("m:page", {"author": "a", "paginationOpts": options}))["continueCursor"]
    own_server.kill()
    own_server.start()
    page = value(tenant.run("m:page", {"author": "a", "paginationOpts": {"numItems": 10, "cursor": cursor}}))
    assert [one["n"] for one in page["page"]] == [4, 6, 8]


@pytest.mark.parametrize("function", ["m:get", "m:remove", "m:shout"])
def test_an_id_of_another_table_is_refused_before_the_function_runs(tenant: Tenant, function: str) -> None:
    said = error(tenant.run(function, {"id": "not an id"}))
    assert "args.id must be an id of table 'messages', got str 'not an id'" in said
    assert "m.py" not in said


@pytest.mark.parametrize(
    ("function", "arguments", "says"),
    [
        ("m:wrong_order", {}, "is ordered by author, n, _creationTime: the next one is 'author', not q.eq('n')"),
        ("m:page", {"author": "a", "paginationOpts": {"numItems": 0, "cursor": None}}, "numItems must be"),
        ("m:page", {"author": "a", "paginationOpts": {"numItems": 1}}, "args.paginationOpts.cursor is missing"),
        ("m:add_anything", {"document": {"$a": 1}}, "$a"),
        ("m:add_anything", {"document": {"_id": "x"}}, "_id is set by the system"),
        ("m:add_anything", {"document": {"author": "x" * 1_100_000, "n": 1}}, "limit DOCUMENT_BYTES"),
    ],
)
def test_bad_input_is_an_error_that_says_so(
    tenant: Tenant, function: str, arguments: dict[str, object], says: str
) -> None:
    answer = tenant.run(function, arguments)
    assert says in str(answer.get("errorMessage", answer))
    assert value(tenant.run("m:newest", {"author": "a"})) == []


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ("schema = 5\n", "schema.py must define `schema`"),
        ("x = 1\n", "schema.py must define `schema`"),
        (f'{HEAD}schema = define_schema({{"m": define_table({{"a": v.any()}}).index("i", ["b"])}})\n', "the field 'b'"),
        (f'{HEAD}schema = define_schema({{"_m": define_table(v.any())}})\n', "is not a table name"),
        (f'{HEAD}schema = define_schema({{"m": define_table({{"u": v.id("_nothing")}})}})\n', "does not name a table"),
    ],
)
def test_a_schema_that_cannot_be_meant_refuses_the_push(server: LiveServer, schema: str, says: str) -> None:
    refused = server.tenant().push(bundle(schema))
    assert refused.status_code == 422
    (diagnostic,) = refused.json()["diagnostics"]
    assert says in diagnostic["message"] and diagnostic["file"] == "schema.py"


def test_the_tables_of_the_system_can_be_asked(tenant: Tenant) -> None:
    assert value(tenant.run("m:files")) == []
