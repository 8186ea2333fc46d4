"""What the worker does and did: read from Dagster, recorded in the warehouse, shown to people."""
