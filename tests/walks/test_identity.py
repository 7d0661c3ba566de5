"""Does an end user's token reach a function as a person, through a whole server and a real provider?"""

import asyncio
import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import LiveServer, Tenant
from tests.identity_provider import IdentityProvider
from tests.signers import Signer, by_hand, data_uri, key_set

SIGNER = Signer("ES256", "own")
OWN = "https://signer.example.org"

CONFIG = f"""
from runtime import AuthConfig, JwtProvider, OidcProvider, env
auth_config = AuthConfig(providers=[
    OidcProvider(domain=env["ISSUER"], application_id="shop"),
    JwtProvider(issuer="{OWN}", jwks="{data_uri(key_set(SIGNER.jwk()))}", algorithm="ES256"),
])
"""
FUNCTIONS = """
from runtime import InvalidToken, action, internal_query, mutation, query

@query
async def whoami(ctx):
    return await ctx.auth.get_user_identity()

@query
async def strict(ctx) -> dict[str, object] | None:
    return await ctx.auth.get_user_identity()

@query
async def names(ctx):
    user = await ctx.auth.get_user_identity()
    return [user.token_identifier, user.given_name, user.email_verified, user.family_name, user["subject"]]

@internal_query
async def inner(ctx):
    return (await ctx.auth.get_user_identity() or {}).get("subject")

@action
async def through(ctx):
    remembered = await ctx.run_mutation("people:remember")
    return [await ctx.run_query("people:inner"), remembered, await ctx.run_action("people:plain")]

@action
async def plain(ctx):
    return (await ctx.auth.get_user_identity() or {}).get("subject")

@mutation
async def remember(ctx):
    user = await ctx.auth.get_user_identity()
    id = await ctx.db.insert("people", {"user": user, "by": user.token_identifier})
    return (await ctx.db.get(id))["user"]["subject"]
"""
HTTP = """
from runtime import HttpRouter, InvalidToken, Response, http_action
http = HttpRouter()

@http.route(path="/me", method="GET")
@http_action
async def me(ctx, request):
    try:
        return Response.json(await ctx.auth.get_user_identity())
    except InvalidToken as error:
        return Response(str(error), status=418)

@http.route(path="/unguarded", method="GET")
@http_action
async def unguarded(ctx, request):
    return Response.json(await ctx.auth.get_user_identity())

@http.route(path="/inner", method="GET")
@http_action
async def inner(ctx, request):
    return Response.json(await ctx.run_query("people:inner"))

@http.route(path="/own", method="GET")
@http_action
async def own(ctx, request):
    return Response(request.headers.get("authorization"))
"""
BUNDLE = {"auth_config.py": CONFIG, "people.py": FUNCTIONS, "http.py": HTTP}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    live = LiveServer(tmp_path_factory.mktemp("data"), WARREN_EGRESS_ALLOW="127.0.0.1")
    yield live
    live.stop()


@pytest.fixture(scope="module")
def shop(server: LiveServer, provider: IdentityProvider) -> Tenant:
    tenant = server.tenant()
    assert tenant.control("PUT", "env/ISSUER", json={"value": provider.issuer}).status_code == 200
    pushed = tenant.push(BUNDLE)
    assert pushed.status_code == 201, pushed.text
    return tenant


def ask(tenant: Tenant, path: str, authorization: str | None) -> httpx.Response:
    headers = {"Host": tenant.cloud} | ({"Authorization": authorization} if authorization else {})
    kind = "mutation" if path.endswith("remember") else "action" if path.endswith(("through", "plain")) else "query"
    return tenant.server.http.post(f"/api/{kind}", json={"path": path, "args": {}, "format": "json"}, headers=headers)


