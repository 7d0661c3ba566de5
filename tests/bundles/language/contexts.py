"""Generators and context managers: every assertion holds."""

from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress

log = []


@contextmanager
def step(name):
    log.append("in " + name)
    try:
        yield name
    except ValueError as e:
        log.append(str(e))
    finally:
        log.append("out " + name)


class Plain:
    def __enter__(self):
        return self

    def __exit__(self, kind, error, tb):
        log.append(kind.__name__)
        return True


with step("a") as a, nullcontext(2) as two:
    raise ValueError("caught")
with Plain():
    1 / 0
with ExitStack() as stack:
    stack.enter_context(step("b"))
with suppress(KeyError):
    {}["x"]


def echo():
    got = yield 1
    yield from (got, got)
    return 9


g = echo()
next(g)
sent = g.send(5)
try:
    raise RuntimeError("outer") from KeyError("inner")
except RuntimeError as e:
    cause = type(e.__cause__).__name__
else:
    pass

assert log == ["in a", "caught", "out a", "ZeroDivisionError", "in b", "out b"]
assert sent == 5
assert (list(g)) == [5]
assert cause == "KeyError"
