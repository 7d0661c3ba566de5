"""THE OFFICE. Who may change what is deployed here, and how is it done?

`app`       puts the HTTP application together
`office`    what the routes need from the house, and one change at a time
`auth`      who is calling, and may they?
`archives`  an uploaded archive becomes a bundle, in memory
`push`      a bundle becomes the active version
`refusals`  what only this part of the house refuses
`problems`  errors as RFC 9457 documents
`routes`    one module per resource
`cli`       the command line
"""
