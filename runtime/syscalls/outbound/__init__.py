"""How does a function reach the web?

`entries`   ``fetch.*``: what a guest may say, and the numbers by which it names what it has begun
`exchange`  one fetch under way: what was sent, what has come, who waits
`chain`     its requests, one redirect after the other
"""
