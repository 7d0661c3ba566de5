"""What the documents of a deployment look like, and how they are read and written: page by page, too."""
