"""OUR SIDE OF THE LANE. How are Node-style actions started, watched, and let into the network?

`launching`      opens lanes; a program of a tenant behind its wall, and what the host holds of it
`judging`        may it connect there?
`connecting`     hears of its connects, judges them, and makes them
`names`          answers its questions for addresses
`notifications`  the kernel's side of hearing of a connect
`trial`          which layers hold on this machine
"""
