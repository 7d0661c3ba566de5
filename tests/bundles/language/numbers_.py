"""Numbers: every assertion holds."""

import bisect, cmath, fractions, heapq, ipaddress, math, statistics
from decimal import ROUND_HALF_UP, Decimal, localcontext

with localcontext() as ctx:
    ctx.prec = 5
    third = str(Decimal(1) / 3)
heap = [3, 1, 2]
heapq.heapify(heap)

assert third == "0.33333"
assert (str(Decimal("2.675").quantize(Decimal("0.01"), ROUND_HALF_UP))) == "2.68"
assert (fractions.Fraction(1, 3) + 1 == fractions.Fraction(4, 3)) == True
assert (math.isclose(math.sqrt(2) ** 2, 2)) == True
assert (statistics.mean([1, 2, 3])) == 2
assert (heapq.heappop(heap)) == 1
assert (bisect.bisect([1, 3], 2)) == 1
assert (cmath.sqrt(-1)) == 1j
assert (ipaddress.ip_address("10.0.0.1").is_private) == True
assert (divmod(7, 2)) == (3, 1)
assert (round(2.5)) == 2
assert (int("ff", 16)) == 255
assert (float("1e3")) == 1000.0
assert (math.inf > 1) == True
