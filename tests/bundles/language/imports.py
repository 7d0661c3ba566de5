"""Imports: every assertion holds."""

import collections.abc
import urllib.parse as up
import json as j, math
from collections.abc import Mapping
from json import dumps as d
import email.utils

assert (isinstance({}, collections.abc.Mapping)) == True
assert (up.quote(" ")) == "%20"
assert (j.loads("1")) == 1
assert (d(1)) == "1"
assert (isinstance({}, Mapping)) == True
assert (collections.Counter("a")["a"]) == 1
assert (email.utils.parseaddr("A <a@b>")[1]) == "a@b"
assert (hasattr(j, "loads")) == True
assert (hasattr(j, "codecs")) == False
