"""What the documents and the hosting say follows from the declarations, or is held against them."""

import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from crypto_pipeline import docs
from crypto_pipeline.groups import HISTORICAL, UI
from crypto_pipeline.orchestration.maintenance import CRON
from crypto_pipeline.settings import SETTINGS
from crypto_pipeline.sources import SOURCES
from crypto_pipeline.tables.outcomes import GOOD, SKIPPED, Outcome
from crypto_pipeline.tables.worker import AlertKind

PAGES = [*docs.ROOT.glob("*.md"), *(docs.ROOT / "docs").glob("*.md"), docs.ROOT / "dagster.yaml"]
VARIABLES = {setting.name for setting in SETTINGS}


def read(name: str) -> str:
    return (docs.ROOT / name).read_text(encoding="utf-8")


def test_the_reference_is_what_the_declarations_say() -> None:
    for file, text in docs.generated():
        assert file.read_text(encoding="utf-8") == text, f"{file.name}: run `make docs`"


def test_every_setting_is_in_the_readme_and_in_the_example() -> None:
    for setting in SETTINGS:
        assert f"| {setting.name} | " in read("README.md")
        assert f"\n# {setting.name}=" in read(".env.example")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_document_names_no_setting_that_does_not_exist(page: Path) -> None:
    named = set(re.findall(r"\bCRYPTO_PIPELINE_[A-Z_]+\b", page.read_text(encoding="utf-8")))
    assert not named - VARIABLES


