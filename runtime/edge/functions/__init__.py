"""How do arguments and results of functions travel in JSON, and what else does a deployment's cloud host answer?

`arguments`   from JSON to an encoded value, and to its one spelling
`results`     from an outcome to JSON, in both formats
`calls`       from a request to a call
`moments`     moments that were given out to be read at again
`tools`       what Convex's command line asks for
`streaming`   the log, entry by entry, as Convex's command line reads it
"""
