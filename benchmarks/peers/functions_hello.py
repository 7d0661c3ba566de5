"""The peer: functions-framework, as its own command line serves it (gunicorn, threads)."""

import functions_framework


@functions_framework.http
def hello(request: object) -> tuple[str, int, dict[str, str]]:
    return "Hello, world!", 200, {"content-type": "text/plain;charset=UTF-8"}
