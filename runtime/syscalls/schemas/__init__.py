"""What must documents look like, where do they stand in which index, and how does that change?

`document_types`  does this value fit this validator?
`arguments`       are the ids among these arguments ids of the right tables?
`catalog`         what is true of one table now: its schema and its indexes
`tables`          which tables there are, as one transaction sees them
`claims`          is this a schema that could have been meant?
`keeper`          how a push changes what is true: indexes built, documents compared, one switch
`filling`         something done to every document of a table while it is being used
"""
