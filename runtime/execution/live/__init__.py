"""Queries whose results are kept up to date.

`interests`   which ranges of keys does somebody depend on, and whom does a written key touch?
`pulse`       what has been committed in a deployment, as this process was told
`shared`      one query, run once for everybody who asks the same
`moments`     moments that were given out, to be read at again
`live`        the deployments that anybody watches, and a watcher's place in one
"""
