"""Which deployments are there, and how are they made, changed and removed?

Rules
1. Making, listing and changing (pause, concurrency, domains, egress) are the operator's; deploy keys read and delete
   their own.
2. Deleting pauses first, then removes documents, files and log, then the registry's entry: after an accident in
   between, the deployment is still there, paused, and can be deleted again. Nothing of it is left for a later one of
   the same name.
3. A custom domain is a host name of at least two labels, not under a domain that this server answers for itself.
"""

import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from control_plane.auth import AdminOnly, OwnDeployment, TheChanges, TheOffice, issue_key
from control_plane.bodies import JsonRoute
from control_plane.office import Office
from control_plane.problems import documented
from control_plane.refusals import InvalidField, invalid_name
from runtime import limits
from runtime.egress.policy import EgressPolicy, parse_policy
from runtime.errors import Conflict, NotFound
from runtime.names import DeploymentName, InvalidName, parse_deployment_name, random_deployment_name
from runtime.ports import DeploymentSummary

router = APIRouter(prefix="/v1/deployments", tags=["deployments"], route_class=JsonRoute)

_ATTEMPTS = 20  # to find a free random name among 360,000
_HOST_NAME = re.compile(r"(?=.{4,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+(?!\d+\Z)[a-z0-9-]{2,63}\Z")

DomainText = Annotated[str, StringConstraints(max_length=255)]
# A host of the longest kind, what makes it a domain, and a port.
EntryText = Annotated[str, StringConstraints(max_length=300)]


class NewDeployment(BaseModel):
    """What a new deployment is called; a name is made up where none is given."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = None


class CreatedDeployment(BaseModel):
    """A new deployment. ``deploy_key`` is shown this once."""

    name: str
    site_url: str
    cloud_url: str
    deploy_key: str


class EgressModel(BaseModel):
    """Where a deployment's functions may connect to: these hosts and no others; nowhere with an empty list.

    An entry is ``api.example.com``, ``*.example.com`` or an address, each with ``:port`` if it is only one.
    """

    model_config = ConfigDict(extra="forbid")
    allow: Annotated[list[EntryText], Field(max_length=int(limits.EGRESS_ENTRIES))]


class DeploymentModel(BaseModel):
    """A deployment as it is now; ``created_at`` in milliseconds since 1970, ``version`` the active one."""

    name: str
    site_url: str
    cloud_url: str
    created_at: float
    paused: bool
    concurrency: int | None = Field(description="Calls at once; null is the limit that everybody has.")
    domains: list[str]
    version: int | None
    egress: EgressModel | None = Field(description="Null is open: everywhere that the server itself may connect.")


class DeploymentList(BaseModel):
    """Every deployment, by name."""

    deployments: list[DeploymentModel]


class DeploymentChanges(BaseModel):
    """What to change; a field that is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")
    paused: bool = False
    concurrency: Annotated[int, Field(ge=1, le=100_000)] | None = None
    domains: Annotated[list[DomainText], Field(max_length=int(limits.DOMAINS))] = []
    egress: EgressModel | None = None


@router.post("", status_code=201, dependencies=[AdminOnly], responses=documented(400, 401, 403, 409, 413))
async def create_deployment(
    office: TheOffice, body: Annotated[NewDeployment | None, Body()] = None
) -> CreatedDeployment:
    """Make an empty deployment with its first deploy key."""
    name = await _take_name(office, body.name if body else None)
    _, deploy_key = await issue_key(office.keys, name, "first", office.clock.now())
    office.changed(name)  # the directory may remember that nobody had this name
    return CreatedDeployment(
        name=name, site_url=office.site_url(name), cloud_url=office.cloud_url(name), deploy_key=deploy_key
    )


@router.get("", dependencies=[AdminOnly], responses=documented(401, 403))
async def list_deployments(office: TheOffice) -> DeploymentList:
    """Every deployment."""
    return DeploymentList(deployments=[_model(office, each) for each in await office.deployments.summaries()])


@router.get("/{name}", responses=documented(401, 403, 404))
async def get_deployment(office: TheOffice, deployment: OwnDeployment) -> DeploymentModel:
    """One deployment."""
    return _model(office, deployment)


