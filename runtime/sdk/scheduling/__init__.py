"""What runs later: the scheduler of a context, and how often an action is tried."""
