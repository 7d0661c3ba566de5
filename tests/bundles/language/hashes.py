"""Hashes: every assertion holds."""

import hashlib, hmac, uuid, zlib

assert (hashlib.sha256(b"x").hexdigest()[:8]) == "2d711642"
assert (hmac.new(b"k", b"m", "sha256").hexdigest()[:8]) == "b60090e3"
assert (hmac.compare_digest("a", "a")) == True
assert (hashlib.new("md5", b"").hexdigest()[:4]) == "d41d"
assert (hmac.digest(b"k", b"m", hashlib.sha1).hex()[:8]) == "772b71c8"
assert (uuid.uuid5(uuid.NAMESPACE_DNS, "a.b").version) == 5
assert (str(uuid.UUID(int=1))) == "00000000-0000-0000-0000-000000000001"
assert (zlib.crc32(b"x")) == 2363233923
