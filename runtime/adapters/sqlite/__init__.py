"""One deployment's documents in one SQLite file.

`file`       opens and migrates it
`readers`    snapshots: connections that hold a read transaction
`writer`     puts a batch of transactions into the file, and knows what other processes have written
`commits`    the queue in front of the writer: who loses, who waits, one fsync for all
`database`   the four of them, opened and closed together
"""
