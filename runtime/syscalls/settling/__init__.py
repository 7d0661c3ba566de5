"""What is settled in a mutation's own transaction.

`settlement`  the concept: something that is durable exactly when the mutation's writes are
`tickets`     was this mutation of a sync client run before?
"""
