"""What of the machine is this process's own?

`processors`   on which ones does it run, and what it starts?
"""
