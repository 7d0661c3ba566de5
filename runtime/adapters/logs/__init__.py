"""Where are logs kept? In files, or in memory; and who reads what is being written."""