@router.patch("/{name}", dependencies=[AdminOnly], responses=documented(400, 401, 403, 404, 409, 413))
async def update_deployment(
    office: TheOffice, changes: TheChanges, deployment: OwnDeployment, body: DeploymentChanges
) -> DeploymentModel:
    """Pause it or let it run, choose how many calls at once, its own domains, and where it may connect to."""
    chosen = body.model_fields_set
    domains = [_domain(office, text) for text in body.domains]
    egress = _policy(body.egress)

    async def change() -> DeploymentSummary:
        now = await office.deployments.summary(deployment.name)
        if now is None:
            raise NotFound(f"there is no deployment {deployment.name!r}")
        if now.paused and "paused" in chosen and not body.paused:
            await office.crons.skip(now.name)
        await office.deployments.update(
            now.name,
            paused=body.paused if "paused" in chosen else now.paused,
            concurrency=body.concurrency if "concurrency" in chosen else now.concurrency,
            domains=list(dict.fromkeys(domains)) if "domains" in chosen else now.domains,
            egress=egress if "egress" in chosen else now.egress,
        )
        return await office.deployments.summary(now.name) or now

    return _model(office, await changes.make(deployment.name, change))


@router.delete("/{name}", status_code=204, responses=documented(401, 403, 404))
async def delete_deployment(office: TheOffice, changes: TheChanges, deployment: OwnDeployment) -> None:
    """Remove it with its code, environment, keys, documents, files and log. The name is free afterwards."""
    name = deployment.name

    async def pause() -> None:
        await office.deployments.update(
            name,
            paused=True,
            concurrency=deployment.concurrency,
            domains=deployment.domains,
            egress=deployment.egress,
        )

    async def remove() -> None:
        await office.removed(name)
        await office.logs.forget(name)
        await office.deployments.delete(name)

    await changes.make(name, pause)
    await changes.make(name, remove)


async def _empty(office: Office, name: DeploymentName) -> DeploymentName:
    """Begin with nothing: what still ran of a deleted deployment elsewhere may have written under this name."""
    await office.removed(name)
    await office.logs.forget(name)
    return name


async def _take_name(office: Office, wanted: str | None) -> DeploymentName:
    if wanted is not None:
        try:
            name = parse_deployment_name(wanted)
        except InvalidName as error:
            raise invalid_name("name", error) from None
        await office.deployments.create(name, office.clock.now())
        return await _empty(office, name)
    for _ in range(_ATTEMPTS):
        name = random_deployment_name()
        try:
            await office.deployments.create(name, office.clock.now())
        except Conflict:
            continue
        return await _empty(office, name)
    raise Conflict("every name that was made up is taken: send one of your own as 'name'")


def _model(office: Office, summary: DeploymentSummary) -> DeploymentModel:
    return DeploymentModel(
        name=summary.name,
        site_url=office.site_url(summary.name),
        cloud_url=office.cloud_url(summary.name),
        created_at=summary.created_at,
        paused=summary.paused,
        concurrency=summary.concurrency,
        domains=list(summary.domains),
        version=summary.active,
        egress=None if (allow := summary.egress.texts()) is None else EgressModel(allow=allow),
    )


def _policy(egress: EgressModel | None) -> EgressPolicy:
    try:
        return parse_policy(None if egress is None else egress.allow)
    except ValueError as error:
        raise InvalidField("egress.allow", str(error)) from None


def _domain(office: Office, text: str) -> str:
    domain = text.lower().removesuffix(".")
    if not _HOST_NAME.match(domain):
        message = f"{text[:80]!r} is not a host name: write it like 'www.example.com', without port or other scripts"
        raise InvalidField("domains", message, value=text[:80])
    for own in _own_domains(office):
        if domain == own or domain.endswith(f".{own}"):
            raise InvalidField("domains", f"{domain!r} is under {own!r}, which this server answers for itself")
    return domain


def _own_domains(office: Office) -> set[str]:
    """The domains under which deployments have their hosts, as their addresses show them."""
    sample = DeploymentName("sample")
    hosts = (urlsplit(url(sample)).hostname or "" for url in (office.site_url, office.cloud_url))
    return {host.removeprefix("sample.") for host in hosts} - {""}
