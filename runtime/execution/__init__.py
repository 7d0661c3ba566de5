"""The hall: every door leads here.

`conductor`   permit, isolate, conversation, outcome: the order, and nothing else
`admission`   how many at once, for one deployment
`directory`   name to deployment and active version, remembered until it changes
`turns`       who goes next when mutations get in each other's way
`window`      one invocation at the counter: its syscalls and its log lines
`analysis`    what a bundle declares, learnt behind the wall
`jobs`        what is due is done here
"""
