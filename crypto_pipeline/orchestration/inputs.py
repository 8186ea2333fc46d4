"""The tables as inputs of assets of a user's own: `def mine(market_prices: pd.DataFrame)`.

Owns: which rows and columns an asset gets.
Must not know: how anything is published.
See https://docs.dagster.io/guides/build/io-managers
"""

from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from crypto_pipeline import settings
from crypto_pipeline.monitoring.dagster_instance import time_window_of
from crypto_pipeline.tables import DATA, TABLES, VIEWS
from crypto_pipeline.warehouse import published

if TYPE_CHECKING:
    import pandas as pd

KEY = "published"
"""The name of the resource that loads the tables."""

CHOICES = frozenset({"columns", "symbols", "within"})
"""What an input may choose: see `Published`."""


class InputError(ValueError):
    """An input asks for what there is not; names the input, and what there is."""


class Published(dg.ConfigurableIOManager):
    """Loads what is published of a table or view as a pandas DataFrame, in time; locks nothing.

    An asset that is partitioned by time gets the rows of its partition, by the table's own time;
    any other gets all. The metadata of its input (`dg.AssetIn(metadata=…)`) choose fewer: columns,
    a list of them; symbols, a list of coins; within, a span such as "6h": no older rows than that.

    parquet: the folder of what is published; None: as CRYPTO_PIPELINE_PARQUET says. Raises
    InputError, and WarehouseError when nothing is published.
    """

    parquet: str | None = None

    def load_input(self, context: dg.InputContext) -> "pd.DataFrame":
        import pandas as pd  # noqa: PLC0415  (heavy, and only here)

        name = ".".join(context.asset_key.path)
        wanted = context.dagster_type.typing_type
        if wanted not in (pd.DataFrame, Any):
            raise InputError(f"input {name}: is a pandas.DataFrame, not {wanted}")
        chosen = dict(context.definition_metadata)
        since, until = _bounds(context, name, chosen.pop("within", None))
        if unknown := chosen.keys() - CHOICES:
            raise InputError(f"input {name}: metadata {sorted(unknown)}: choose {sorted(CHOICES)}")
        folder = Path(self.parquet) if self.parquet else settings.published()
        with published.connect(folder) as connection:
            try:
                return published.read(connection, name, since=since, until=until, **chosen)
            except ValueError as problem:
                raise InputError(f"input {name}: {problem}") from None

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        raise InputError(
            f"asset {context.asset_key.to_user_string()}: collections alone write what is "
            f"published: give it another io_manager_key than {KEY!r}"
        )


def _bounds(
    context: dg.InputContext, name: str, within: str | None
) -> tuple[datetime | None, datetime | None]:
    """From when on and before when, by the partition and by how old rows may be."""
    import pandas as pd  # noqa: PLC0415  (heavy, and only here)

    window = time_window_of(context)
    if within is None:
        return window or (None, None)
    if window:
        raise InputError(f"input {name}: within: its partition says already which rows it gets")
    try:
        return datetime.now(UTC) - pd.Timedelta(within).to_pytimedelta(), None
    except (ValueError, TypeError) as problem:
        raise InputError(f"input {name}: within: {within!r} is no span: {problem}") from None


def published_tables(*names: str) -> list[dg.AssetSpec]:
    """The tables and views of these names, or every table people come for, for the definitions of
    another code location: assets there take them as inputs, and `Published` loads them.

    Raises InputError for a name that there is not.
    """
    about = {name: model.table.description for name, model in TABLES.items()}
    about |= {view.name: view.description for view in VIEWS}
    for name in names:
        if name not in about:
            (near,) = get_close_matches(name, about, 1, cutoff=0)
            raise InputError(f"{name!r} is no table or view; the nearest is {near}")
    return [
        dg.AssetSpec(name, description=about[name], kinds={"duckdb"}).with_io_manager_key(KEY)
        for name in names or [model.table.name for model in DATA]
    ]
