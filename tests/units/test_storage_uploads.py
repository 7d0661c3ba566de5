"""Permissions to upload: sealed, bound to a deployment, ending."""

import pytest

from runtime import limits
from runtime.names import DeploymentName
from runtime.syscalls.storage.uploads import ExpiredUploadToken, InvalidUploadToken, UploadTokens

NAME, OTHER = DeploymentName("happy-otter-123"), DeploymentName("brave-heron-456")
NOW = 1_700_000_000_000.25
TOKENS = UploadTokens(bytes(32))


def test_a_token_is_good_for_an_hour_and_no_longer() -> None:
    token = TOKENS.seal(NAME, NOW)
    TOKENS.check(NAME, token, NOW)
    TOKENS.check(NAME, token, NOW + limits.UPLOAD_URL_AGE - 1)
    with pytest.raises(ExpiredUploadToken, match="UPLOAD_URL_AGE"):
        TOKENS.check(NAME, token, NOW + limits.UPLOAD_URL_AGE + 1)


def test_a_token_opens_nothing_elsewhere() -> None:
    token = TOKENS.seal(NAME, NOW)
    with pytest.raises(InvalidUploadToken):
        TOKENS.check(OTHER, token, NOW)
    with pytest.raises(InvalidUploadToken):
        UploadTokens(bytes([1] * 32)).check(NAME, token, NOW)


def test_a_token_that_was_changed_anywhere_opens_nothing() -> None:
    token = TOKENS.seal(NAME, NOW)
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(InvalidUploadToken):
            TOKENS.check(NAME, changed, NOW)


@pytest.mark.parametrize("text", ["", "x", "A" * 32, "A" * 10_000, "ü" * 32, "!" * 32, "\x00" * 32, "=" * 32])
def test_what_is_no_token_opens_nothing(text: str) -> None:
    with pytest.raises(InvalidUploadToken):
        TOKENS.check(NAME, text, NOW)


def test_the_same_moment_gives_the_same_token() -> None:
    assert TOKENS.seal(NAME, NOW) == TOKENS.seal(NAME, NOW)
    assert TOKENS.seal(NAME, NOW) != TOKENS.seal(NAME, NOW + 1)
