"""Runs on the Hugging Face Hub, for which a stand-in stores the files in a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from fnmatch import fnmatch
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import ClassVar

import pytest

import slotfill
from slotfill.errors import RunError


class HubError(Exception):
    """An error of the stand-in, which is of no common class, like those of the library."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all repositories."""
    folder = tmp_path / "hub"

    class HfApi:
        def create_repo(self, repo_id, *, private, exist_ok):
            if repo_id.startswith("other/"):
                raise HubError("403 Forbidden\nYou have no rights")
            (folder / repo_id).mkdir(parents=True, exist_ok=exist_ok)
            (folder / f"{repo_id}.private").write_text(str(private))
            return f"https://hub/{repo_id}"

        def create_commit(self, repo_id, operations, *, commit_message):
            assert commit_message
            for name, content in operations:
                (folder / repo_id / name).write_bytes(content)

    def snapshot_download(repo_id, *, revision, allow_patterns):
        if not (folder / repo_id).is_dir() or revision not in (None, "main"):
            raise HubError(f"404 Client Error: {repo_id} at {revision}")
        cache = tmp_path / "cache" / repo_id
        cache.mkdir(parents=True, exist_ok=True)
        for file in (folder / repo_id).iterdir():
            if any(fnmatch(file.name, pattern) for pattern in allow_patterns):
                (cache / file.name).unlink(missing_ok=True)
                (cache / file.name).symlink_to(file)  # As in the cache of the library.
        return str(cache)

    library = SimpleNamespace(
        HfApi=HfApi,
        snapshot_download=snapshot_download,
        CommitOperationAdd=lambda *file: file,
        utils=SimpleNamespace(disable_progress_bars=lambda: None),
    )
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    monkeypatch.setitem(sys.modules, "huggingface_hub.utils", library.utils)
    return folder


def test_pushed_run_predicts_as_its_folder(corpus, monkeypatch, hub, trained, cli):
    result = cli("push", trained, "me/run")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("https://hub/me/run: ")
    assert (hub / "me" / "run.private").read_text() == "False"
    assert {file.name for file in (hub / "me" / "run").iterdir()} == {
        *("config.yaml", "vocab.json", "embedding.onnx", "model.onnx", "calibration.json"),
        *("README.md", "manifest.json"),
    }
    (hub / "me" / "run" / "large.bin").write_bytes(b"not of the run")
    sentence = "leave Oslo please"
    predicted = cli("predict", "hf://me/run", sentence)
    assert predicted == cli("predict", trained, sentence) and predicted.code == 0
    assert slotfill.load("hf://me/run@main").predict([sentence])[0].slots[0].value == "Oslo"
    monkeypatch.chdir(corpus.parent)  # The pushed run has the name of the corpus, not its path.
    assert cli("evaluate", "hf://me/run", "--json").out == cli("evaluate", trained, "--json").out
    assert not (hub.parent / "cache" / "me" / "run" / "large.bin").exists()


def test_run_on_the_hub_is_packed_and_has_its_card(hub, trained, cli, tmp_path):
    assert cli("push", trained, "me/run").code == 0
    assert cli("card", "hf://me/run") == cli("card", trained)
    for run, name in (("hf://me/run", "a.zip"), (trained, "b.zip")):
        assert cli("pack", run, "--out", tmp_path / name).code == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_run_on_the_hub_is_not_changed(hub, trained, cli):
    assert cli("push", trained, "me/run").code == 0
    result = cli("threshold", "hf://me/run", "--precision", "0")
    assert (result.code, result.err.count("\n")) == (2, 1) and "is not changed" in result.err
    assert cli("predict", "hf://me/run", "hello").code == 0


def test_private_repository(hub, trained, cli):
    assert cli("push", trained, "me/run", "--private").code == 0
    assert (hub / "me" / "run.private").read_text() == "True"


def test_packed_run_is_pushed(hub, trained, cli, tmp_path):
    assert cli("pack", trained, "--out", tmp_path / "run.zip").code == 0
    assert cli("push", tmp_path / "run.zip", "me/run").code == 0
    assert cli("predict", "hf://me/run", "hello").code == 0


def test_errors_of_the_hub_are_one_line(hub, trained, cli):
    for command in (
        ("push", trained, "other/run"),
        ("predict", "hf://me/none", "hello"),
        ("predict", "hf://me/none@v1", "hello"),
    ):
        result = cli(*command)
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert "403 Forbidden\n" in result.err or "404 Client Error" in result.err


