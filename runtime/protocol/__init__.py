"""The hatch in the wall: what can be said through it, by whom, and when. No I/O. Both sides import it.

`declaration`   what a bundle says it contains
`values`        the tenant's value model, and its bytes
`weighing`      how much is in some bytes, before they are decoded
`messages`      every message there is
`framing`       bytes ↔ messages
`conversation`  who may say what, and when
`forking`       what host and zygote say to each other; no part of the wall
"""
