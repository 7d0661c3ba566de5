"""What runs again and again.

`calendars`   when does a cron run next?
`claims`      are these crons that could have been meant?
`settling`    are the records those of the active version?
`crons`       what happens when one is due, and what operators see and do
"""
