"""One client's connection, under any ASGI application.

`connection`   how much patience has the server with it?
`cycle`        one request on it, and who answers
`cork`         when does leave what was written?
"""
