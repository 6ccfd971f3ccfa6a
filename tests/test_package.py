"""The wheel has exactly the files that users need, and its metadata is correct."""

from __future__ import annotations

import ast
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import PathDistribution
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import slotfill
from slotfill.extras import EXTRAS

ROOT = Path(__file__).resolve().parent.parent
CORPORA = ("taipei", "taipei_hard", "taipei_zh")
ALL_EXTRAS = ("", *dict.fromkeys(EXTRAS.values()), "docs", "test", "dev")
SPLITS = ("train", "valid", "test", "pairs", "unseen")


def build(source: Path, target: str, out: Path) -> Path:
    """Build the project in `source` with hatchling, without network; return the file."""
    if find_spec("hatchling") is None:
        pytest.skip("hatchling, which builds the wheel, is not installed: pip install '.[test]'")
    command = [
        sys.executable,
        "-m",
        "hatchling",
        "build",
        "--target",
        target,
        "--directory",
        str(out),
    ]
    done = subprocess.run(
        command, cwd=source, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))) as file:
        yield file


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Iterator[PathDistribution]:
    with zipfile.ZipFile(str(wheel.filename)) as file:  # `zipfile.Path` adds folders to its own.
        yield PathDistribution(zipfile.Path(file, f"slotfill-{slotfill.__version__}.dist-info/"))


@pytest.fixture(scope="module")
def requirements(metadata: PathDistribution) -> dict[str, list[Requirement]]:
    """The requirements by extra, those of every installation under the empty name."""
    found: dict[str, list[Requirement]] = {}
    for text in metadata.requires or ():
        requirement = Requirement(text)
        extras = [
            each for each in ALL_EXTRAS if not requirement.marker or _applies(requirement, each)
        ]
        found.setdefault(extras[0], []).append(requirement)
    return found


def _applies(requirement: Requirement, extra: str) -> bool:
    assert requirement.marker is not None
    return requirement.marker.evaluate({"extra": extra})


def test_wheel_has_every_module_and_the_type_marker(wheel):
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "slotfill").rglob("*.py")}
    pages = {p.relative_to(ROOT).as_posix() for p in (ROOT / "slotfill").rglob("*.jinja")}
    vectors = {p.relative_to(ROOT).as_posix() for p in (ROOT / "slotfill/data/vectors").iterdir()}
    others = {"slotfill/py.typed", "slotfill/lab/inspect/page.html.jinja", *pages, *vectors}
    assert modules | others <= set(wheel.namelist())


