"""The way out: where may this server connect to on a tenant's word?

`rules`  which addresses, hosts, ports and schemes; pure
"""
