"""A packed run predicts as its folder does, and no other archive is opened."""

from __future__ import annotations

import copy
import csv
import json
import random
import shutil
import subprocess
import sys
import zipfile
from base64 import urlsafe_b64encode
from hashlib import sha256
from importlib.metadata import PathDistribution
from io import BytesIO
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

import slotfill
from slotfill.errors import SlotfillError, UsageError
from slotfill.runs.pack import pack_run, pack_wheel, wheel_name

SENTENCES = ["leave Oslo for Lima please", "hello there", "fly from New York to Paris"]


@pytest.fixture(scope="module")
def packed(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "run.zip"
    path.write_bytes(pack_run(trained))
    return path


def test_packed_run_predicts_as_its_folder(packed, trained, cli):
    for arguments in (SENTENCES, [*SENTENCES, "--nbest", "2"], [*SENTENCES, "--format", "conll"]):
        results = [cli("predict", run, *arguments) for run in (packed, trained)]
        assert results[0] == results[1]
        assert results[0].code == 0 and "Oslo" in results[0].out
    assert [*packed.parent.iterdir()] == [packed]


def test_packed_run_is_evaluated_as_its_folder(packed, trained, cli, tmp_path, monkeypatch, corpus):
    monkeypatch.chdir(corpus.parent)  # The packed run has the name of the corpus, not its path.
    results = [cli("evaluate", run, "--json") for run in (packed, trained)]
    assert results[0] == results[1] and results[0].code == 0
    page = tmp_path / "page.html"
    assert cli("evaluate", packed, "--report", page).code == 0 and "run.zip" in page.read_text()


CELL = '''"""Elman's cell by another name."""

from slotfill.model.cells.elman import Elman


class Mine(Elman):
    """Elman's cell."""
'''


def test_packed_run_has_no_path_of_the_machine_and_needs_none(corpus, tmp_path, cli, monkeypatch):
    """It is packed with every kind of file that a config names, all of which are gone then."""
    home = tmp_path / "home-of-ann"
    (home / "lists").mkdir(parents=True)
    monkeypatch.chdir(home)
    shutil.copytree(corpus, "corpus")
    Path("mine.py").write_text(CELL)
    for name in ("cities.txt", "lists/cities.txt"):
        Path(name).write_text("Oslo\nLima\n")
    Path("vectors.txt").write_text("fly 1 2\nOslo 3 4\n")
    lists = "{name: gazetteer, lists: [cities.txt, lists/cities.txt]}"
    embedding = f"[{{name: word, size: 8}}, {lists}, {{name: pretrained, path: vectors.txt}}]"
    Path("run.yaml").write_text(
        f"data: {{path: corpus}}\nembedding: {embedding}\ntrain: {{epochs: 1}}\n"
        "encoder: {name: recurrent, hidden_size: 8, cell: mine.py}\n"
        "rules: [{slot: destination, list: cities.txt}]\n"
        "synonyms: {origin: synonyms.csv}\n"
    )
    Path("synonyms.csv").write_text("Oslo,OSL\n")
    assert cli("train", "run.yaml", "--trust").code == 0
    texts = ["leave Oslo for Lima please", "fly to OSL"]
    expected = cli("predict", "runs/run", *texts)
    scores = slotfill.evaluate("runs/run", trust=True)
    assert cli("pack", "runs/run").code == 0
    for member in zipfile.ZipFile("run.zip").infolist():
        content = zipfile.ZipFile("run.zip").read(member)
        assert b"home-of-ann" not in content, member.filename
    zipfile.ZipFile("run.zip").extractall("again")
    assert pack_run(Path("again")) == Path("run.zip").read_bytes()

    away = tmp_path / "away"
    away.mkdir()
    (home / "run.zip").rename(away / "run.zip")
    (home / "corpus/test.brackets").rename(away / "new.brackets")
    shutil.rmtree(home)
    monkeypatch.chdir(away)
    assert cli("predict", "run.zip", *texts) == expected
    for words in (["data.test=new.brackets"], ["--data", "new.brackets"]):
        result = cli("evaluate", "run.zip", *words, "--json")
        assert result.code == 0 and json.loads(result.out)["overall"]["f1"] == scores.overall.f1
    assert cli("evaluate", "run.zip", "--data", "new.brackets", "--report", "page.html").code == 0
    gone = cli("evaluate", "run.zip")
    assert (gone.code, gone.err.count("\n")) == (3, 1)
    assert gone.err.startswith("slotfill: run.zip: was trained with corpus, which is gone; give")


def test_packed_run_cannot_be_replaced_by_its_own_report(packed, cli, corpus, monkeypatch):
    monkeypatch.chdir(corpus.parent)
    before = packed.read_bytes()
    result = cli("evaluate", packed, "--report", packed, "--force")
    assert (result.code, result.err.count("\n")) == (2, 1) and "is read" in result.err
    assert packed.read_bytes() == before


def test_packed_run_loads_in_python_and_is_copied(packed, trained):
    tagger = slotfill.load(packed)
    assert tagger.predict(SENTENCES) == slotfill.load(trained).predict(SENTENCES)
    again = copy.deepcopy(tagger)
    assert again.predict(SENTENCES) == tagger.predict(SENTENCES)


def test_packing_twice_gives_the_same_bytes(packed, trained):
    assert pack_run(trained) == packed.read_bytes()


def test_unpacked_archive_is_a_run_folder_which_packs_the_same(packed, tmp_path, cli):
    zipfile.ZipFile(packed).extractall(tmp_path / "run")
    assert cli("predict", tmp_path / "run", *SENTENCES) == cli("predict", packed, *SENTENCES)
    assert pack_run(tmp_path / "run") == packed.read_bytes()


def test_packed_run_has_what_predicts_and_nothing_is_compressed(packed):
    members = zipfile.ZipFile(packed).infolist()
    assert {member.filename for member in members} == {
        *("config.yaml", "vocab.json", "embedding.onnx", "model.onnx", "calibration.json"),
        *("README.md", "manifest.json"),
    }
    assert {member.compress_type for member in members} == {zipfile.ZIP_STORED}


def test_name_of_a_package_needs_wheel(desk, trained, cli):
    result = cli("pack", trained, "--name", "desk")
    assert (result.code, result.err.count("\n")) == (2, 1) and "add --wheel" in result.err


def test_pack_writes_the_default_file_and_replaces_none(desk, trained, cli):
    assert cli("pack", trained).out.startswith("run.zip: ")
    result = cli("pack", trained)
    assert (result.code, result.err) == (
        2,
        "slotfill: run.zip: already exists; use --force to replace it\n",
    )
    assert cli("pack", trained, "--out", "other.zip").code == 0
    assert Path("other.zip").read_bytes() == Path("run.zip").read_bytes()


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("predict RUN hello --engine torch", "has no weights for torch"),
        ("inspect RUN hello", "has no weights for torch"),
        ("export RUN", "has no weights for torch"),
        ("threshold RUN --precision 0", "a packed run is not changed"),
        ("values RUN taipei rules=[]", "is a file; a run is the folder"),
        ("train --resume RUN", "is a file; a run is the folder"),
    ],
)
def test_commands_that_need_the_folder_say_so(command, reason, packed, cli):
    before = packed.read_bytes()
    result = cli(*[str(packed) if word == "RUN" else word for word in command.split()])
    assert (result.code, result.err.count("\n")) == (2, 1) and reason in result.err
    assert packed.read_bytes() == before


