"""The counter: what a guest may ask for, and how it is served.

`table`        the list: name, arguments, which kinds of function may ask
`transaction`  one transaction: snapshot, buffered writes, read set, savepoints
`pending`      what it has read and written so far
`documents`    ``db.*``
`document_rules`  what may be stored
`functions`    ``run.*``
"""
