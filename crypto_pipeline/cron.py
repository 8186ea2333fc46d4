"""Cron expressions: whether one can be read, and ever comes true.

Dagster decides what a cron expression is. It takes more than a second to import, and the ordinary
ones are plain to see: those are let through here, and only the others are asked about.
"""

import re
import warnings

_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?")

_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
"""Minute, hour, day of the month, month, day of the week."""

_NAMES = {
    name: str(number)
    for names in ("jan feb mar apr may jun jul aug sep oct nov dec", "mon tue wed thu fri sat sun")
    for number, name in enumerate(names.split(), 1)
}

_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def check(expression: str) -> None:
    """Raises ValueError for an expression that Dagster would not take, or that no day of any year
    fulfils."""
    texts = expression.split()
    fields = [_values(*field) for field in zip(texts, _BOUNDS, strict=False)]
    if len(texts) == len(_BOUNDS) and all(fields):
        days, months = fields[2:4]
        if any(day <= _LONGEST[month - 1] for month in months for day in days):
            return
        if texts[-1] == "*":
            raise ValueError("it never comes: no month named has such a day")
    _ask_dagster(expression)


def _values(text: str, bounds: tuple[int, int]) -> set[int]:
    """The numbers that a field stands for; none where it is not plain. Raises ValueError for a
    number out of bounds: Dagster would take some, and wait for ever for the 0th month."""
    values: set[int] = set()
    for name, number in _NAMES.items() if bounds in _BOUNDS[3:] else ():
        text = text.lower().replace(name, number)
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if not found:
            return set()
        first, last, step = found.groups()
        low = int(first or bounds[0])
        high = int(last or (first if first and not step else bounds[1]))
        if not all(bounds[0] <= number <= bounds[1] for number in (low, high)):
            raise ValueError(f"{part} is not within {bounds[0]}-{bounds[1]}")
        if low > high or not 0 < int(step or 1) <= bounds[1]:
            return set()
        values.update(range(low, high + 1, int(step or 1)))
    return values


def _ask_dagster(expression: str) -> None:
    import dagster as dg  # noqa: PLC0415

    try:
        with warnings.catch_warnings(action="ignore"):  # it says them when the schedule is made
            dg.ScheduleDefinition(
                job_name="any", cron_schedule=expression, execution_timezone="UTC"
            )
    except dg.DagsterInvalidDefinitionError:
        raise ValueError("give five fields of cron, such as */5 * * * *") from None
