"""What can be wrong with the file; every message says what to do."""


class WarehouseError(RuntimeError):
    """The database cannot be used."""


class Locked(WarehouseError):
    """Somebody else holds the file: another program, or another writer of our own."""


class Outdated(WarehouseError):
    """The file has the layout of an older crypto_pipeline; the next write brings it up to date."""


class MigrationFailed(WarehouseError):
    """The file has the layout of an older crypto_pipeline, and something in it is in the way of
    today's."""


class TooNew(WarehouseError):
    """The file was written by a newer crypto_pipeline."""


class Damaged(WarehouseError):
    """DuckDB cannot read the file."""
