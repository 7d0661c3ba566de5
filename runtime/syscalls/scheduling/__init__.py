"""What runs later, as it is written down.

`duties`       when has somebody to look at what? The index ``due``.
`records`      the documents of ``_scheduled_functions``, and the runs of crons, which look the same
`writing`      how a record begins, waits and ends: each change with its duty
`outstanding`  how many wait?
`entries`      ``scheduler.*``
`cron_records` what is known of a cron, and of its last runs
`overseeing`   what operators see and do
"""