def test_run_that_is_not_exported_is_not_packed(trained, tmp_path, cli):
    from slotfill.inference.onnx_engine import ONNX
    from slotfill.runs.manifest import FILES, RunFiles, write_run

    files = RunFiles(trained)
    kept = {name: files[name] for name in FILES if name not in ONNX and files.has(name)}
    write_run(tmp_path, kept, completed=True)
    result = cli("pack", tmp_path, "--out", tmp_path / "run.zip")
    assert result.code == 2 and "slotfill export" in result.err
    assert not (tmp_path / "run.zip").exists()


# Archives that are damaged, or of others


def rewritten(packed: Path, replaced: dict[str, bytes], **options: int) -> bytes:
    """Return the archive with members replaced or added."""
    file = BytesIO()
    with zipfile.ZipFile(packed) as old, zipfile.ZipFile(file, "w", **options) as new:
        for name in {**dict.fromkeys(old.namelist()), **replaced}:
            new.writestr(name, replaced.get(name) or old.read(name))
    return file.getvalue()


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/passwd", "config.yaml/../x", "model.safetensors", "run/vocab.json"]
)
def test_other_members_are_refused(name, packed, tmp_path, cli):
    path = tmp_path / "run.zip"
    path.write_bytes(rewritten(packed, {name: b"x"}))
    result = cli("predict", path, "hello")
    problem = f"not a file that slotfill pack wrote, or damaged (it contains {name!r})"
    assert (result.code, result.err) == (1, f"slotfill: {path}: {problem}\n")
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content + b"x", "it is cut, or something follows it"),
        (lambda content: content[:-1], "it is cut, or something follows it"),
        (lambda content: duplicate(content, "vocab.json"), "it contains 'vocab.json' twice"),
        (lambda content: b"PK\3\4" + content, "more than a file is at 'config.yaml'"),
        (lambda content: hide(content, 0), "more than a file is at 'config.yaml'"),
        (lambda content: hide(content, -1), "something is before its list of files"),
        (lambda content: annotate(content, "comment"), "more than a file is at 'vocab.json'"),
        (lambda content: annotate(content, "extra"), "more than a file is at 'vocab.json'"),
    ],
    ids=["longer", "cut", "twice", "prefix", "first", "last", "comment", "extra"],
)
def test_what_is_hidden_beside_members_is_refused(change, problem, packed, tmp_path, cli):
    path = tmp_path / "run.zip"
    path.write_bytes(change(packed.read_bytes()))
    result = cli("predict", path, "hello")
    problem = f"not a file that slotfill pack wrote, or damaged ({problem})"
    assert (result.code, result.err) == (1, f"slotfill: {path}: {problem}\n")


