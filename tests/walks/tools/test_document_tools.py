"""Documents through the control plane and the command line, against a whole server."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from control_plane.cli.main import main
from tests.conftest import LiveServer, Tenant

SCHEMA = """
from runtime import define_schema, define_table, v

schema = define_schema({
    "users": define_table({"name": v.string(), "age": v.optional(v.number())}).index("by_name", ["name"]),
    "notes": define_table({
        "author": v.id("users"), "text": v.string(), "big": v.optional(v.int64()), "raw": v.optional(v.bytes()),
        "done": v.optional(v.boolean()),
    }),
})
"""
FUNCTIONS = """
from runtime import Int64, mutation, query

@mutation
async def fill(ctx, count: int):
    author = await ctx.db.insert("users", {"name": "Ann"})
    for number in range(count):
        await ctx.db.insert("notes", {"author": author, "text": f"é{number}", "big": Int64(number), "raw": b"\\xff"})
    gone = await ctx.db.insert("empty", {"a": 1})
    await ctx.db.delete(gone)

@query
async def named(ctx, name: str):
    return await ctx.db.query("users").with_index("by_name", lambda q: q.eq("name", name)).collect()
"""
FILES = {"functions.py": FUNCTIONS, "schema.py": SCHEMA}
Warren = Callable[..., Result]


def command(tenant: Tenant) -> Warren:
    """The command, for a deployment."""
    environment = {"WARREN_URL": f"http://127.0.0.1:{tenant.server.port}", "WARREN_DEPLOY_KEY": tenant.key}
    return lambda *arguments, stdin=None: CliRunner().invoke(main, list(arguments), env=environment, input=stdin)


@pytest.fixture
def tenant(server: LiveServer) -> Tenant:
    """A deployment with a schema and some documents."""
    made = server.tenant(FILES)
    assert made.run("functions:fill", {"count": 3})["status"] == "success"
    return made


@pytest.fixture
def warren(tenant: Tenant) -> Warren:
    """The command for it."""
    return command(tenant)


def snapshot(tenant: Tenant) -> dict[str, list[dict[str, Any]]]:
    """Every document by table, from an export."""
    answer = tenant.control("GET", "data/export")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        return {
            name.split("/")[0]: [json.loads(line) for line in archive.read(name).splitlines()]
            for name in archive.namelist()
        }


def send(tenant: Tenant, content: str | bytes, **query: str) -> Any:
    """Import something."""
    return tenant.control("POST", "data/import", content=content, params=query)


def zipped(**tables: str) -> bytes:
    """A snapshot with these lines."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for table, lines in tables.items():
            archive.writestr(f"{table}/documents.jsonl", lines)
    return packed.getvalue()


def test_tables_are_listed_with_what_is_true_of_them(warren: Warren) -> None:
    tables = {each["name"]: each for each in json.loads(warren("data", "list", "--json").stdout)}
    assert (tables["notes"]["documents"], tables["notes"]["more"], tables["empty"]["documents"]) == (3, False, 0)
    assert tables["users"]["indexes"] == [["name"]] and tables["users"]["schema"]["type"] == "object"
    assert "users" in warren("data", "list").output


def test_documents_are_shown_by_page_order_and_condition(warren: Warren, tenant: Tenant) -> None:
    newest = json.loads(warren("data", "show", "notes", "--json").stdout)
    assert [each["text"] for each in newest] == ["é2", "é1", "é0"]
    assert [
        each["text"]
        for each in json.loads(warren("data", "show", "notes", "--order", "asc", "-n", "1", "--json").stdout)
    ] == ["é0"]
    one = json.loads(warren("data", "show", "notes", "--json", "-w", "text=é1").stdout)
    assert [each["text"] for each in one] == ["é1"]
    some = json.loads(warren("data", "show", "notes", "--json", "-w", 'big>={"$integer": "AQAAAAAAAAA="}').stdout)
    assert [each["text"] for each in some] == ["é2", "é1"]
    assert "é1" in warren("data", "show", "notes").output
    first = tenant.control("GET", "data/notes", params={"limit": 1, "where": "text!=é2"}).json()
    second = tenant.control(
        "GET", "data/notes", params={"limit": 5, "where": "text!=é2", "cursor": first["cursor"]}
    ).json()
    assert [each["text"] for each in first["documents"] + second["documents"]] == ["é1", "é0"]
    assert second["cursor"] is None
    assert json.loads(warren("data", "show", "notes", newest[0]["_id"]).stdout) == newest[0]


