"""What tenants send out: ``fetch``."""
