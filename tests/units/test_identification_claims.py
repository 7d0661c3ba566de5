"""What does a function see of a token?"""

from typing import Any

import pytest

from runtime.identification.claims import jwt_identity, oidc_identity
from runtime.identification.credentials import AdminKey, Bearer, Foreign, read_acting_as, read_credentials
from runtime.protocol import values
from runtime.protocol.user_identity import UserIdentity

WHO = {"iss": "https://id.example.org/", "sub": "zed"}


def oidc(**claims: Any) -> dict[str, Any]:
    seen = values.decode(oidc_identity({**WHO, **claims}))
    assert isinstance(seen, dict)
    return seen


def own(**claims: Any) -> dict[str, Any]:
    seen = values.decode(jwt_identity({**WHO, **claims}))
    assert isinstance(seen, dict)
    return seen


def test_three_fields_are_always_there_and_the_issuer_is_as_it_was_written() -> None:
    expected = {"tokenIdentifier": "https://id.example.org/|zed", "issuer": "https://id.example.org/", "subject": "zed"}
    assert oidc() == own() == expected


def test_standard_claims_have_the_names_of_the_wire() -> None:
    claims = {
        **{"name": "Zed", "given_name": "Z", "family_name": "Ed", "nickname": "z", "preferred_username": "zed"},
        **{"profile": "p", "picture": "i", "website": "w", "email": "z@example.org", "email_verified": True},
        **{"gender": "x", "birthdate": "1990-01-01", "zoneinfo": "Europe/Lisbon", "locale": "pt", "phone_number": "1"},
        **{"phone_number_verified": False, "address": {"formatted": "Rua 1"}, "updated_at": 1_700_000_000},
    }
    seen = oidc(**claims)
    for field in ("tokenIdentifier", "issuer", "subject"):
        del seen[field]
    assert seen == {
        **{"name": "Zed", "givenName": "Z", "familyName": "Ed", "nickname": "z", "preferredUsername": "zed"},
        **{"profileUrl": "p", "pictureUrl": "i", "websiteUrl": "w", "email": "z@example.org", "emailVerified": True},
        **{"gender": "x", "birthday": "1990-01-01", "timezone": "Europe/Lisbon", "language": "pt", "phoneNumber": "1"},
        **{"phoneNumberVerified": False, "address": "Rua 1", "updatedAt": "2023-11-14T22:13:20+00:00"},
    }


def test_what_changes_when_a_token_is_renewed_is_left_out() -> None:
    renewed = {"exp": 2, "iat": 2, "nbf": 2, "jti": "b", "nonce": "b", "at_hash": "b", "auth_time": 2, "fva": [1, 2]}
    assert oidc_identity({**WHO, "role": "x", **renewed}) == oidc_identity({"role": "x", **WHO})
    assert jwt_identity({**WHO, "aud": "a", "exp": 1, "role": "x"}) == jwt_identity({"role": "x", **WHO})


def test_other_claims_keep_their_names() -> None:
    seen = oidc(**{"https://example.org/roles": ["a", "b"], "org": {"id": 5}, "admin": True})
    assert seen["https://example.org/roles"] == ["a", "b"]
    assert (seen["org"], seen["admin"]) == ({"id": 5}, True)


def test_a_custom_signers_claims_are_flattened_and_not_renamed() -> None:
    seen = own(given_name="Z", properties={"id": 5, "deep": {"er": ["x"]}}, nothing={})
    assert (seen["given_name"], seen["properties.id"], seen["properties.deep.er"]) == ("Z", 5, ["x"])
    assert "givenName" not in seen and seen["nothing"] == {}


def test_no_claim_can_stand_in_for_what_is_ours() -> None:
    for seen in (
        oidc(tokenIdentifier="evil", subject="evil", issuer="evil", emailVerified=True, email_verified=False),
    ):
        assert seen["tokenIdentifier"] == "https://id.example.org/|zed"
        assert (seen["subject"], seen["issuer"], seen["emailVerified"]) == ("zed", WHO["iss"], False)
    assert own(subject="evil", tokenIdentifier="evil")["subject"] == "zed"