def test_the_package_reads_no_variable_that_is_not_declared() -> None:
    keys = {source.key.env for source in SOURCES.values() if source.key}
    for file in (docs.ROOT / "crypto_pipeline").rglob("*.py"):
        named = set(re.findall(r"\bCRYPTO_PIPELINE_[A-Z]+[A-Z_]*[A-Z]\b", file.read_text("utf-8")))
        assert not named - VARIABLES - keys, file


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_the_default_and_the_example_of_a_setting_can_be_read(
    setting: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(setting.name, raising=False)
    setting()
    if setting.example and setting.name != "DAGSTER_HOME":
        monkeypatch.setenv(setting.name, setting.example)
        assert setting() != setting.parse(setting.default)


def test_the_worker_s_page_tells_the_defaults_that_are_declared() -> None:
    page = read("docs/worker.md")
    defaults = {setting.name: setting.default for setting in SETTINGS}
    told = re.findall(r"`(CRYPTO_PIPELINE_[A-Z_]+)` \(([^)]+)\)", page)
    assert len(told) >= 2
    assert dict(told) == {name: defaults[name] for name, _ in told}
    assert defaults["CRYPTO_PIPELINE_WEBSERVER"] in page
    assert UI.stale.total_seconds() == 20 * 60
    assert HISTORICAL.stale.total_seconds() == 60 * 60
    assert "answered well for 20 minutes (ui) or an hour (historical)" in page
    assert f"runs every day at {CRON.split()[1]:0>2}:{CRON.split()[0]} UTC" in page


def test_the_worker_s_page_tells_of_every_kind_of_alert() -> None:
    told = re.findall(r"^\| (\w+) \| (critical|warning) \|", read("docs/worker.md"), re.MULTILINE)
    assert {kind for kind, _ in told} == set(get_args(AlertKind))


def test_the_readme_tells_of_every_outcome() -> None:
    cells = re.findall(r"^\| ([a-z, ]+) \|", read("README.md"), re.MULTILINE)
    assert set(get_args(Outcome)) <= {word for cell in cells for word in cell.split(", ")}


def test_a_part_of_a_document_needs_its_markers() -> None:
    text = "a\n<!-- x: made by `make docs` -->\nold\n<!-- end of x -->\nb\n"
    assert docs.with_part(text, "x", "new\n") == text.replace("old", "new")
    with pytest.raises(ValueError, match="no part 'y'"):
        docs.with_part(text, "y", "new\n")


# Hosting


def workflow(name: str) -> Any:
    return yaml.safe_load(read(f".github/workflows/{name}.yml"))


def test_ci_runs_on_every_python_that_the_project_names() -> None:
    job = workflow("ci")["jobs"]["test"]
    project = tomllib.loads(read("pyproject.toml"))["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert job["steps"][-1] == {"run": ".ci/run"}


def test_the_live_lane_runs_nightly_may_fail_and_leaves_its_report() -> None:
    live = workflow("live")
    assert live[True]["schedule"]  # `on`, as YAML reads it
    job = live["jobs"]["live"]
    assert job["continue-on-error"] is True
    run, report = job["steps"][-2:]
    assert run["run"] == "make live REPORT=live.xml"
    assert (report["if"], report["with"]["path"]) == ("always()", "live.xml")
    assert "--junitxml=$(REPORT)" in read("Makefile")


def test_the_template_for_a_source_that_died_offers_the_outcomes() -> None:
    form = yaml.safe_load(read(".github/ISSUE_TEMPLATE/source-died.yml"))
    (outcome,) = [part for part in form["body"] if part.get("id") == "outcome"]
    offered = set(outcome["attributes"]["options"])
    bad = set(get_args(Outcome)) - GOOD - {SKIPPED}
    assert bad <= offered


def test_dagster_s_packages_are_pinned_to_one_release() -> None:
    pinned = dict(re.findall(r"^(dagster[\w-]*)==1\.(\S+)$", read("constraints.txt"), re.MULTILINE))
    assert len(set(pinned.values())) == 1
    assert {"dagster", "dagster-webserver", "dagster-dg-cli"} <= pinned.keys()


PIN = re.compile(
    r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+)( ; .+?)?((?: \\\n    --hash=sha256:[0-9a-f]{64})*)$", re.M
)


def pins(text: str) -> dict[str, tuple[str, bool, int]]:
    """What a file of requirements pins: version, whether for every system, how many hashes."""
    return {
        re.sub(r"[._-]+", "-", name).lower(): (version, not marker, hashes.count("--hash="))
        for name, version, marker, hashes in PIN.findall(text)
    }


LOCKED = ("run", "alerts", "dg", "dev", "mutants", "duckdb2", "exports", "exports_built")
APART = {"duckdb2", "exports", "exports_built"}
"""Environments of their own, with other versions than ours."""


@pytest.mark.parametrize("name", LOCKED)
def test_every_file_that_is_installed_has_a_hash_and_the_version_of_the_constraints(
    name: str,
) -> None:
    text = read(f"locked/{name}.txt")
    found = pins(text)
    lines = PIN.findall(text)  # one package may have two, for different Pythons
    assert len(lines) == len(re.findall(r"^[^#\s]", text, re.MULTILINE)) > 0
    assert all("--hash=" in hashes for *_, hashes in lines)
    assert "://" not in text
    constraints = pins(read("constraints.txt"))
    for package, (version, everywhere, hashes) in found.items():
        assert hashes, package
        if package in constraints and name not in APART:
            assert version == constraints[package][0], f"{package}: make lock"
        else:
            assert not everywhere or name in APART, f"{package} is not in constraints.txt"


def test_what_is_locked_is_what_the_project_and_its_build_need() -> None:
    project = tomllib.loads(read("pyproject.toml"))
    needed = {
        "run": project["project"]["dependencies"] + project["build-system"]["requires"],
        **{
            extra: project["project"]["optional-dependencies"][extra]
            for extra in ("alerts", "dg", "dev", "mutants")
        },
    }
    for name, requirements in needed.items():
        locked = pins(read(f"locked/{name}.txt"))
        names = {re.split(r"[<>=!~\[ ;]", requirement)[0].lower() for requirement in requirements}
        assert names <= locked.keys(), "make lock"
        assert pins(read("locked/run.txt")).items() <= locked.items()


def test_make_installs_nothing_without_a_hash() -> None:
    makefile = read("Makefile")
    assert makefile.count("pip install") == 1
    uses = re.findall(r"\$\(PIP\)(.*)", makefile)
    assert uses
    assert all("--require-hashes" in use or "--no-index" in use for use in uses)
    assert re.findall(r"-r (\S+)", makefile) == [
        f"locked/{n}.txt" for n in ("run", "dev", "mutants", "duckdb2", "exports", "exports_built")
    ]
