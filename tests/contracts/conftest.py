"""A deployment's documents, on every store that there is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.data_house import DataHouse
from tests.contracts.index_oracle import stores
from tests.contracts.jobs_house import JobsHouse, furnish
from tests.postgres_server import OwnDocuments, PostgresServer


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def house(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> AsyncIterator[DataHouse]:
    """One deployment on one store."""
    made = OwnDocuments(postgres.fresh()) if request.param == "postgres" else stores(lambda: tmp_path)[request.param]()
    yield DataHouse(made)
    await made.close()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def jobs_house(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer
) -> AsyncIterator[JobsHouse]:
    """One deployment on one store, with a worker that does what is due there."""
    made = OwnDocuments(postgres.fresh()) if request.param == "postgres" else stores(lambda: tmp_path)[request.param]()
    house = JobsHouse(made)
    furnish(house)
    yield house
    await house.jobs.stop()
    await made.close()
