"""What is due is done here: scheduled functions, and what crons have written down.

`jobs`       one shift: a bounded batch of what is due in one deployment
`mutations`  a scheduled mutation, settled in its own transaction
`actions`    scheduled actions: taken, run under a lease, settled
`ledger`     the transactions in between, in which no function runs
`waiting`    how long until the next time?
`calling`    one scheduled function, ready to be called
`forgetting` what ended long ago
"""
