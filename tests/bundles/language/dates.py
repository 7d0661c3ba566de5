"""Dates: every assertion holds."""

import calendar, time
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo
from email.utils import parsedate_to_datetime

d = datetime.strptime("2024-03-31 02:30", "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo("Europe/Lisbon"))
p = parsedate_to_datetime("Tue, 02 Jan 2024 03:04:05 GMT")

assert (d.utcoffset() == timedelta(hours=1)) == True
assert ((d + timedelta(days=1)).date() == date(2024, 4, 1)) == True
assert (d.isoformat()) == "2024-03-31T02:30:00+01:00"
assert (isinstance(d, datetime)) == True
assert (isinstance(d, date)) == True
assert (isinstance(d + timedelta(1), datetime)) == True
assert (isinstance(date(2024, 1, 1), datetime)) == False
assert (isinstance(p, datetime)) == True
assert (issubclass(datetime, date)) == True
assert (repr(datetime(2024, 1, 2))) == "datetime.datetime(2024, 1, 2, 0, 0)"
assert (repr(date(2024, 1, 2))) == "datetime.date(2024, 1, 2)"
assert (date.fromisoformat("2024-01-02") < date.max) == True
assert (datetime(2024, 1, 2, tzinfo=UTC).timestamp()) == 1704153600.0
assert (calendar.monthrange(2024, 2)) == (3, 29)
assert (time.strftime("%Y", time.gmtime(0))) == "1970"
assert (datetime.fromtimestamp(0, timezone.utc).year) == 1970
assert (d.date() == date(2024, 3, 31)) == True
assert (f"{d:%d/%m}") == "31/03"
assert (type(d) is datetime) == True
assert (datetime.combine(date(2024, 1, 1), datetime.min.time()).year) == 2024
assert ((datetime(2024, 1, 2) - datetime(2024, 1, 1)).days) == 1
assert (p.year) == 2024
