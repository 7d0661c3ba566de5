"""How does a tenant's code see its end user?

A dict with the names of the wire (``tokenIdentifier``, ``givenName``), whose content can also be read as attributes in
Python's spelling (``token_identifier``, ``given_name``). It stands in `protocol` because it is a value: it may be
stored and returned like the dict it is (`values.check`).
"""

from typing import Any


class UserIdentity(dict[str, Any]):
    """A verified end user; ``tokenIdentifier``, ``subject`` and ``issuer`` are always there."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            head, *rest = name.split("_")
            for key in (name, head + "".join(word[:1].upper() + word[1:] for word in rest)):
                if key in self:
                    return self[key]
            if name in _KNOWN:
                return None
        raise AttributeError(f"this identity has no {name!r}: it has {', '.join(sorted(self))}")

    def __repr__(self) -> str:
        return f"UserIdentity({super().__repr__()})"


# What a provider may or may not say: reading it gives None where it does not.
_KNOWN = frozenset(
    (
        *("name", "given_name", "family_name", "nickname", "preferred_username", "profile_url", "picture_url"),
        *("website_url", "email", "email_verified", "gender", "birthday", "timezone", "language", "phone_number"),
        *("phone_number_verified", "address", "updated_at"),
    )
)
