"""What do mutations see that share one commit, and who waits for whom?

`versions`   what members of a convoy have written, and what of it is true
`spots`      the spans that everybody wants, and whose turn it is there
`convoy`     a convoy, and what one of its members sees
"""
