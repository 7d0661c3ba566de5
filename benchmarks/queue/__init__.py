"""The figures of the queue, beside RQ.

`figures`            drained, punctual, beside a busy tenant
`scheduled_figures`  a million scheduled; `due` is the process that looks for what is due among them
`node_figures`       Node-style actions
`rq_peer`            RQ as its documentation starts it
"""
