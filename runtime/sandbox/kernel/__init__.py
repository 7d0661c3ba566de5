"""The kernel's layer of the wall: what a process may still do once it is locked down.

`rules`        THE RULES: which kernel calls, with which arguments
`numbers`      the calls' numbers, on each processor
`seccomp`      the rules as a filter
`landlock`     the second lock: files, ports, signals
`namespaces`   what a zygote can have to itself
`lockdown`     the order in which everything is given up, and the proof
`report`       what holds on this machine, tried
`libc`         calls that Python has no function for
"""