def test_documents_are_inserted_patched_and_deleted(warren: Warren, tenant: Tenant) -> None:
    id = json.loads(warren("data", "insert", "users", '{"name": "Bob", "age": 3}', "--json").stdout)["id"]
    assert tenant.run("functions:named", {"name": "Bob"})["value"][0]["_id"] == id
    changed = json.loads(warren("data", "patch", "users", id, '{"name": "Eve"}', "--unset", "age").stdout)
    assert (changed["name"], "age" in changed) == ("Eve", False)
    assert warren("data", "insert", "users", "-", stdin='{"name": "in"}').exit_code == 0
    assert warren("data", "delete", "users", id).exit_code == 0
    assert tenant.run("functions:named", {"name": "Eve"})["value"] == []
    assert warren("data", "delete", "users", id).exit_code == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "users", {"name": 1}, 422),
        ("POST", "users", {"name": "a", "$b": 1}, 422),
        ("POST", "users", {"_id": "x", "name": "a"}, 422),
        ("POST", "_tables", {"name": "a"}, 422),
        ("POST", "users", [], 422),
        ("PATCH", "users/nothing", {}, 404),
        ("GET", "nothing", None, 404),
        ("GET", "notes?where=text", None, 422),
        ("GET", "notes?cursor=%26", None, 422),
        ("GET", "notes?limit=0", None, 422),
        ("DELETE", "users/nothing", None, 404),
        ("POST", "import?format=csv", None, 422),
        ("POST", "import?format=zip&table=x", None, 422),
        ("POST", "import?format=csv&table=_x", None, 422),
        ("POST", "import", None, 400),
    ],
)
def test_what_cannot_be_done_is_refused_and_changes_nothing(
    tenant: Tenant, method: str, path: str, body: Any, status: int
) -> None:
    before = snapshot(tenant)
    answer = (
        tenant.control(method, f"data/{path}", json=body)
        if body is not None
        else tenant.control(method, f"data/{path}")
    )
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert snapshot(tenant) == before


def test_a_snapshot_comes_back_with_its_ids_in_another_deployment(
    server: LiveServer, tenant: Tenant, warren: Warren, tmp_path: Path
) -> None:
    file = tmp_path / "all.zip"
    told = json.loads(warren("export", "-o", str(file), "--json").stdout)
    assert told["documents"] == 4 and told["bytes"] == file.stat().st_size
    assert list(tmp_path.iterdir()) == [file]
    other = server.tenant()
    done = command(other)("import", str(file), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"tables": {"empty": 0, "notes": 3, "users": 1}, "documents": 4}
    assert {**snapshot(other), "_tables": []} == {**snapshot(tenant), "_tables": []}
    assert other.push(FILES).status_code == 201
    assert [each["name"] for each in other.run("functions:named", {"name": "Ann"})["value"]] == ["Ann"]


def test_an_import_requires_empty_tables_unless_it_is_told_otherwise(tenant: Tenant) -> None:
    before = snapshot(tenant)
    content = tenant.control("GET", "data/export").content
    refused = send(tenant, content)
    assert refused.status_code == 409 and "mode=" in refused.json()["detail"]
    taken = send(tenant, content, mode="append")
    assert taken.status_code == 422 and "taken" in taken.json()["diagnostics"][0]["message"]
    assert snapshot(tenant) == before
    tenant.control("POST", "data/users", json={"name": "new"})
    assert send(tenant, content, mode="replace").status_code == 200
    assert snapshot(tenant) == before
    more = send(tenant, '{"name": "Bob"}\n\n{"name": "Cid"}\n', format="jsonl", table="users", mode="append")
    assert more.json() == {"tables": {"users": 2}, "documents": 2}
    assert [each["name"] for each in snapshot(tenant)["users"]] == ["Ann", "Bob", "Cid"]


