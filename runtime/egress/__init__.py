"""The way out: where may this server connect to on a tenant's word, and how is what it sends and gets read? Pure.

`rules`     which addresses, hosts, ports and schemes
`policy`    which of them one deployment may use
`hops`      what is sent after a redirect, and which headers are the tenant's to choose
`decoding`  what a compressed answer holds
"""
