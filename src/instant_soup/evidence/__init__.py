"""Evidence: what records say of the methods."""
