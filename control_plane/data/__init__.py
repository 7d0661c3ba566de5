"""A deployment's documents, for its administrators.

`browsing`   one page of a table, one document written
`filters`    which documents of a page
`reading`    the documents of a file that was sent
`cells`      what a cell of a table of text means
`importing`  such a file, checked and written
`exporting`  everything, as one archive
"""