def test_a_claim_that_is_no_value_is_left_out() -> None:
    seen = oidc(**{"$x": 1, "ключ": 1, "": 1, "half": "\ud800", "inner": {"$x": 1}, "none": None, "ok": 1})
    assert set(seen) == {"tokenIdentifier", "issuer", "subject", "ok"}
    assert oidc(big=2**60, huge=-(10**400), items=[2**53 + 2]) | {} == {
        **oidc(),
        **{"big": float(2**60), "huge": float("-inf"), "items": [float(2**53 + 2)]},
    }


def test_moments_that_are_none_are_left_out() -> None:
    moments: list[Any] = [True, [], 10**30, float("nan"), float("inf"), {}]
    for moment in moments:
        assert "updatedAt" not in oidc(updated_at=moment)
    assert oidc(updated_at="2024-05-01T00:00:00Z")["updatedAt"] == "2024-05-01T00:00:00Z"


def test_nesting_without_end_is_no_identity_problem() -> None:
    deep: Any = 1
    for _ in range(200):
        deep = {"a": deep}
    assert set(oidc(deep=deep, wide=1)) == {"tokenIdentifier", "issuer", "subject", "wide"}
    assert "wide" in own(deep=deep, wide=1)


@pytest.mark.parametrize("subject", ["a" * 1000, "with|bar", "ünïcode"])
def test_a_subject_is_any_text(subject: str) -> None:
    assert values.decode(oidc_identity({**WHO, "sub": subject}))["subject"] == subject


# --- the identity in a tenant's hands ---------------------------------------------------------------------------------


def test_an_identity_is_read_by_the_names_of_the_wire_and_by_pythons() -> None:
    user = UserIdentity({"tokenIdentifier": "i|s", "givenName": "Z", "email_verified": True, "properties.id": 5})
    assert (user["givenName"], user.given_name, user.token_identifier) == ("Z", "Z", "i|s")
    assert user.email_verified is True and user.family_name is None
    with pytest.raises(AttributeError, match="givenName"):
        _ = user.role


def test_an_identity_is_a_value_like_the_dict_it_is() -> None:
    user = UserIdentity({"subject": "s"})
    assert values.decode(values.encode({"by": user})) == {"by": {"subject": "s"}}
    with pytest.raises(values.InvalidValue):
        values.encode(UserIdentity({"$x": 1}))


# --- what a header claims ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header, expected",
    [
        (b"Bearer abc", Bearer("abc")),
        (b"bearer   abc ", Bearer("abc")),
        (b"Convex happy|secret", AdminKey("Convex happy|secret", None)),
        (b"convex prod:happy|secret:eyJ9", AdminKey("Convex happy|secret", "eyJ9")),
        (b"Convex the-operators-own-key", AdminKey("Convex the-operators-own-key", None)),
        (b"Basic eA==", Foreign("Basic")),
        (b"abc", Foreign("abc")),
        (b"\xff\xfe", Foreign("ÿþ")),
        (b"", Foreign("")),
    ],
)
def test_a_header_is_taken_apart(header: bytes, expected: object) -> None:
    assert read_credentials(header) == expected


def test_an_administrator_acts_as_somebody_with_a_name() -> None:
    user = read_acting_as("eyJ0b2tlbklkZW50aWZpZXIiOiAiaHR0cHM6Ly9pfHplZCIsICJlbWFpbCI6ICJ6QGUub3JnIn0=")
    assert user.token_identifier == "https://i|zed" and user.expires_at is None
    assert values.decode(user.claims)["email"] == "z@e.org"
    for encoded in ("!", "W10=", "e30=", "eyJpc3N1ZXIiOiAxfQ=="):
        with pytest.raises(ValueError):
            read_acting_as(encoded)
