"""What tenants use to store files."""
