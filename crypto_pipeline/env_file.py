"""`.env`: read by every command of ours as Dagster's commands read it, so that all of them do the
same to the same files.

That is: from the folder a command is started in, with python-dotenv, and over what is in the
environment already.
"""

import os
from io import StringIO
from pathlib import Path

from crypto_pipeline.settings import PREFIX, SettingError

NAME = ".env"


def load(folder: Path) -> None:
    """Put what `.env` in a folder says into the environment; nothing where there is none.

    Raises SettingError for a file that cannot be read, and for a line that python-dotenv would pass
    over. What the file holds is never shown: keys are in it.
    """
    file = folder / NAME
    if not os.path.lexists(file) or file.is_dir():  # some keep Python's environment under the name
        return
    from dotenv import dotenv_values  # noqa: PLC0415  (nobody without a .env pays for it)

    text = _read(file)
    _check_lines(file, text)
    for name, value in dotenv_values(stream=StringIO(text)).items():
        if value is None:
            continue
        try:
            os.environ[name] = value
        except (OSError, ValueError):
            raise SettingError(f"{file}: {name!r} cannot be set to what is written") from None


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as problem:
        raise SettingError(f"{file}: cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{file}: is not UTF-8: save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise SettingError(f"{file}: begins with a byte order mark: save it as UTF-8 without one")
    return text


def _check_lines(file: Path, text: str) -> None:
    """Every line is read, and none of our settings is set twice."""
    from dotenv.parser import parse_stream  # noqa: PLC0415

    lines: dict[str, int] = {}
    for binding in parse_stream(StringIO(text)):
        line = binding.original.line
        if binding.error or (binding.key and binding.value is None):
            raise SettingError(f"{file}: line {line} cannot be read: write NAME=value, or # before")
        if binding.key and binding.key.startswith(PREFIX):
            first = lines.setdefault(binding.key, line)
            if first != line:
                raise SettingError(f"{file}: {binding.key} is set twice: lines {first} and {line}")
