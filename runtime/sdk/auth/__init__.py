"""Who is the end user? `providers` is what a bundle says in ``auth_config.py``, `identity` what a call asks."""
