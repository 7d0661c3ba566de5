"""The wall around a Node-style action: a whole CPython or Node.js, with threads, processes, files and a network.

`rules`       THE RULES: which kernel calls, with which arguments
`filter`      the rules as a filter
`confine`     the order in which a process gives up what it must not have, and becomes the tenant's program
`keeper`      who watches a lane, and sees to it that nothing of it is left
`launcher`    where lanes come from
`report`      what holds on this machine, tried
"""
