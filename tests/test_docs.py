"""README, docs and CONTRIBUTING name only what there is: symbols, commands, options, keys, files and links."""

import ast
import importlib
import inspect
import re
import textwrap
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from cxr_jax import config as configuration
from cxr_jax.data.notes import Notes
from cxr_jax.data.sources import Source
from tests.test_equations import resolve

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"python -m (cxr_jax[.\w]*)((?:\\\n|[^\n`#|])*)")


def of_pages(pattern: str):
    """A parameter for each distinct match in the pages, named by page and match."""
    found = dict.fromkeys((page, match) for page in PAGES for match in re.findall(pattern, page.read_text("utf-8")))
    return [pytest.param(page, match, id=f"{page.name}-{match}") for page, match in found]


@cache
def main_of(command: str):
    """The `main` that `python -m command` runs."""
    module = importlib.import_module(command)
    return importlib.import_module(f"{command}.__main__").main if hasattr(module, "__path__") else module.main


@cache
def anchors(page: Path) -> set[str]:
    """What a page's headings can be linked by, as GitHub names them."""
    text = re.sub(r"^( *)```.*?^\1```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def python_blocks(page: Path) -> list[str]:
    blocks = re.findall(r"^( *)```python\n(.*?)^\1```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in blocks]


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200


@pytest.mark.parametrize(("page", "symbol"), of_pages(r"(?<![\w/])cxr_jax(?:\.[A-Za-z_]\w*)+"))
def test_symbol_is_there(page, symbol):
    resolve(symbol)


@pytest.mark.parametrize(("page", "command"), of_pages(r"python\s+-m\s+(cxr_jax[.\w]*)"))
def test_command_is_there(page, command):
    assert callable(main_of(command))


def test_every_command_is_in_the_readme():
    package = ROOT / "cxr_jax"
    modules = (file for file in package.rglob("*.py") if "\nif __name__ ==" in file.read_text("utf-8"))
    names = (file.relative_to(ROOT).with_suffix("").parts for file in modules)
    commands = {".".join(parts[:-1] if parts[-1] == "__main__" else parts) for parts in names}
    rows = re.findall(r"^\| `(cxr_jax\.\w+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert set(rows) == commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_are_the_commands_own(page, capsys):
    calls = COMMAND.findall(page.read_text("utf-8"))
    # README's table has the command and its call in cells of their own.
    calls += re.findall(r"^\| `(cxr_jax\.\w+)` \|.*\| `([^`]*)` \|$", page.read_text("utf-8"), re.MULTILINE)
    for command, arguments in calls:
        with pytest.raises(SystemExit):
            main_of(command)(["--help"])
        usage, *_ = capsys.readouterr().out.split("\n\n")
        known = set(re.findall(r"--\w+", usage)) | {"--help"}
        used = set(re.findall(r"(?<!\S)--\w+", arguments))
        assert used <= known, f"{page.name}: python -m {command} has no {sorted(used - known)}"


@pytest.mark.parametrize(("page", "key"), of_pages(r"--config\.([a-z_]\w*(?:\.\w+)?)"))
def test_override_is_a_key(page, key):
    assert key in configuration.SCHEMA


@pytest.mark.parametrize(
    ("page", "setting"), of_pages(r"(?:`|--config\.)((?:data|image|text|optim|loss)\.[a-z_]\w*=?\w*)")
)
def test_setting_is_a_key_and_a_choice_of_it(page, setting):
    key, _, value = setting.partition("=")
    assert key in configuration.SCHEMA
    if value and configuration.SCHEMA[key].choices:
        assert value in [*configuration.SCHEMA[key].choices, "FILE"]


@pytest.mark.parametrize(("page", "spec"), of_pages(r"\bconfigs/\w+\.py(?::\w+)?"))
def test_configuration_is_there(page, spec):
    file, _, variant = spec.partition(":")
    configuration.read(ROOT / file, variant)


@pytest.mark.parametrize(("page", "file"), of_pages(r"(?<![\w/.])(?:configs|scripts|docs|tests|cxr_jax)/[\w/.-]*\w"))
def test_file_is_there(page, file):
    assert (ROOT / file).exists()


@pytest.mark.parametrize(("page", "link"), of_pages(r"\]\((?!https?://)([^)\s]+)\)"))
def test_link_leads_somewhere(page, link):
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    assert target.is_file()
    assert not anchor or anchor in anchors(target)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=lambda page: page.name)
def test_python_parses_and_imports_what_there_is(page):
    for code in python_blocks(page):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    assert hasattr(importlib.import_module(node.module), alias.name)


def test_rooms_are_those_of_the_contract_in_its_order():
    """The contract lists them from the top, docs/architecture.md from the bottom."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rows = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.MULTILINE)
    assert [set(re.findall(r"\w+", row)) for row in rows] == [set(re.findall(r"\w+", row)) for row in reversed(layers)]


@pytest.fixture
def example() -> ModuleType:
    """CONTRIBUTING's data set, as a module."""
    (code,) = python_blocks(ROOT / "CONTRIBUTING.md")
    module = ModuleType("example")
    exec(code, vars(module))
    return module


def test_the_example_of_a_data_set_works(example, tmp_path):
    assert isinstance(example, Source)
    for name in ("describe", "records", "splits"):
        assert [*inspect.signature(getattr(example, name)).parameters] == [
            *inspect.signature(getattr(Source, name)).parameters
        ][1:]
    data = {"path": str(tmp_path), "seed": 0, "stored_size": 32, "stored_format": "png"}
    with pytest.raises(ValueError, match=r"there is no reports\.csv"):
        example.describe(data)
    rows = "".join(f"{i}.png,s{i},p{i},Clear.\n" for i in range(10))
    (tmp_path / "reports.csv").write_text(f"file,study,patient,report\n{rows}", "utf-8")
    assert example.describe(data).description == "my hospital's radiographs"
    splits = example.splits(data, example.records(data, Notes()))
    assert {name: len(records) for name, records in splits.items()} == {"train": 7, "val": 2, "test": 1}