@pytest.mark.parametrize(
    "address",
    ["hf://me", "hf://a/b/c", "hf://", "hf://a b/c", "hf://a/.b", "hf://ä/b", "hf://a/b@"],
)
def test_other_addresses_are_refused(hub, address, cli):
    result = cli("predict", address, "hello")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith(f"slotfill: {address}: a run on the Hugging Face Hub is hf://USER")
    push = cli("push", "run", "a b/c")
    assert (push.code, push.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RepositoryNotFoundError", "no such repository, or a private one"),
        ("RevisionNotFoundError", "no such branch, tag or commit"),
        ("GatedRepoError", "ask its owner for access"),
        ("OfflineModeIsEnabled", "HF_HUB_OFFLINE"),
        ("LocalEntryNotFoundError", "cannot be reached, and the run is not in the local cache"),
        ("IncompleteSnapshotError", "cannot be reached, and the run is not in the local cache"),
        ("ConnectError", "the Hub cannot be reached"),
    ],
)
def test_errors_of_the_library_are_said_in_words(name, words, cli, monkeypatch):
    errors = pytest.importorskip("huggingface_hub.errors", reason="pip install '.[hub]'")
    kind = getattr(errors, name, None) or getattr(pytest.importorskip("httpx"), name)

    def fail(*arguments, **options):
        raise kind.__new__(kind)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    result = cli("predict", "hf://me/run", "hello")
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert result.err.startswith("slotfill: hf://me/run: ") and words in result.err


def test_damaged_download_is_found(hub, trained, cli):
    assert cli("push", trained, "me/run").code == 0
    (hub / "me" / "run" / "vocab.json").write_text("{}")
    with pytest.raises(RunError, match=r"vocab\.json: damaged"):
        slotfill.load("hf://me/run")


@pytest.mark.parametrize(
    ("status", "words"), [(401, "to log in: hf auth login"), (403, "no right")]
)
def test_refusals_of_the_hub_are_said_in_words(status, words, hub, cli, monkeypatch):
    """The library calls the file of a download missing, because of an answer."""
    refused = HubError("Client error")
    refused.response = SimpleNamespace(status_code=status)
    missing = type("LocalEntryNotFoundError", (HubError,), {})

    def fail(*arguments, **options):
        raise missing("cannot find it on the local disk") from refused

    monkeypatch.setattr(sys.modules["huggingface_hub"], "snapshot_download", fail)
    result = cli("predict", "hf://me/run", "hello")
    assert (result.code, result.err.count("\n")) == (1, 1) and words in result.err


def test_without_the_library_the_extra_is_named(trained, cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    result = cli("push", trained, "me/run")
    install = "pip install 'slotfill[hub]'"
    assert (result.code, result.err) == (
        2,
        f"slotfill: push needs huggingface-hub; install it with: {install}\n",
    )


def test_local_runs_never_ask_the_hub(trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert slotfill.load(trained).predict(["hello"])


class HubServer(BaseHTTPRequestHandler):
    """As much of the Hub's interface as a push and a download need, with one repository."""

    files: ClassVar[dict[str, bytes]] = {}
    commit = "c" * 40

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path = self.path.removeprefix("/api/")
        if path == "repos/create":
            answer: dict = {"url": f"http://{self.headers['Host']}/me/run", "id": "me/run"}
        elif path == "validate-yaml":
            answer = {"errors": [], "warnings": []}
        elif path == "models/me/run/preupload/main":
            named = [{"path": file["path"]} for file in json.loads(body)["files"]]
            answer = {
                "files": [{**f, "uploadMode": "regular", "shouldIgnore": False} for f in named]
            }
        else:
            assert path == "models/me/run/commit/main"
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = b64decode(line["value"]["content"])
            address = f"http://{self.headers['Host']}/me/run/commit/{self.commit}"
            answer = {"commitUrl": address, "commitOid": self.commit, "pullRequestUrl": None}
        self.answer(json.dumps(answer).encode())

    def do_GET(self) -> None:
        path = self.path.removeprefix("/api/models/me/run/").partition("?")[0]
        if path == "revision/main":
            siblings = [{"rfilename": name} for name in self.files]
            answer: object = {"id": "me/run", "sha": self.commit, "siblings": siblings}
            self.answer(json.dumps(answer).encode())
        elif path == f"tree/{self.commit}":
            answer = [
                {"type": "file", "path": name, "size": len(content), "oid": self.checksum(content)}
                for name, content in self.files.items()
            ]
            self.answer(json.dumps(answer).encode())
        else:
            self.answer(self.files[path.rpartition("/")[2]])

    do_HEAD = do_GET

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{self.checksum(content)}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def checksum(self, content: bytes) -> str:
        return sha256(content).hexdigest()

    def log_message(self, *args: object) -> None:
        """Print nothing."""


PUSH_AND_PREDICT = """
import sys
from slotfill.cli.main import main
for words in (["push", sys.argv[1], "me/run"], ["predict", "hf://me/run", "leave Oslo please"]):
    sys.argv[1:] = words
    try:
        main()
    except SystemExit as end:
        assert not end.code
"""


def test_library_of_the_hub_pushes_and_loads(trained, tmp_path, cli):
    pytest.importorskip("huggingface_hub", reason="pip install '.[hub]'")
    with ThreadingHTTPServer(("127.0.0.1", 0), HubServer) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        variables = {"HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_TOKEN": "hf_x"}
        variables |= {"HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}
        try:
            done = subprocess.run(
                [sys.executable, "-c", PUSH_AND_PREDICT, trained],
                env=os.environ | variables,
                capture_output=True,
                text=True,
            )
        finally:
            server.shutdown()
    assert done.stderr == ""
    pushed, predicted = done.stdout.splitlines(keepends=True)
    assert pushed.startswith(f"{variables['HF_ENDPOINT']}/me/run: has the run")
    assert predicted == cli("predict", trained, "leave Oslo please").out
