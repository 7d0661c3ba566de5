"""Node-style actions: processes with all of Python, or Node.js, and who runs in them.

`programs`    what a process is started with
`confined`    how it is started behind its wall
`scratch`     where it may write
`crews`       which process serves which deployment, and for how long
`egress`      where its actions may connect to
`keeping`     who is told to stop, and which process is not worth keeping
`opening`     what all of it needs
`node_style`  an invocation in, an outcome out
"""
