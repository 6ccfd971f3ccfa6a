"""The command label."""

# No `from __future__ import annotations`: Typer would compile every annotation at start-up.

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from slotfill.cli.app import Overrides, Trust, parse_run
from slotfill.cli.output import echo
from slotfill.errors import UsageError, format_count
from slotfill.files import check_new_file, check_not_input, nearest_in_folder

if TYPE_CHECKING:
    from slotfill.cli.labelling.editor import Editor
    from slotfill.cli.labelling.terminal import Terminal
    from slotfill.data.sentence import Sentence
    from slotfill.lab.labelling.session import Session

_POLL_SECONDS = 0.25
_IN_USE = "{}: another process adds labels to it; wait for it, or choose another --labels"


def label(
    file: Annotated[Path, Argument(metavar="FILE", help="Sentences without labels, one a line.")],
    overrides: Overrides = None,
    run: Annotated[
        Path | None,
        Option(
            metavar="RUN",
            parser=parse_run,
            help="The run that predicts the labels, and that training continues.",
            show_default="from scratch",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        Option(
            metavar="FILE",
            help="The labelled sentences, to which each is added.",
            show_default="NAME.labelled.brackets",
        ),
    ] = None,
    slots: Annotated[
        str | None, Option(metavar="NAME,NAME", help="Slots to choose from, besides the run's.")
    ] = None,
    every: Annotated[int, Option(min=0, help="Train again after so many labels; 0: never.")] = 20,
    out: Annotated[
        Path | None,
        Option(help="The run folder that is trained.", show_default="runs/NAME.labelled"),
    ] = None,
    trust: Trust = False,
) -> None:
    """Label sentences in the terminal, the most useful ones first.

    Each sentence is saved as soon as it is labelled; the same command goes on where it was stopped.
    A run is trained in the background on what is labelled, and predicts the next labels.
    """
    from slotfill.cli.labelling.terminal import Terminal
    from slotfill.runs.lock import lock

    if not file.exists():
        raise UsageError(f"{file}: no such file{nearest_in_folder(file)}")
    labels = labels or file.with_suffix(".labelled.brackets")
    check_not_input(labels, [file])
    check_new_file(labels, force=True)
    with ExitStack() as stack:
        stack.callback(lock(labels, _IN_USE))
        if sys.stdout.isatty():
            echo("Reading the sentences ...")
        session = _open_session(file, list(overrides or ()), run, labels, slots, every, out, trust)
        if session.training is not None:
            stack.callback(session.training.stop)
        try:
            with Terminal() as terminal:
                _label_all(session, terminal)
        except KeyboardInterrupt:  # SIGTERM; a terminal gives Ctrl-C as a key.
            _print_end(session)
            raise
    _print_end(session)


def _open_session(
    file: Path,
    overrides: list[str],
    run: Path | None,
    labels: Path,
    slots: str | None,
    every: int,
    out: Path | None,
    trust: bool,
) -> "Session":
    """Return the session of the options of `label`."""
    from slotfill.data.tokenizers import Tokenizer
    from slotfill.lab.labelling.labels import LabelFile
    from slotfill.lab.labelling.session import Session, Trained, read_unlabelled
    from slotfill.lab.labelling.training import (
        BackgroundTraining,
        check_settings,
        why_not_trainable,
    )
    from slotfill.runs.predict import Predictor

    label_file, names = LabelFile(labels), _parse_names(slots)
    problem = why_not_trainable() if every else ""
    if problem:
        echo(f"warning: {problem}; labels are saved, and nothing is trained")
    trains = every > 0 and not problem
    tagger, learned = None if run is None else Predictor.load(run), 0
    if tagger is None or trains or overrides:
        config = check_settings(labels, file, run, overrides)
        tokenizer = Tokenizer(config.data.tokenizer, config.data.normalization)
        intents = config.intent is not None
    training: BackgroundTraining[Trained] | None = None
    if trains:
        out = out or Path("runs", labels.stem)
        training = BackgroundTraining(labels, out, run, overrides, trust=trust)
        if training.has_trained:
            tagger = Predictor.load(training.out)
            learned = len(label_file) if training.is_up_to_date else 0
    if tagger is not None:
        tokenizer, intents = tagger.run.vocab.tokenizer, bool(tagger.run.vocab.intents)
    return Session(
        read_unlabelled(file, label_file, tokenizer),
        label_file,
        tokenizer,
        tagger,
        training,
        every,
        slot_names=names,
        intents=intents,
        learned=learned,
    )


def _parse_names(slots: str | None) -> list[str]:
    """Return the names in the value of --slots."""
    from slotfill.cli.labelling.editor import is_name

    names = [name.strip() for name in (slots or "").split(",") if name.strip()]
    if wrong := [name for name in names if not is_name(name)]:
        raise UsageError(
            f"--slots: '{wrong[0]}' cannot be the name of a slot, which has no spaces and brackets"
        )
    return names


def _label_all(session: "Session", terminal: "Terminal") -> None:
    """Show one sentence after the other until there is none, or the user quits."""
    from slotfill.cli.labelling.editor import Editor

    sentence = session.next()
    while sentence is not None:
        editor = Editor(sentence, session.slot_names, session.intents)
        sentence = _edit(editor, session, terminal)


def _edit(editor: "Editor", session: "Session", terminal: "Terminal") -> "Sentence | None":
    """Edit a sentence until something becomes of it; return the next one, None at the end."""
    while True:
        session.poll()
        terminal.draw(list(editor.render(_describe(session))))
        key = terminal.read_key(_POLL_SECONDS)
        action = None if key is None else editor.press(key)
        if action == "quit":
            return None
        if action == "accept":
            session.accept(editor.result)
            terminal.write("saved", session.labels.render(editor.result).rstrip("\n"))
            return session.next()
        if action == "skip":
            session.skip()
            terminal.write("skipped", editor.sentence.text)
            return session.next()
        if action == "undo":
            try:
                if (sentence := session.undo()) is not None:
                    terminal.write("undone", sentence.text)
                    return sentence
                editor.message = "nothing was labelled since the start"
            except UsageError as error:
                editor.message = str(error)


def _describe(session: "Session") -> str:
    """Return what is labelled, and what the run that predicts has learned of it."""
    status = f"{len(session.labels):,} labelled, {session.count_left:,} left"
    training = session.training
    if training and training.is_running:
        status += "; training ..."
    elif training and training.error:
        status += f"; training failed: {training.error}"
    if session.learned:
        status += f"; predicted by a run that has learned {session.learned:,}"
    return status


def _print_end(session: "Session") -> None:
    """Print what is labelled, and how to train on it."""
    labels, training = session.labels, session.training
    count = format_count(len(labels), "sentence")
    echo(f"{labels.path}: {count}, {len(labels.added):,} of them new")
    if training and session.learned:
        echo(f"{training.out}: a run that has learned {session.learned:,} of them")
    if training and session.learned < len(labels):
        echo(f"To train on all: {shlex.join(training.command)}")
