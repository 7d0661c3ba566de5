"""Copies: every assertion holds."""

import copy
from datetime import datetime


class A:
    def __init__(self):
        self.items = [[1]]

    def __deepcopy__(self, memo):
        return "mine"


d = datetime(2024, 1, 2)
nested = {"a": [1, {"b": d}]}

assert (copy.deepcopy(nested) == nested) == True
assert (copy.deepcopy(nested) is nested) == False
assert (copy.deepcopy(A())) == "mine"
assert (copy.copy([1])) == [1]
assert (copy.deepcopy(d) == d) == True
