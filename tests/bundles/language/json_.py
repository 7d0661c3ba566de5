"""Json: every assertion holds."""

import json
from datetime import datetime, date


class Encoder(json.JSONEncoder):
    def default(self, o):
        return o.isoformat() if isinstance(o, date) else super().default(o)


try:
    json.loads("{")
except json.JSONDecodeError as e:
    where = e.pos

assert (
    json.dumps({"d": date(2024, 1, 2), "t": datetime(2024, 1, 2)}, cls=Encoder)
) == '{"d": "2024-01-02", "t": "2024-01-02T00:00:00"}'
assert (json.loads('{"a": [1, 2.5, null]}')) == {"a": [1, 2.5, None]}
assert where == 1
