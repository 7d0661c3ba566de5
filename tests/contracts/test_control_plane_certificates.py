"""For which names does the edge get a certificate?"""

from collections.abc import AsyncIterator

import pytest

from runtime import limits
from tests.contracts.office_at_work import AtWork, office_at_work


@pytest.fixture
async def office() -> AsyncIterator[AtWork]:
    async with office_at_work() as work:
        await work.create("mine")
        await work.create("yours")
        yield work


async def ask(office: AtWork, domain: str) -> int:
    """What is answered for this name, without a key."""
    return (
        await office.http.get("/internal/certificate", params={"domain": domain}, headers={"authorization": ""})
    ).status_code


async def test_a_name_that_a_deployment_answers_is_worth_one_and_no_other(office: AtWork) -> None:
    assert await ask(office, "mine.site.localhost") == 200
    assert await ask(office, "nobodys.site.localhost") == 404
    for domain in ("", "a" * 254):
        assert await ask(office, domain) == 422


async def test_whoever_tries_names_makes_nobody_look_and_keeps_nobody_from_renewing(office: AtWork) -> None:
    assert await ask(office, "mine.site.localhost") == 200
    for number in range(int(limits.UNKNOWN_NAMES)):
        assert await ask(office, f"tried-{number}.site.localhost") == 404
    assert await ask(office, "one-more.site.localhost") == 429
    assert await ask(office, "mine.site.localhost") == 200
    await office.http.delete("/v1/deployments/mine")
    assert await ask(office, "mine.site.localhost") == 404
    assert await ask(office, "mine.site.localhost") == 429
