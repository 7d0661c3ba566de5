"""The examples, as their pages say."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import LiveServer, Tenant

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def files_of(name: str) -> dict[str, bytes]:
    """The bundle of an example."""
    root = EXAMPLES / name / "functions"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.py"))}


def test_in_the_bank_no_money_is_made_or_lost(server: LiveServer) -> None:
    bank = server.tenant(files_of("bank"))
    command = [sys.executable, str(EXAMPLES / "bank/transfers.py"), f"http://127.0.0.1:{server.port}"]
    options = ["--host", bank.cloud, "--clients", "8", "--transfers", "120"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "before: 80000 cents" in done.stdout and "after:  80000 cents" in done.stdout
    assert re.search(r"\d+ audits, 0 of them wrong", done.stdout)
    audit = bank.run("bank:audit")["value"]
    assert audit["holds"] and audit["transfers"] > 0


def test_the_bank_says_why_it_refuses_and_changes_nothing(server: LiveServer) -> None:
    bank = server.tenant(files_of("bank"))
    ann, bob = (bank.run("bank:open_account", {"owner": owner, "cents": 5})["value"] for owner in ("Ann", "Bob"))
    for arguments, code in [
        ({"source": ann, "target": bob, "cents": 6}, "InsufficientFunds"),
        ({"source": ann, "target": ann, "cents": 1}, "NoTransfer"),
        ({"source": ann, "target": bob, "cents": -1}, "NoTransfer"),
    ]:
        assert bank.run("bank:transfer", arguments)["errorData"]["code"] == code
    assert [each["balance"] for each in bank.run("bank:accounts")["value"]] == [5, 5]


SCRIPT = """
const { Live } = await import(process.argv[1]);
const live = new Live(process.argv[2]), seen = [];
const done = new Promise((resolve) => live.subscribe("chat:messages", { room: "lobby" }, (messages) => {
  seen.push(messages.map((each) => each.body));
  if (messages.length === 2) resolve();
}));
await live.mutation("chat:say", { room: "elsewhere", author: "node", body: "nobody hears it" });
await live.mutation("chat:say", { room: "lobby", author: "node", body: "one" });
const refused = await live.mutation("chat:say", { room: "lobby", author: "", body: "x" }).catch((error) => error.data);
await live.mutation("chat:say", { room: "lobby", author: "node", body: "two" });
await done;
console.log(JSON.stringify({ last: seen.at(-1), refused }));
live.close();
"""


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Tenant]:
    """A server whose default deployment is the chat: clients find it without a name that resolvers know."""
    live = LiveServer(tmp_path / "data", WARREN_DEFAULT_DEPLOYMENT="chat", WARREN_SITE_PORT="0")
    made = live.admin("POST", "/v1/deployments", json={"name": "chat"})
    tenant = Tenant(live, "chat", made.json()["deploy_key"])
    assert tenant.push(files_of("chat")).status_code == 201
    yield tenant
    live.stop()


def test_in_the_chat_the_terminal_sees_what_is_said(chat: Tenant) -> None:
    pytest.importorskip("convex")
    command = [sys.executable, str(EXAMPLES / "chat/client.py"), f"http://127.0.0.1:{chat.server.port}", "--until", "2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        for body in ("one", "two"):
            said = {"room": "lobby", "author": "test", "body": body}
            assert chat.run("chat:say", {**said, "room": "other"})["status"] == "success"
            assert chat.run("chat:say", said)["status"] == "success"
            assert client.stdout.readline() == f"test: {body}\n"
        assert client.wait(20) == 0
    assert chat.run("chat:rooms")["value"] == ["lobby", "other"]


def test_the_script_of_the_chat_page_is_live(chat: Tenant, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{chat.server.port}"
    page = chat.get("/")
    assert page.headers["content-type"] == "text/html;charset=UTF-8" and f'new Live("{url}"' in page.text
    (tmp_path / "live.mjs").write_text(chat.get("/live.js").text)
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node here")
    command = [node, "--no-warnings", "--experimental-websocket", "--input-type=module", "-e", SCRIPT]
    done = subprocess.run([*command, str(tmp_path / "live.mjs"), url], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"last": ["one", "two"], "refused": {"code": "Unsayable"}}
