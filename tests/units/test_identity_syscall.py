"""How does a function learn who called it, and nothing else?"""

from typing import Any

import pytest
from msgspec import Raw

from runtime.adapters.memory_documents import MemoryDocuments
from runtime.errors import SyscallRefused
from runtime.identity import NOBODY, BadToken, Claimed, Identity, KnownUser, Settled, sharing_key
from runtime.invocation import Deployment, Invocation, Outcome, Succeeded, Version
from runtime.names import DeploymentName, RequestId, VersionNumber
from runtime.protocol import values
from runtime.protocol.declaration import Declaration, FunctionDeclaration, Kind, Visibility
from runtime.syscalls.functions import Functions
from runtime.syscalls.identity import ENTRIES
from runtime.syscalls.table import Caller, Table
from runtime.syscalls.transaction import Transaction, Transactions

NAME = DeploymentName("happy-otter-1")
ZED = KnownUser(values.encode({"subject": "zed"}), "i|zed", 1.0)
BAD = BadToken("Unauthenticated", "the token expired 10 s ago")


class StoppedClock:
    def now(self) -> float:
        return 1_700_000_000_000.0

    def monotonic(self) -> float:
        return 0.0


def caller(kind: Kind, identity: Identity, transaction: Transaction | None = None) -> Caller:
    declared = FunctionDeclaration("m:inner", Kind.QUERY, Visibility.PUBLIC, "m.py", 1)
    version = Version(VersionNumber(1), "", {}, Declaration((declared,)))
    return Caller(Deployment(NAME, version, {}), version, kind, RequestId("0" * 16), 0, transaction, identity)


async def ask(who: Caller, *args: Any) -> Any:
    return values.decode(await Table(ENTRIES).serve(who, "auth.identity", Raw(values.encode(list(args)))))


@pytest.mark.parametrize("kind", list(Kind))
async def test_every_kind_of_function_may_ask(kind: Kind) -> None:
    assert await ask(caller(kind, NOBODY)) is None
    assert await ask(caller(kind, ZED)) == {"subject": "zed"}
    with pytest.raises(SyscallRefused, match="Unauthenticated: the token expired") as refused:
        await ask(caller(kind, BAD))
    assert refused.value.exception == "InvalidToken"


@pytest.mark.parametrize("argument", ["i|somebody", None, {"subject": "ann"}, 5])
async def test_a_guest_cannot_ask_about_anybody_else(argument: Any) -> None:
    who = caller(Kind.ACTION, ZED)
    with pytest.raises(SyscallRefused):
        await ask(who, argument)


async def test_a_claim_is_looked_at_once_and_only_when_somebody_asks() -> None:
    looked: list[int] = []

    async def look() -> Settled:
        looked.append(1)
        return ZED

    who = caller(Kind.HTTP_ACTION, Claimed(look))
    assert looked == []
    assert [await ask(who), await ask(who)] == [{"subject": "zed"}] * 2
    assert looked == [1]


async def test_a_transaction_notes_that_somebody_asked() -> None:
    transactions = Transactions(MemoryDocuments(), StoppedClock())
    transaction = await transactions.begin(NAME)
    assert not transaction.looked_at_identity
    await ask(caller(Kind.QUERY, NOBODY, transaction))
    assert transaction.looked_at_identity
    transaction.abandon()


async def test_who_calls_travels_to_what_is_called() -> None:
    ran: list[Invocation] = []

    class Runner:
        async def run(self, invocation: Invocation) -> Outcome:
            ran.append(invocation)
            return Succeeded(values.encode(None))

        async def run_within(self, invocation: Invocation, transaction: Transaction) -> Outcome:
            return await self.run(invocation)

    table = Table(Functions(Runner).entries())
    arguments = Raw(values.encode(["m:inner", {}]))
    await table.serve(caller(Kind.ACTION, ZED), "run.query", arguments)
    transaction = await Transactions(MemoryDocuments(), StoppedClock()).begin(NAME)
    await table.serve(caller(Kind.MUTATION, BAD, transaction), "run.query", arguments)
    transaction.abandon()
    assert [each.identity for each in ran] == [ZED, BAD]


def test_results_are_shared_among_callers_who_are_the_same() -> None:
    renewed = KnownUser(ZED.claims, ZED.token_identifier, 2.0)
    ann = KnownUser(values.encode({"subject": "ann"}), "i|ann", 1.0)
    assert sharing_key(ZED) == sharing_key(renewed) != sharing_key(ann)
    assert len({sharing_key(each) for each in (NOBODY, ZED, ann, BAD)}) == 4