def test_wheel_has_the_configs_and_the_data_unchanged(wheel):
    configs = [path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml")]
    splits = [Path("data", corpus, f"{split}.brackets") for corpus in CORPORA for split in SPLITS]
    readmes = [Path("data", corpus, "README.md") for corpus in CORPORA]
    assert Path("configs/taipei.yaml") in configs
    for path in (*configs, *splits, *readmes):
        assert wheel.read(f"slotfill/builtin/{path.as_posix()}") == (ROOT / path).read_bytes()


def test_wheel_has_nothing_else(wheel):
    info = f"slotfill-{slotfill.__version__}.dist-info"
    assert {name.partition("/")[0] for name in wheel.namelist()} == {"slotfill", info}
    assert {
        Path(name).suffix
        for name in wheel.namelist()
        if name.startswith("slotfill/builtin/configs")
    } == {".yaml"}
    assert not [
        name for name in wheel.namelist() if "tests" in Path(name).parts or "__pycache__" in name
    ]
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_wheel_from_the_source_archive_is_the_same(wheel, tmp_path):
    archive = build(ROOT, "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as file:
        # `extractall(filter=)` is missing in Python 3.11.0 to 3.11.3.
        file.extraction_filter = getattr(tarfile, "data_filter", None)
        file.extractall(tmp_path / "source")
    (source,) = (tmp_path / "source").iterdir()
    again = zipfile.ZipFile(build(source, "wheel", tmp_path / "wheel"))
    assert {name: again.read(name) for name in again.namelist()} == {
        name: wheel.read(name) for name in wheel.namelist()
    }
    for name in (
        "tests/test_package.py",
        "scripts/make_taipei.py",
        "docs/config.md",
        "CONTRIBUTING.md",
    ):
        assert (source / name).is_file()


def test_metadata(metadata):
    fields = metadata.metadata
    assert (fields["Name"], fields["Version"], fields["License-Expression"]) == (
        "slotfill",
        slotfill.__version__,
        "MIT AND Apache-2.0",
    )
    assert fields["Summary"] and fields["Description"]
    assert {(each.group, each.name, each.value) for each in metadata.entry_points} == {
        ("console_scripts", "slotfill", "slotfill.__main__:main"),
        ("spacy_factories", "slotfill", "slotfill.integrations.spacy:make_component"),
    }


def test_python_range_and_claims(metadata):
    """Every Python version that the metadata claims is in the tested range."""
    allowed = SpecifierSet(metadata.metadata["Requires-Python"])
    assert "3.11" in allowed and "3.10" not in allowed
    claims = [
        line.rpartition(" ")[2]
        for line in metadata.metadata.get_all("Classifier")
        if ":: Python :: 3." in line
    ]
    assert claims and all(claim in allowed for claim in claims)


def test_extras_are_those_that_commands_name(metadata):
    """slotfill/extras.py has each package of an extra of users, under the name of its module."""
    distributions = {"huggingface_hub": "huggingface-hub", "text_to_num": "text2num"}
    distributions |= {"prometheus_client": "prometheus-client", "mlflow": "mlflow-skinny"}
    named = {(distributions.get(module, module), extra) for module, extra in EXTRAS.items()}
    declared = {
        (requirement.name.lower(), extra)
        for extra in set(ALL_EXTRAS) - {"", "docs", "test", "dev"}
        for requirement in map(Requirement, metadata.requires or ())
        if requirement.marker and _applies(requirement, extra) and requirement.name != "slotfill"
    }
    assert named <= declared
    assert {name for name, _ in named} == {name for name, _ in declared}
    assert {extra for _, extra in named} == {extra for _, extra in declared}


@pytest.mark.parametrize("page", ["README.md", "docs/deploy.md"])
def test_extras_are_named_in_the_documentation(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    assert [extra for extra in {*EXTRAS.values()} if f"`{extra}`" not in text] == []


def test_small_install_has_no_torch(requirements):
    names = {requirement.name.lower() for requirement in requirements[""]}
    assert names == {
        *("filelock", "jinja2", "numpy", "onnxruntime", "pydantic", "pyyaml", "rich", "typer"),
    }


def test_torch_range(requirements):
    (torch,) = [each.specifier for each in requirements["train"] if each.name == "torch"]
    assert torch.contains("2.13.0") and torch.contains("2.13.0+cpu")
    assert not torch.contains("2.12.9") and not torch.contains("2.14.0")


def test_every_requirement_has_a_lower_bound(requirements):
    for requirement in (
        each for group in requirements.values() for each in group if each.name != "slotfill"
    ):
        assert [each for each in requirement.specifier if each.operator in (">=", "==")], (
            requirement
        )


def test_every_requirement_is_explained(requirements):
    """docs/dependencies.md has a row for each package, and for no other."""
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = [
        line.split("|")[1].strip()
        for line in page.splitlines()
        if line.startswith("| ") and "---" not in line
    ]
    explained = {row.lower() for row in rows if row != "package"}
    assert explained == {each.name.lower() for group in requirements.values() for each in group} - {
        "slotfill"
    }


def test_test_extra_is_what_the_tests_import(requirements):
    own_modules = {
        path.stem for folder in ("tests", "scripts") for path in (ROOT / folder).rglob("*.py")
    } | {"slotfill"}
    imported = set()
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    foreign = imported - own_modules - sys.stdlib_module_names
    # Tests of transformers, spaCy and MLflow are left out where there are none.
    extras = ("", "train", "plots", "parquet", "tune", "test", "transformers", "spacy", "hub")
    extras += ("serve", "tensorboard", "mlflow")
    installed = {each.name.lower() for extra in extras for each in requirements[extra]}
    named = {"yaml": "pyyaml", "huggingface_hub": "huggingface-hub", "mlflow": "mlflow-skinny"}
    named |= {"sklearn": "scikit-learn", "markdown_it": "markdown-it-py"}
    assert {named.get(name, name) for name in foreign} <= installed


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == slotfill.__version__
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