def hide(content: bytes, position: int) -> bytes:
    """Return a zip archive with bytes before its first member, or behind its last."""
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for member in old.infolist():
            if position == 0 and member.header_offset == 0:
                file.write(b"PK\3\4hidden")
                new.start_dir = file.tell()
            new.writestr(member.filename, old.read(member))
        if position < 0:
            file.write(b"PK\3\4hidden")
            new.start_dir = file.tell()
    return file.getvalue()


def annotate(content: bytes, attribute: str) -> bytes:
    """Return a zip archive whose vocab.json has a comment or an extra field."""
    file = BytesIO()
    with zipfile.ZipFile(BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for name in old.namelist():
            member = zipfile.ZipInfo(name)
            if name == "vocab.json":
                setattr(member, attribute, b"\x99\x99\2\0hi")
            new.writestr(member, old.read(name))
    return file.getvalue()


def duplicate(content: bytes, name: str) -> bytes:
    file = BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, archive.read(name))
    return file.getvalue()


def test_compressed_members_are_refused_before_they_are_read(packed, tmp_path, cli, monkeypatch):
    path = tmp_path / "run.zip"
    bomb = {"README.md": b"\0" * 50_000_000}
    path.write_bytes(rewritten(packed, bomb, compression=zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 500_000
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    result = cli("predict", path, "hello")
    assert (result.code, result.err.count("\n")) == (1, 1) and "not a file that" in result.err


def test_many_members_are_refused_before_they_are_listed(packed, tmp_path, cli, monkeypatch):
    path = tmp_path / "run.zip"
    path.write_bytes(rewritten(packed, {f"file-{number}": b"x" for number in range(3000)}))
    monkeypatch.setattr(zipfile.ZipFile, "infolist", None)
    result = cli("predict", path, "hello")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "its list of files is too long" in result.err


@pytest.mark.parametrize(
    ("content", "code", "message"),
    [
        (b"", 2, " is a file; a run is the folder"),
        (b"hello\n", 2, " is a file; a run is the folder"),
        (b"PK\5\6" + bytes(18), 2, " is a file; a run is the folder"),
        (b"PK\3\4", 1, ": not a file that slotfill pack wrote, or damaged"),
    ],
)
def test_other_files_are_one_line(content, code, message, tmp_path, cli):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    result = cli("predict", path, "hello")
    assert (result.code, result.err.count("\n")) == (code, 1)
    assert result.err.startswith(f"slotfill: {path}{message}")


@pytest.mark.parametrize("name", ["config.yaml", "vocab.json", "model.onnx", "calibration.json"])
def test_replaced_members_differ_from_the_manifest(name, packed, tmp_path, cli):
    path = tmp_path / "run.zip"
    path.write_bytes(rewritten(packed, {name: b"{}"}))
    result = cli("predict", path, "hello")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert f"{path / name}: damaged, edited" in result.err and "pack the run again" in result.err


def test_damage_anywhere_is_found_or_harmless(packed, trained, tmp_path):
    """A byte is changed, or the end is missing: one line, or the same prediction."""
    draw = random.Random(1)
    content, path = packed.read_bytes(), tmp_path / "run.zip"
    expected = slotfill.load(trained).predict(SENTENCES)
    ends = [*range(len(content) - 700, len(content), 23)]  # The directory of the archive.
    found = 0
    for position in [*draw.sample(range(len(content)), 20), *ends]:
        damaged = bytearray(content)
        damaged[position] ^= draw.randrange(1, 256)
        for data in (damaged, content[:position]):
            path.write_bytes(data)
            try:
                assert slotfill.load(path).predict(SENTENCES) == expected
            except SlotfillError as error:
                assert len(error.messages) == 1 and "\n" not in error.messages[0]
                assert error.messages[0].startswith(str(path))
                found += 1
    assert found > 50


# Wheels


def test_wheel_is_one_of_the_packaging_standards(trained, tmp_path):
    path = tmp_path / wheel_name("Hotel.Desk", "1.2rc1")
    path.write_bytes(pack_wheel(trained, "Hotel.Desk", "1.2rc1"))
    name, version, _, tags = parse_wheel_filename(path.name)
    assert (name, str(version), {*map(str, tags)}) == ("hotel-desk", "1.2rc1", {"py3-none-any"})
    archive = zipfile.ZipFile(path)
    info = f"{path.name.rsplit('-', 3)[0]}.dist-info"
    metadata = PathDistribution(zipfile.Path(archive, f"{info}/"))
    assert (metadata.metadata["Name"], metadata.version) == ("hotel-desk", "1.2rc1")
    (requirement,) = map(Requirement, metadata.requires or ())
    assert requirement.name == "slotfill" and not requirement.extras
    assert slotfill.__version__ in requirement.specifier
    rows = csv.reader(archive.read(f"{info}/RECORD").decode().splitlines())
    recorded = {row[0]: row[1:] for row in rows}
    assert recorded.pop(f"{info}/RECORD") == ["", ""]
    assert recorded.keys() == {*zipfile.ZipFile(path).namelist()} - {f"{info}/RECORD"}
    for member, (checksum, size) in recorded.items():
        data = archive.read(member)
        digest = urlsafe_b64encode(sha256(data).digest()).decode().rstrip("=")
        assert (checksum, int(size)) == (f"sha256={digest}", len(data))


def test_wheel_of_a_run_that_resolves_values_needs_their_libraries(trained, tmp_path, cli):
    pytest.importorskip("dateparser", reason="pip install '.[values]'")
    shutil.copytree(trained, tmp_path / "run")
    assert cli("values", tmp_path / "run", "taipei", "resolve.slots.origin=date").code == 0
    archive = zipfile.ZipFile(BytesIO(pack_wheel(tmp_path / "run", "desk", "1.0")))
    metadata = archive.read("desk-1.0.dist-info/METADATA").decode()
    assert f"\nRequires-Dist: slotfill[values]~={slotfill.__version__}\n" in metadata


def test_wheel_is_installed_and_loaded(trained, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli("pack", trained, "--wheel", "--name", "hotel-desk", "--version", "1.2").code == 0
    (wheel,) = tmp_path.iterdir()
    assert wheel.name == "hotel_desk-1.2-py3-none-any.whl"
    options = ["--no-deps", "--no-index", "--target", "site", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *options, wheel], check=True)
    code = (
        "import sys; sys.path.insert(0, 'site'); import hotel_desk\n"
        "(text,) = hotel_desk.load(threshold=0.0).predict(['leave Oslo please'])\n"
        "print(hotel_desk.__version__, [slot.value for slot in text.slots], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1.2 ['Oslo'] False\n"


@pytest.mark.parametrize("name", ["desk", "Hotel_Desk", "a.b-c", "x1", "A"])
def test_names_are_normalized_as_packages_are(name):
    parsed = parse_wheel_filename(wheel_name(name, "1.0"))
    assert parsed[0] == canonicalize_name(name)
    assert wheel_name(name, "1.0").partition("-")[0].isidentifier()


@pytest.mark.parametrize(
    ("name", "version", "reason"),
    [
        ("3cities", "1.0", "begins with a letter"),
        ("訂票", "1.0", "the letters a to z"),
        ("a b", "1.0", "the letters a to z"),
        ("-a", "1.0", "begins with a letter"),
        ("a/b", "1.0", "the letters a to z"),
        ("class", "1.0", "Python has a module of this name"),
        ("json", "1.0", "Python has a module of this name"),
        ("Slotfill", "1.0", "Python has a module of this name"),
        ("", "1.0", "the letters a to z"),
        ("numpy", "1.0", "would be replaced"),  # Of slotfill.
        ("Optuna", "1.0", "would be replaced"),  # Of an extra.
        ("text2num", "1.0", "would be replaced"),
        ("yaml", "1.0", "would be replaced"),  # The module of pyyaml.
        ("PyYAML", "1.0", "would be replaced"),
        ("typing.extensions", "1.0", "would be replaced"),  # Of another package.
        ("desk", "one", "a version is numbers"),
        ("desk", "1.0-x", "a version is numbers"),
        ("desk", "", "a version is numbers"),
    ],
)
def test_names_and_versions_that_pip_refuses(name, version, reason):
    with pytest.raises(UsageError, match=reason):
        wheel_name(name, version)


def test_name_of_an_installed_run_can_be_packed_again(trained, tmp_path, monkeypatch):
    """Its new version replaces it."""
    archive = zipfile.ZipFile(BytesIO(pack_wheel(trained, "desk", "1.0")))
    archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert wheel_name("desk", "1.1") == "desk-1.1-py3-none-any.whl"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("RUN --out home.whl", "home.whl: must end in .zip, as home.zip; --wheel writes a package"),
        ("RUN --out home", "home: must end in .zip, as home.zip"),
        ("RUN --wheel --name desk --out foo.whl", "foo.whl: pip needs the name desk-1.0.0-py3-"),
        ("RUN --wheel --name desk --out foo.zip", "foo.zip: pip needs the name desk-1.0.0-py3-"),
        ("PACKED", "is one file already; copy it, or add --wheel"),
        ("RUN --wheel --name=", "--name '': a package is called with"),
        ("RUN --wheel --version=", "--version '': a version is numbers"),
        ("RUN --name=", "--name and --version are of a package; add --wheel"),
    ],
)
def test_wrong_names_of_files_are_one_line(arguments, reason, desk, trained, packed, cli):
    before = {*desk.iterdir()}
    runs = {"RUN": trained, "PACKED": packed}
    result = cli("pack", *[runs.get(word, word) for word in arguments.split()])
    assert (result.code, result.err.count("\n")) == (2, 1) and reason in result.err
    assert {*desk.iterdir()} == before


def test_wheel_may_be_written_elsewhere_and_from_a_packed_run(desk, trained, packed, cli):
    shutil.copy(packed, "my-desk.zip")
    assert cli("pack", "my-desk.zip", "--wheel").out.startswith("my_desk-1.0.0-py3-none-any.whl: ")
    Path("dist").mkdir()
    out = Path("dist", "my_desk-1.0.0-py3-none-any.whl")
    assert cli("pack", trained, "--wheel", "--name", "my-desk", "--out", out).code == 0
    assert out.read_bytes() == Path(out.name).read_bytes()


def test_invalid_network_of_a_packed_run_is_packed_again(packed, tmp_path, cli):
    from slotfill.runs.manifest import MANIFEST, render_manifest

    archive = zipfile.ZipFile(packed)
    contents = {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
    contents["model.onnx"] = b"no network"
    contents[MANIFEST] = render_manifest(contents, completed=True)
    for path in (tmp_path / "run.zip", tmp_path / "run"):
        if path.suffix:
            path.write_bytes(rewritten(packed, contents))
        else:
            zipfile.ZipFile(tmp_path / "run.zip").extractall(path)
        result = cli("predict", path, "hello")
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert result.err.endswith("; pack the run again\n")


def test_file_that_cannot_be_read_is_not_called_missing(trained, tmp_path, cli):
    """A link to itself cannot be read by anyone, root included."""
    for name in ("manifest.json", "vocab.json"):
        run = shutil.copytree(trained, tmp_path / name)
        (run / name).unlink()
        (run / name).symlink_to(run / name)
        result = cli("predict", run, "hello")
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert result.err.startswith(f"slotfill: {run / name}: cannot be read: ")
