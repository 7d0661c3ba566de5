"""Files of tenants, as they are written down and kept.

`records`   the documents of ``_storage``, and the hidden record beside each
`shelf`     a content and its metadata: how they come to be, are found, and go together
`uploads`   addresses at which a client may upload
`room`      how many files are open?
`handles`   one file that a function writes or reads, piece by piece
`entries`   ``storage.*``
"""
