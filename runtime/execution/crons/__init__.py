"""What runs again and again.

`calendars`   when does a cron run next?
`claims`      are these crons that could have been meant?
"""
