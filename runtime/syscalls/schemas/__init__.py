"""What must documents look like, where do they stand in which index, and how does that change?

`document_types`  does this value fit this validator?
`catalog`         what is true of one table now: its schema and its indexes
`keeper`          how a push changes that: indexes built, documents looked at, one switch
`filling`         the documents of a table, one by one, under way while they are written
"""
