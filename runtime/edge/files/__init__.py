"""Stored files, as clients send and get them.

`door`      ``/api/storage/upload`` and ``/api/storage/<number>``
`ranges`    which part of a file is wanted, if any?
"""
