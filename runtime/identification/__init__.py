"""Who is calling? From the text of a header to a user whom somebody vouches for.

`credentials`  what an Authorization header claims; pure
`callers`      who that is: an end user, an administrator, nobody
`tokens`       is this token genuine, and for whom was it made?
`providers`    which provider has to vouch for it, and may this server ask them?
`published`    what providers publish: remembered, read again, asked for by one and not by all
`keys`         the bytes of a key set or discovery document, read; pure
`claims`       a token's claims as a function sees them; pure
"""
