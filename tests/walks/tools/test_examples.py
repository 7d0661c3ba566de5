"""The examples, as their pages say."""

import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import LiveServer

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