def test_bad_lines_are_told_with_file_line_and_field_and_nothing_is_written(tenant: Tenant) -> None:
    before = snapshot(tenant)
    good = '{"name": "x"}\n' * 1000
    lines = (
        good
        + '{"name": 1}\n{"name": "y", "age": "1"}\n{"nom": "z"}\nnot json\n[]\n'
        + '{"name": "\\ud800"}\n{"name": "z", "_id": "x"}\n'
    )
    refused = send(tenant, lines, format="jsonl", table="users", mode="replace")
    assert refused.status_code == 422
    told = refused.json()["diagnostics"]
    assert [each["line"] for each in told] == [1001, 1002, 1003, 1004, 1005, 1006, 1007]
    assert {each["file"] for each in told} == {"users.jsonl"}
    assert "document.name" in told[0]["message"] and "document.age" in told[1]["message"]
    assert snapshot(tenant) == before
    archive = zipped(users=good, notes='{"author": "nobody", "text": "t"}\n')
    in_zip = send(tenant, archive, mode="replace").json()
    assert in_zip["diagnostics"][0]["file"] == "notes/documents.jsonl" and "document.author" in in_zip["detail"]
    assert snapshot(tenant) == before


def test_the_command_shows_bad_lines_and_ends_with_code_one(warren: Warren, tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text('{"name": "a"}\n{"name": 7}\n')
    refused = warren("import", str(file), "--append")
    assert refused.exit_code == 1 and "users.jsonl:2: " in refused.output
    other = file.rename(tmp_path / "people.jsonl")
    refused = warren("import", str(other), "--table", "users", "--append")
    assert refused.exit_code == 1 and "people.jsonl:2: " in refused.output and "nothing was changed" in refused.output
    file = other.rename(tmp_path / "users.jsonl")
    assert warren("import", str(file), "--table", "users", "--format", "csv").exit_code == 1
    assert warren("import", str(tmp_path / "users.txt")).exit_code == 2


def test_comma_separated_values_mean_what_the_schema_says(warren: Warren, tenant: Tenant, tmp_path: Path) -> None:
    author = snapshot(tenant)["users"][0]["_id"]
    file = tmp_path / "notes.csv"
    file.write_text(f'author,text,big,done\n{author},007,7,true\n{author},"a, ""b""\nc",,\n')
    assert warren("import", str(file), "--append").exit_code == 0
    first, second = snapshot(tenant)["notes"][-2:]
    assert (first["text"], first["big"], first["done"]) == ("007", {"$integer": "BwAAAAAAAAA="}, True)
    assert second["text"] == 'a, "b"\nc' and "big" not in second
    loose = tmp_path / "loose.csv"
    loose.write_text("a,b\n1,x\n007,1.5\n")
    assert warren("import", str(loose)).exit_code == 0
    assert [(each["a"], each["b"]) for each in snapshot(tenant)["loose"]] == [(1, "x"), ("007", 1.5)]


def test_ids_of_another_table_are_refused(tenant: Tenant) -> None:
    user = snapshot(tenant)["users"][0]
    wrong = send(tenant, json.dumps({"_id": user["_id"], "a": 1}), format="jsonl", table="other")
    assert wrong.status_code == 409 and "number" in wrong.json()["detail"]
    twice = json.dumps(user)
    found = send(tenant, f"{twice}\n{twice}\n", format="jsonl", table="users", mode="replace")
    assert found.status_code == 422 and found.json()["diagnostics"][0]["line"] == 2


def test_a_large_import_is_written_whole_while_others_are_answered(tenant: Tenant) -> None:
    lines = "".join(json.dumps({"name": f"user {number}", "age": number}) + "\n" for number in range(5_000))
    done = send(tenant, lines, format="jsonl", table="users", mode="replace")
    assert done.json() == {"tables": {"users": 5_000}, "documents": 5_000}
    assert [each["age"] for each in tenant.run("functions:named", {"name": "user 4999"})["value"]] == [4999]
    assert tenant.run("functions:named", {"name": "Ann"})["value"] == []
    assert len(snapshot(tenant)["users"]) == 5_000
