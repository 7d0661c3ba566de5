"""How does an errand reach a worker through Redis, and its answer whoever waits?

An errand lies under a key of its own until one worker takes it; from then on it is a lease in its deployment's set of
errands under way. The answer goes to the list of the process that waits. ``calling.py`` is the side that waits,
``taking.py`` the side that works, ``wire.py`` what they write.
"""
