"""Files in memory: every assertion holds."""

import csv, io, pprint

out = io.StringIO()
writer = csv.DictWriter(out, ["a", "b"], lineterminator="\n")
writer.writeheader()
writer.writerow({"a": 1, "b": "x,y"})
print("last", "line", sep="-", end=".", file=out)
rows = list(csv.DictReader(io.StringIO("a,b\n1,2\n")))

assert (out.getvalue()) == 'a,b\n1,"x,y"\nlast-line.'
assert rows == [{"a": "1", "b": "2"}]
assert (io.BytesIO(b"abc").read(2)) == b"ab"
assert (pprint.pformat({"a": 1})) == "{'a': 1}"
assert ([r for r in csv.reader(["a;b"], delimiter=";")]) == [["a", "b"]]
