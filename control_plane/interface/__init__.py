"""What can be called in a deployment, written down for programs.

`schemas`   a validator as JSON Schema
`openapi`   public functions and routes as an OpenAPI document
`naming`    names that Python accepts, for names that a bundle chose
`types`     JSON Schema as Python's annotations
`python`    an OpenAPI document of ours as a typed Python client
`preamble`  what every such client begins with
"""
