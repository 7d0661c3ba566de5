"""Behind the other wall: all of Python, or Node.js, for modules that begin with "use node".

`start`         finds our code, and hands over
`python_guest`  who answers the host there, in Python
`python_calls`  one call of such an action
`bundle`        what is in the bundle, and does it import?
`console`       where a line goes that is written there
`javascript/`   the same, in JavaScript
"""
