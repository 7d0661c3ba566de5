"""OUR SIDE OF THE LANE. How are Node-style actions started, watched, and let into the network?

`launcher`       where lanes come from
`launching`      what is said of a program before it runs, and held of it while it does
`judging`        may it connect there?
`connecting`     hears of its connects, judges them, and makes them
`names`          answers its questions for addresses
`notifications`  the kernel's side of hearing of a connect
`trial`          can its network be judged on this machine?
`scratch`        how its folder is made, and got rid of
`doctor`         which layers hold on this machine
"""
