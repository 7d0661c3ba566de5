"""A deployment's documents, from the command line."""
