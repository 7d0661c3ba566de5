"""What runs later, and again and again: `schedules`, `crons`."""
