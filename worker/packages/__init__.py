"""What do Node-style modules import beside their bundle, and where does it lie?

A bundle asks for packages (`requirements`, `manifest`); what it asks for is resolved once, to a lock that is kept with
the version (`resolving`); a lock is installed once on every worker's machine, into a folder named by its hash
(`installing`, `settling`, `shelf`). Nothing of a package is run here: wheels are unpacked, npm's scripts are off.
"""
