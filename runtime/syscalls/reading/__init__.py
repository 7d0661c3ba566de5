"""Which part of an index does somebody want to read, and where do they go on?

`spans`    a query's steps, as a range of keys
`pages`    a page of keys, with what was written above it
`cursors`  positions that a client may hold
"""
