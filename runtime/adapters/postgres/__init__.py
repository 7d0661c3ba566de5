"""The registry and the documents in one PostgreSQL database, which several router processes may share.

`schema`       the tables, and how they came to be
`connections`  lends connections, and says what a lost one means
`snapshots`    how far a deployment has come, and what was visible then
`history`      what was committed lately, and who has heard of it
`writer`       puts a batch of transactions into the database
`commits`      the queue in front of the writer: who loses, who waits, one commit for all
`trimming`     removes what of the past nobody can read any more
`bell`         tells other processes that something has changed, and hears it from them
`documents`    the port `DocumentStore`
`registry`     the ports `Deployments`, `Versions`, `Variables` and `Keys`
"""
