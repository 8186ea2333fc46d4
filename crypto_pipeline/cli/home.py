"""Where Dagster keeps its history when the command line is used."""

import os
from pathlib import Path

from crypto_pipeline import settings


def set_dagster_home() -> Path:
    """Give DAGSTER_HOME, and set it for Dagster: where it is not set it is here, if dagster.yaml
    is, else beside the database.

    Raises SettingError for a DAGSTER_HOME that is no folder, and a folder that cannot be made.
    """
    home = settings.dagster_home()
    if home is None:
        here = Path.cwd()
        home = here if (here / "dagster.yaml").exists() else settings.database().parent
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise settings.database.wrong(f"{home} cannot be made: {problem.strerror}") from None
    os.environ[settings.dagster_home.name] = str(home)
    return home
