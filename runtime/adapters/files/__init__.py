"""Where the contents of stored files are kept."""