def value(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success", answer.text
    return answer.json()["value"]


def test_who_logs_in_is_known_to_every_kind_of_function(shop: Tenant, provider: IdentityProvider) -> None:
    token = provider.log_in("zed", {"email": "zed@example.org", "name": "Zed", "role": "admin"})
    bearer = f"Bearer {token}"
    expected = {
        "tokenIdentifier": f"{provider.issuer}|zed",
        "issuer": provider.issuer,
        "subject": "zed",
        "email": "zed@example.org",
        "name": "Zed",
        "role": "admin",
    }
    assert value(ask(shop, "people:whoami", bearer)) == expected
    assert value(ask(shop, "people:strict", bearer)) == expected
    assert value(ask(shop, "people:remember", bearer)) == "zed"
    assert value(ask(shop, "people:through", bearer)) == ["zed"] * 3
    assert shop.get("/me", headers={"Authorization": bearer}).json() == expected
    assert shop.get("/inner", headers={"authorization": bearer.replace("Bearer", "bearer")}).json() == "zed"


def test_who_says_nothing_is_nobody(shop: Tenant) -> None:
    assert value(ask(shop, "people:whoami", None)) is None
    assert value(ask(shop, "people:plain", None)) is None
    assert shop.get("/me").json() is None


def test_a_signer_of_ones_own_is_known_and_its_claims_keep_their_names(shop: Tenant) -> None:
    token = SIGNER.token({"typ": "at+jwt"}, iss=OWN, given_name="Z", email_verified=True, org={"id": 5})
    seen = value(ask(shop, "people:whoami", f"Bearer {token}"))
    assert (seen["given_name"], seen["org.id"]) == ("Z", 5)
    assert value(ask(shop, "people:names", f"Bearer {token}")) == [f"{OWN}|zed", "Z", True, None, "zed"]


BAD: dict[str, Callable[[], str]] = {
    "expired": lambda: SIGNER.token(iss=OWN, exp=int(time.time()) - 60),
    "future": lambda: SIGNER.token(iss=OWN, nbf=int(time.time()) + 600),
    "unsigned": lambda: by_hand({"alg": "none"}, {"iss": OWN, "sub": "zed", "exp": 4_000_000_000}),
    "wrong audience": lambda: SIGNER.token(iss="http://127.0.0.1:1", aud="other"),
    "wrong algorithm": lambda: Signer("RS256", "own").token(iss=OWN),
    "unknown key": lambda: Signer("ES256", "other").token(iss=OWN),
    "oversized": lambda: SIGNER.token(iss=OWN, padding="x" * 20_000),
    "no token": lambda: "not-a-token",
}


@pytest.mark.parametrize("what", BAD)
def test_a_token_that_proves_nothing_never_fails_an_http_action_by_itself(shop: Tenant, what: str) -> None:
    bearer = f"Bearer {BAD[what]()}"
    refused = ask(shop, "people:whoami", bearer)
    assert refused.status_code == 401
    assert set(refused.json()) == {"code", "message"}
    assert shop.get("/own", headers={"Authorization": bearer}).text == bearer
    raised = shop.get("/me", headers={"Authorization": bearer})
    assert raised.status_code == 418
    assert raised.text == f"{refused.json()['code']}: {refused.json()['message']}"
    assert shop.get("/unguarded", headers={"Authorization": bearer}).status_code == 500
    assert "InvalidToken" in shop.log(level="error")


def test_the_header_may_be_the_tenants_own_business(shop: Tenant) -> None:
    for header in ("Basic dXNlcjpwYXNz", "ApiKey 123", "nonsense"):
        assert shop.get("/own", headers={"Authorization": header}).text == header
        assert shop.get("/me", headers={"Authorization": header}).status_code == 418
        assert ask(shop, "people:whoami", header).status_code == 401


def test_an_administrator_is_nobody_or_whom_they_act_as(shop: Tenant) -> None:
    acting = base64.b64encode(json.dumps({"issuer": "https://i", "subject": "ann", "email": "a@b"}).encode()).decode()
    assert value(ask(shop, "people:whoami", f"Convex {shop.key}")) is None
    seen = value(ask(shop, "people:whoami", f"Convex {shop.key}:{acting}"))
    assert seen == {"tokenIdentifier": "https://i|ann", "issuer": "https://i", "subject": "ann", "email": "a@b"}
    assert shop.get("/me", headers={"Authorization": f"Convex {shop.key}:{acting}"}).json() == seen
    assert shop.get("/me", headers={"Authorization": f"Convex {shop.name}|wrong:{acting}"}).status_code == 418
    assert ask(shop, "people:whoami", f"Convex {shop.name}|wrong:{acting}").status_code == 401


async def test_keys_rotate_under_load_and_no_good_token_is_refused(shop: Tenant, provider: IdentityProvider) -> None:
    latest = [provider.log_in("zed")]
    statuses: list[int] = []
    async with httpx.AsyncClient(base_url=shop.server.http.base_url, timeout=30, trust_env=False) as http:

        async def client() -> None:
            for _ in range(40):
                headers = {"Host": shop.cloud, "Authorization": f"Bearer {latest[-1]}"}
                answer = await http.post("/api/query", json={"path": "people:whoami", "args": {}}, headers=headers)
                statuses.append(answer.status_code)

        clients = [asyncio.create_task(client()) for _ in range(8)]
        for _ in range(4):
            await asyncio.to_thread(provider.rotate)
            token = await asyncio.to_thread(provider.log_in, "zed")
            # This provider publishes its newest key only: a token must be seen once before the next one comes.
            statuses.append((await asyncio.to_thread(ask, shop, "people:whoami", f"Bearer {token}")).status_code)
            latest.append(token)
        await asyncio.gather(*clients)
    assert value(ask(shop, "people:whoami", f"Bearer {latest[-1]}"))["subject"] == "zed"
    assert set(statuses) == {200}


def test_a_change_of_the_environment_is_a_change_of_providers(server: LiveServer, provider: IdentityProvider) -> None:
    tenant = server.tenant()
    unset = tenant.push(BUNDLE)
    assert unset.status_code == 422 and "ISSUER" in unset.text
    tenant.control("PUT", "env/ISSUER", json={"value": "http://127.0.0.1:9"})
    assert tenant.push(BUNDLE).status_code == 201
    bearer = f"Bearer {provider.log_in('zed')}"
    assert ask(tenant, "people:whoami", bearer).json()["code"] == "NoAuthProvider"
    assert tenant.control("PUT", "env/ISSUER", json={"value": provider.issuer}).status_code == 200
    assert value(ask(tenant, "people:whoami", bearer))["subject"] == "zed"
    refused = tenant.control("PUT", "env/ISSUER", json={"value": "http://10.0.0.1"})
    assert refused.status_code == 422 and "WARREN_EGRESS_ALLOW" in refused.text
    removed = tenant.control("DELETE", "env/ISSUER")
    assert removed.status_code == 422 and "ISSUER" in removed.text
    assert value(ask(tenant, "people:whoami", bearer))["subject"] == "zed"
    assert tenant.control("PUT", "env/OTHER", json={"value": "x"}).status_code == 200


@pytest.mark.parametrize(
    "config, word",
    [
        ("auth_config = 5", "AuthConfig"),
        ("x = 1", "AuthConfig"),
        ("auth_config = AuthConfig(providers=[OidcProvider(domain='ftp://a.example', application_id='a')])", "domain"),
        (
            "auth_config = AuthConfig(providers=[OidcProvider(domain='https://10.0.0.1', application_id='a')])",
            "private",
        ),
        ("auth_config = AuthConfig(providers=[JwtProvider(issuer='i', jwks='data:,x', algorithm='RS256')])", "key set"),
        ("auth_config = AuthConfig(providers=[JwtProvider(issuer='i', jwks='data:,x', algorithm='HS256')])", "RS256"),
        ("auth_config = AuthConfig(providers=[OidcProvider(domain='', application_id='a')])", "domain is empty"),
        ("auth_config = AuthConfig(providers=5)", "list"),
    ],
)
def test_a_configuration_that_cannot_be_meant_fails_the_push(server: LiveServer, config: str, word: str) -> None:
    imports = "from runtime import AuthConfig, JwtProvider, OidcProvider"
    answer = server.tenant().push({"auth_config.py": f"{imports}\n{config}\n"})
    assert answer.status_code == 422
    (found,) = answer.json()["diagnostics"]
    assert found["file"] == "auth_config.py" and word in found["message"]


def test_a_provider_that_is_down_slow_or_redirects_refuses_the_token_and_hangs_nobody(server: LiveServer) -> None:
    inside = threading.Event()

    def serve(listening: socket.socket, answer: bytes) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                if connection.recv(4096).startswith(b"GET /inside"):
                    inside.set()
                if answer:
                    connection.sendall(answer)
                else:
                    connection.recv(1)  # says nothing until the other side gives up

    def provide(answer: bytes) -> tuple[socket.socket, str]:
        listening = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=serve, args=(listening, answer), daemon=True).start()
        return listening, f"http://127.0.0.1:{listening.getsockname()[1]}"

    redirect = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:%d/inside\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as closed:
        down = f"http://127.0.0.1:{closed.getsockname()[1]}"
    slow_socket, slow = provide(b"")
    target_socket, _ = provide(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    redirecting_socket, redirecting = provide(redirect % target_socket.getsockname()[1])
    body = json.dumps({"issuer": "LIAR", "jwks_uri": "http://169.254.169.254/latest/meta-data"}).encode()
    liar_socket, liar = provide(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    try:
        for issuer, word in (
            (down, "cannot be read"),
            (slow, "did not answer"),
            (redirecting, "redirect"),
            (liar, "LIAR"),
        ):
            tenant = server.tenant()
            tenant.control("PUT", "env/ISSUER", json={"value": issuer})
            assert tenant.push(BUNDLE).status_code == 201
            token = f"Bearer {SIGNER.token(iss=issuer)}"
            refused = ask(tenant, "people:whoami", token)
            assert refused.status_code == 401 and word in refused.json()["message"]
            assert refused.json()["code"] == "AuthProviderDiscoveryFailed"
            assert word in tenant.get("/me", headers={"Authorization": token}).text
        assert not inside.is_set()
    finally:
        for listening in (slow_socket, target_socket, redirecting_socket, liar_socket):
            listening.close()
