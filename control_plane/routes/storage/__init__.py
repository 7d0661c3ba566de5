"""Stored files: `files`."""
