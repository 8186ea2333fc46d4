"""What the worker does and did: read from Dagster, kept in the warehouse, told to people."""
