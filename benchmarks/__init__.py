"""How fast, how small, beside what others do, in one run on one machine.

``make bench`` runs every figure; ``make bench ARGS='hello cold'`` some; ``--small`` only tries whether they run.
Peers are installed by `peers_installed.py` into ``benchmarks/.peers``; one that cannot be had is reported as missing.
Ratios of medians are what counts: absolute figures belong to the machine of that hour.
"""
