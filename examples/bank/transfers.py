"""Many people move money at once, and somebody audits the bank meanwhile.

python examples/bank/transfers.py [URL] [--clients 16] [--transfers 400]
"""

import argparse
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

PEOPLE = ("Ann", "Bob", "Cid", "Dot", "Eve", "Fay", "Gil", "Hal")
FIRST_DEPOSIT = 100_00


class Refused(Exception):
    """The bank said no; ``data`` says why."""

    def __init__(self, data: object) -> None:
        super().__init__(str(data))
        self.data = data


class Bank:
    """The functions of `functions/bank.py`, over HTTP."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self._http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def call(self, kind: str, name: str, **args: object) -> object:
        """Call one function."""
        answer = self._http.post(f"/api/{kind}", json={"path": f"bank:{name}", "args": args, "format": "json"})
        answer.raise_for_status()
        told = answer.json()
        if told["status"] != "success":
            raise Refused(told.get("errorData") or told["errorMessage"])
        return told["value"]

    def audit(self) -> dict[str, object]:
        """What the bank says about itself; every number of one moment."""
        found = self.call("query", "audit")
        assert isinstance(found, dict)
        return found


def open_accounts(bank: Bank) -> list[str]:
    """Open the accounts that are missing; their ids."""
    for owner in PEOPLE:
        try:
            bank.call("mutation", "open_account", owner=owner, cents=FIRST_DEPOSIT)
        except Refused as refused:
            if not isinstance(refused.data, dict) or refused.data.get("code") != "AccountExists":
                raise
    found = bank.call("query", "accounts")
    assert isinstance(found, list)
    return [each["id"] for each in found]


def transfer_at_random(bank: Bank, ids: list[str], count: int) -> int:
    """Make transfers between accounts drawn by chance; how many were refused for lack of money."""
    refused = 0
    for _ in range(count):
        source, target = random.sample(ids, 2)
        try:
            bank.call("mutation", "transfer", source=source, target=target, cents=random.randint(1, 60_00))
        except Refused:
            refused += 1
    return refused


def audit_until(bank: Bank, done: threading.Event) -> list[dict[str, object]]:
    """Audit the bank over and over while money moves."""
    found = [bank.audit()]
    while not done.wait(0.05):
        found.append(bank.audit())
    return found


def main() -> int:
    """Run it and say what was seen; 1 when money was made or lost."""
    parser = argparse.ArgumentParser(description="Random concurrent transfers, audited meanwhile.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:3210")
    parser.add_argument("--host", help="the Host header, when the URL does not name the deployment")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--transfers", type=int, default=400)
    chosen = parser.parse_args()
    bank = Bank(chosen.url, {"host": chosen.host} if chosen.host else {})
    ids = open_accounts(bank)
    before, began, done = bank.audit(), time.perf_counter(), threading.Event()
    print(f"before: {before['total']} cents in {len(ids)} accounts, {before['transfers']} transfers")
    with ThreadPoolExecutor(chosen.clients + 1) as pool:
        auditor = pool.submit(audit_until, bank, done)
        each = max(1, chosen.transfers // chosen.clients)
        people = [pool.submit(transfer_at_random, bank, ids, each) for _ in range(chosen.clients)]
        try:
            refused = sum(person.result() for person in people)
        finally:
            done.set()
        audits = [*auditor.result(), bank.audit()]
    after, seconds = audits[-1], time.perf_counter() - began
    bad = [audit for audit in audits if not audit["holds"] or audit["total"] != before["total"]]
    print(f"after:  {after['total']} cents, {after['transfers']} transfers; {refused} refused for lack of money")
    print(f"{each * chosen.clients} attempts by {chosen.clients} clients in {seconds:.1f} s")
    print(f"{len(audits)} audits, {len(bad)} of them wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
