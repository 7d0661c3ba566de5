"""The counter: what a guest may ask for, and how it is served.

`table`        the list: name, arguments, which kinds of function may ask
`transaction`  one transaction: snapshot, buffered writes, read set, savepoints
`convoys/`     what those see who share a commit, and who waits for whom
`pending`      what it has read and written so far
`documents`    ``db.*``
`document_rules`  what may be stored
`schemas`      what documents must look like, and where they stand in which index
`reading`      which part of an index is meant, and where somebody goes on
`functions`    ``run.*``
`identity`     ``auth.*``
`settling`     what becomes durable together with a mutation: sync clients' tickets, scheduled functions
`scheduling`   ``scheduler.*``, and what is due
`storage`      ``storage.*``, and files
`outbound`     ``fetch.*``
"""
