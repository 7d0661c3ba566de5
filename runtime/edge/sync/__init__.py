"""The sync protocol of Convex's clients: subscriptions, mutations and actions over one WebSocket.

`messages`   what can be said, and how it is written
`wire`       one WebSocket: in which order things are sent, and when a client is gone
`socket`     the WebSocket itself, under ASGI
`session`    one client: what it may say when, its mutations and actions
`updates`    its queries, and the transitions that tell of them
`door`       from an upgrade request to a session
"""
