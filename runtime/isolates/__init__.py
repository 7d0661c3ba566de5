"""Our side of the wall: processes and pipes.

`zygote`         where isolates come from
`process`        what the host holds of one: channel, standard error, pidfd
`isolate`        one process: its channel, its conversations, its end
`hearing`        how much of what it says is heard at once
`conversations`  one invocation inside an isolate, as the host sees it
`crew`           the isolates of one version, and how they have behaved
`pool`           which isolate serves which deployment, and for how long
`traffic`        how busy all of them are together
`watchdog`       who burns too much, and what is done about it
"""
