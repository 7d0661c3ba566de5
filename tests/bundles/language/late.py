"""What the standard library imports or opens only when it is used."""

import json, re, string, zoneinfo, decimal, statistics, pprint, calendar, hashlib, uuid, logging, difflib, random, secrets, typing
from datetime import datetime

for key in zoneinfo.available_timezones():
    datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo(key)).utcoffset()
try:
    zoneinfo.ZoneInfo("../../etc/passwd")
except (ValueError, KeyError):
    pass
try:
    zoneinfo.ZoneInfo("No/Where")
except zoneinfo.ZoneInfoNotFoundError:
    pass
for codec in "utf-16 shift_jis big5 cp1252 idna punycode koi8_r utf-7 rot13 unicode_escape euc_kr gb18030".split():
    try:
        "abc".encode(codec)
    except LookupError as e:
        if codec != "rot13":
            raise
try:
    "abc".encode("no-such-codec")
except LookupError:
    pass
logging.getLogger("x").error("boom", exc_info=ValueError("x"))
try:
    raise ExceptionGroup("g", [ValueError("x")])
except ExceptionGroup as e:
    logging.exception("group")
hashlib.scrypt(b"x", salt=b"y", n=2, r=1, p=1)
hashlib.pbkdf2_hmac("sha256", b"x", b"y", 1)
uuid.uuid4()
secrets.token_hex()
statistics.quantiles([1, 2, 3])
calendar.month(2024, 1)
difflib.HtmlDiff().make_table(["a"], ["b"])
"{:%d %B}".format(datetime(2024, 1, 2))
"café".encode("ascii", "xmlcharrefreplace")
decimal.Decimal("1e5").sqrt()
