"""The way out: connections to where a tenant, or somebody a tenant named, says, under the rules of `egress`."""
