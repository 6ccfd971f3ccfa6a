"""The command `label`: keys on a terminal, and what is saved."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import time
from pathlib import Path

import pytest
from conftest import run_on_terminal, start

import slotfill
from slotfill.cli.labelling.editor import SLOT_KEYS, Editor
from slotfill.data.sentence import Confidence, Slot
from slotfill.data.tokenizers import Tokenizer
from slotfill.runs.environment import STARTED_BY
from slotfill.runs.lock import lock

LEFT, RIGHT, SHIFT_RIGHT, ENTER = "left", "right", "shift-right", "enter"


def make_editor(text="play some jazz in the hall", slots=(), names=("genre", "room"), **options):
    sentence = Tokenizer().tokenize(text)
    sentence.slots = [Slot(*slot) for slot in slots]
    sentence.confidence = Confidence([0.5] * len(slots), 0.5)
    return Editor(sentence, list(names), options.pop("intents", None), **options)


def press(editor, *keys):
    """Press keys, of which a text of several characters is typed; return the last action."""
    action = None
    for key in keys:
        named = key in (
            LEFT,
            RIGHT,
            SHIFT_RIGHT,
            ENTER,
            "space",
            "home",
            "end",
            "tab",
            "escape",
            "backspace",
            "ctrl-c",
            "ctrl-z",
            "delete",
        )
        for each in [key] if named else key:
            action = editor.press(each)
    return action


def values(editor):
    return [(slot.name, editor.result.value(slot)) for slot in editor.result.slots]


def show(editor):
    return [line.plain.replace("\u00a0", " ") for line in editor.render("status")]


def test_one_key_accepts_skips_undoes_and_quits():
    for keys, action in {
        (ENTER,): "accept",
        ("s",): "skip",
        ("u",): "undo",
        ("ctrl-z",): "undo",
        ("q",): "quit",
        ("ctrl-c",): "quit",
    }.items():
        editor = make_editor(slots=[("genre", 2, 3)])
        assert press(editor, *keys) == action and values(editor) == [("genre", "jazz")]


def test_a_slot_is_chosen_for_a_token_a_mark_or_a_slot():
    editor = make_editor()
    assert press(editor, RIGHT, RIGHT, "1") is None
    assert values(editor) == [("genre", "jazz")]
    press(editor, "end", LEFT, "space", RIGHT, "2")
    assert values(editor) == [("genre", "jazz"), ("room", "the hall")]
    press(editor, "home", SHIFT_RIGHT, SHIFT_RIGHT, "2")
    assert values(editor) == [("room", "play some jazz"), ("room", "the hall")], "it overlapped"
    press(editor, LEFT, "1")
    assert values(editor)[0] == ("genre", "play some jazz"), "all of the slot at the cursor"
    press(editor, "x")
    assert values(editor) == [("room", "the hall")]
    press(editor, "home", "space", "end", "delete")
    assert values(editor) == []
    press(editor, "space", LEFT, "escape", "1")
    assert values(editor) == [("genre", "the")], "the mark was left"
    press(editor, *[RIGHT] * 9, *[LEFT] * 9, "2")
    assert values(editor)[0] == ("room", "play"), "the cursor stays in the sentence"


def test_a_name_is_typed_completed_and_made():
    editor = make_editor()
    press(editor, "n", "ro", "tab", ENTER)
    assert values(editor) == [("room", "play")]
    press(editor, "n", "verb")
    assert show(editor)[2].startswith("slot: verb")
    press(editor, ENTER)
    assert editor.message == "verb is a new name; enter again to make it"
    press(editor, ENTER)
    assert values(editor) == [("verb", "play")] and editor.slot_names == ["genre", "room", "verb"]
    press(editor, "n", "rom", ENTER)
    assert editor.message == "rom is a new name (did you mean room?); enter again to make it"
    press(editor, "backspace", "om", ENTER)
    assert values(editor) == [("room", "play")]
    press(editor, "n", "a[b", ENTER)
    assert "cannot be a name" in editor.message
    assert press(editor, "ctrl-c") is None, "it closes the prompt"
    assert press(editor, "n", "x", "backspace", "backspace", "q") == "quit"
    assert press(make_editor(names=()), "1") is None


def test_an_intent_is_needed_where_intents_are_learned():
    editor = make_editor(intents=["play", "light"])
    assert press(editor, ENTER) is None and editor.message == "the sentence needs an intent"
    press(editor, "li", "tab", ENTER)
    assert editor.result.intent == "light" and press(editor, ENTER) == "accept"
    press(editor, "i", "wake", ENTER, ENTER)
    assert editor.result.intent == "wake" and editor.intents[-1] == "wake"
    assert show(editor)[1] == "intent wake"


def test_it_shows_the_slots_their_keys_and_doubt():
    editor = make_editor(slots=[("genre", 1, 3), ("room", 5, 6)])
    assert show(editor) == [
        "status",
        "play [some jazz](genre 0.50) in the [hall](room 0.50)",
        "1:genre  2:room  ",
        "enter accept   ←→ move   space mark   1-9 a-z slot   n slot by name   x no slot",
        "s skip   u undo   q quit",
    ]
    assert show(make_editor(intents=["play"]))[-1] == "i intent   s skip   u undo   q quit"
    many = make_editor(names=[f"s{index}" for index in range(40)])
    assert "11 more by name" in show(many)[2]
    assert press(many, SLOT_KEYS[28]) is None and values(many) == [("s28", "play")]
    press(editor, "z")
    assert show(editor)[-1] == "no slot has the key z; n makes a new one"
    assert set("inqsux").isdisjoint(SLOT_KEYS) and len(set(SLOT_KEYS)) == len(SLOT_KEYS)


def test_control_characters_are_not_sent_to_the_terminal():
    assert "\x1b" not in "".join(show(make_editor("a \x1b[2J b", names=["\x1b[3m"])))


class Labelling:
    """`slotfill label` on a terminal, on which a test types."""

    def __init__(self, *arguments, seconds=60):
        self.controller, terminal = pty.openpty()
        environment = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        self.process = start(
            "label", *arguments, env=environment, stdin=terminal, stdout=terminal, stderr=terminal
        )
        os.close(terminal)
        self.shown = ""
        self.end = time.monotonic() + seconds

    def expect(self, text):
        """Wait until `text` is shown after what was expected before."""
        while text not in self.shown:
            assert select.select([self.controller], [], [], self.end - time.monotonic())[0]
            try:
                block = os.read(self.controller, 65536).decode()
            except OSError:  # The other side is closed.
                raise AssertionError(f"{text!r} is not in {self.shown!r}") from None
            self.shown += re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", block).replace("\r", "")
        self.shown = self.shown.partition(text)[2]

    def type(self, keys, shows):
        """Press keys, and wait for what they show."""
        os.write(self.controller, keys)
        self.expect(shows)

    def end_with(self, keys, shows):
        """Press the last keys; return the exit code."""
        self.type(keys, shows)
        os.close(self.controller)
        return self.process.wait()


def test_labels_are_saved_on_a_terminal_and_labelling_goes_on_where_it_stopped(desk, trained):
    Path("texts.txt").write_text("fly to Lima\nleave Oslo for Rome now\nhello there\n")
    arguments = ("texts.txt", "--run", trained, "--every", "0")
    terminal = Labelling(*arguments)
    terminal.expect("0 labelled, 3 left")
    terminal.type(b"\r", "1 labelled, 2 left")
    terminal.type(b"\r", "2 labelled, 1 left")
    terminal.type(b"u", "1 labelled, 2 left")
    terminal.type(b"s", "skipped")
    terminal.type(b"\x1b[1;2Cn", "slot:")
    terminal.type(b"word\r", "word is a new name")
    terminal.type(b"\r", "](word)")
    assert terminal.end_with(b"\r\r", "texts.labelled.brackets: 3 sentences, 3 of them new") == 0
    lines = Path("texts.labelled.brackets").read_text().splitlines()
    assert len(lines) == 3 and "fly to [Lima](destination)" in lines
    assert sum("](word)" in line for line in lines) == 1
    Path("texts.txt").write_text("fly to Lima\none more\n")
    terminal = Labelling(*arguments)
    terminal.expect("3 labelled, 1 left")
    assert terminal.end_with(b"\x03", "texts.labelled.brackets: 3 sentences, 0 of them new") == 0
    assert Path("texts.labelled.brackets").read_text().splitlines() == lines


def test_sigterm_prints_what_is_labelled(desk):
    Path("texts.txt").write_text("fly to Lima\n")
    terminal = Labelling("texts.txt", "--slots", "city", "--every", "0")
    terminal.expect("1:city")
    terminal.process.terminate()
    assert terminal.end_with(b"", "texts.labelled.brackets: 0 sentences, 0 of them new") == 130


def test_from_zero_with_names_given_in_chinese(desk):
    Path("texts.txt").write_text("\u98db\u53f0\u5317\nup\n")
    terminal = Labelling(
        "texts.txt", "--slots", "way, how", "--every", "0", "--labels", "mine.brackets"
    )
    terminal.expect("1:way")
    assert terminal.end_with(b"1\r\x04", "mine.brackets: 1 sentence, 1 of them new") == 0
    assert Path("mine.brackets").read_text() in ("[up](way)\n", "[\u98db](way)\u53f0\u5317\n")


def test_of_a_sentence_that_is_too_long_for_the_screen_the_part_at_the_cursor_is_shown(desk):
    Path("texts.txt").write_text(" ".join(f"w{index}" for index in range(2000)))
    terminal = Labelling("texts.txt", "--slots", "a", "--every", "0")
    terminal.expect("w0 w1")
    terminal.expect("q quit")
    terminal.type(b"\x1b[F", "w1998 w1999")
    assert terminal.end_with(b"1\r", "texts.labelled.brackets: 1 sentence, 1 of them new") == 0
    assert Path("texts.labelled.brackets").read_text().endswith(" w1998 [w1999](a)\n")


def join(shown):
    """Return what a terminal shows in one line."""
    return " ".join(shown.split())


def test_what_cannot_be_labelled_is_one_line(desk, cli, trained):
    Path("texts.txt").write_text("up\n")
    result = cli("label", "texts.txt")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "slotfill: labelling needs a terminal, and standard input or output is not one\n"
    )
    assert run_on_terminal("label", "texts.txt", TERM="dumb")[0] == 2
    for arguments, message in {
        ("txts.txt",): "txts.txt: no such file; did you mean 'texts.txt'?",
        ("texts.txt", "--run", "rum"): "no run folder rum",
        ("texts.txt", "--slots", "a b"): "--slots: 'a b' cannot be the name of a slot",
        ("texts.txt", "--labels", "texts.txt"): "is read by this command",
        ("texts.txt", "--out", "corpus"): "corpus: not a complete run",
        ("texts.txt", "train.epocs=3"): "train.epocs: unknown key; did you mean 'epochs'?",
        ("texts.txt", "--labels", "q.jsonl"): "choose another --labels, as q.brackets",
        ("texts.txt", "--run", trained, "train.epocs=3"): "train.epocs: unknown key; did you mean",
        ("texts.txt", "--run", trained, "tagger=softmax"): "tagger: cannot change where training",
        ("texts.txt", "--run", trained, "data.valid=v.brackets"): "data.valid: there is no file",
        ("texts.txt", "data.train=corpus"): "data.train: is texts.labelled.brackets; to label in",
        (
            "texts.txt",
            "--run",
            trained,
            "--out",
            trained,
        ): "the run that training continues; choose",
        ("texts.txt", "--out", trained): "was not trained by label, which would replace it; choose",
    }.items():
        # An error that no terminal would change is the one that is reported.
        result = cli("label", *arguments)
        assert result.code in (1, 2) and message in result.err, result.err
        assert result.err.count("\n") == 1 and not result.out


@pytest.mark.slow
def test_a_run_is_trained_in_the_background(desk, trained):
    texts = [f"take the {line} seat to Lima" for line in ("window", "aisle", "first", "last")]
    Path("texts.txt").write_text("\n".join(texts))
    Path("texts.labelled.brackets").write_text("an [aisle](seat) seat to [Oslo](destination)\n" * 9)
    terminal = Labelling("texts.txt", "--run", trained, "--every", "4", seconds=120)
    terminal.expect("9 labelled, 4 left; predicted by a run that has learned 9")
    assert terminal.end_with(b"q", "runs/texts.labelled: a run that has learned 9") == 0
    tagger = slotfill.load("runs/texts.labelled")
    found = [slot.name for slot in tagger.predict(["take an aisle seat to Paris"])[0].slots]
    assert found == ["seat", "destination"]
    assert json.loads(Path("runs/texts.labelled/scores.json").read_text())["continued"][
        "new_slots"
    ] == ["seat"]
    made = json.loads(Path("runs/texts.labelled/environment.json").read_text())
    assert made["started_by"] == "label"


def test_training_in_the_background_ends_with_the_input_of_its_process(desk):
    words = ("train", "tiny.yaml", "train.epochs=100000", "--out", "run")
    process = start(*words, env={STARTED_BY: "label"})
    process.stdin.close()
    with process.stdout, process.stderr:
        assert (process.wait(20), process.stderr.read()) == (1, b"")


@pytest.mark.slow
def test_a_session_that_was_killed_leaves_no_training(desk):
    Path("texts.txt").write_text("up\ndown\nleft\nright\n")
    arguments = ("texts.txt", "--slots", "way", "--every", "1", "train.epochs=100000")
    for ending in (signal.SIGKILL, signal.SIGHUP):
        terminal = Labelling(*arguments)
        terminal.expect("way")
        terminal.type(b"1\r", "training ...")
        while not Path("runs/texts.labelled.partial").exists():
            time.sleep(0.1)
        threads = Path(f"/proc/{terminal.process.pid}/task").glob("*/children")
        (child,) = [int(each) for thread in threads for each in thread.read_text().split()]
        terminal.process.send_signal(ending)
        terminal.process.wait()
        os.close(terminal.controller)
        end = time.monotonic() + 10
        while Path(f"/proc/{child}").exists():
            assert time.monotonic() < end
            time.sleep(0.1)


def test_one_session_at_a_time_adds_labels_to_a_file(desk, cli):
    Path("pool.txt").write_text("play jazz\n")
    unlock = lock(Path("pool.labelled.brackets"), "{}")
    result = cli("label", "pool.txt")
    assert (result.code, result.err) == (
        2, "slotfill: pool.labelled.brackets: another process adds labels to it; wait for it, or"
        " choose another --labels\n",
    )  # fmt: skip
    unlock()
    result = cli("label", "pool.txt", "--every", "0")
    assert result.code == 2 and "labelling needs a terminal" in result.err
    for labels in (".", "", "none/a.brackets", "/dev/null", "pool.txt", "pool.txt/a.brackets"):
        result = cli("label", "pool.txt", "--labels", labels)
        assert (result.code, result.err.count("\n")) == (2, 1)
    assert [path.name for path in Path().glob("pool*")] == ["pool.txt"]
    assert not Path("none").exists() and not Path("/dev/null.lock").exists()
