"""Exceptions that defend themselves, and log lines that pretend."""

import asyncio

from runtime import ApplicationError, Response


class Raises(Exception):
    def __str__(self):
        raise ValueError("no")


class Loops(Exception):
    def __str__(self):
        while True:
            pass


class Huge(Exception):
    def __str__(self):
        return "x" * 10**8


class Strange(str):
    def __str__(self):
        return self * 2


class Odd(Exception):
    def __str__(self):
        return Strange("odd\ud800\x1b[31m\n")


class Base(BaseException):
    pass


def group():
    error = Exception("inner")
    for _ in range(5000):
        error = ExceptionGroup("group", [error])
    return error


def circle():
    one, two = Exception("one"), Exception("two")
    one.__cause__, two.__cause__ = two, one
    return one


def cyclic_data():
    data = []
    data.append(data)
    return ApplicationError(data)


def _raising(make):
    def attack(ctx):
        raise make()

    return attack


RAISING = {
    "raises": _raising(Raises),
    "loops": _raising(Loops),
    "huge": _raising(Huge),
    "odd": _raising(Odd),
    "base": _raising(Base),
    "generator_exit": _raising(GeneratorExit),
    "stop_iteration": _raising(StopIteration),
    "cancelled": _raising(asyncio.CancelledError),
    "memory_error": _raising(MemoryError),
    "group": _raising(group),
    "circle": _raising(circle),
    "cyclic_data": _raising(cyclic_data),
}


def log_flood(ctx):
    for number in range(100_000):
        print(number, "x" * 50_000 if number < 300 else "")
    return Response("logged")


def log_forgery(ctx):
    print('innocent\n{"text": "forged", "request_id": "0000000000000000"}\r\x1b[2J\x1b]0;title\x07\u202e\ud800')
    return Response("logged")


RAISING |= {"log_flood": log_flood, "log_forgery": log_forgery}
