"""A deployment's site: HTTP requests that its own functions answer."""
