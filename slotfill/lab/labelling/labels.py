"""The file of labelled sentences, to which each is added as soon as it is labelled."""

from __future__ import annotations

from pathlib import Path

from slotfill.data.corpus import read_examples
from slotfill.data.detection import find_formats_by_content, list_formats
from slotfill.data.formats.brackets import Brackets
from slotfill.data.sentence import Example, Sentence
from slotfill.errors import UsageError
from slotfill.files import check_new_file, read_regular_file, write_atomically


class LabelFile:
    """Labelled sentences in brackets, one a line.

    What is in the file stays as it is, also if it is edited while sentences are added.
    """

    def __init__(self, path: Path) -> None:
        """Raises UsageError if `path` cannot be written, and DataError if it cannot be read.

        It is a UsageError, too, if it is no file of labelled sentences in brackets.
        """
        check_new_file(path, force=True)
        _check_brackets(path)
        self.path = path
        self.examples: list[Example] = []
        """The sentences that were there at the start."""
        if path.exists() and path.stat().st_size:
            self.examples = read_examples(path, format="brackets")
        self.added: list[Sentence] = []
        """The sentences that were added since."""
        self._format = Brackets()

    def __len__(self) -> int:
        return len(self.examples) + len(self.added)

    def add(self, sentence: Sentence) -> None:
        """Add a sentence; it is in the file, and on the disk, when this returns."""
        content = self._read()
        write_atomically(self.path, content + self.render(sentence))
        self.added.append(sentence)

    def remove_last(self) -> Sentence:
        """Remove the sentence that was added last, and return it.

        Raises UsageError if it is not at the end of the file any more.
        """
        content, line = self._read(), self.render(self.added[-1])
        if not content.endswith(line):
            raise UsageError(f"{self.path} was changed; remove the last sentence there")
        write_atomically(self.path, content.removesuffix(line))
        return self.added.pop()

    def render(self, sentence: Sentence) -> str:
        """Return the line of a sentence."""
        return self._format.render(sentence, scheme="iob2")

    def _read(self) -> str:
        content = read_regular_file(self.path).decode() if self.path.exists() else ""
        return content if content.endswith("\n") or not content else content + "\n"


def _check_brackets(path: Path) -> None:
    """Raise UsageError if `path` is not for sentences in brackets by its name, or by its content.

    A new file ends in .brackets; one of another name must have slots in brackets already.
    """
    is_new = not path.exists() or not path.stat().st_size
    suffix = Brackets.suffixes[0]
    problem = ""
    if path.suffix.lower() != suffix:
        named = [name for name, part in list_formats() if part.recognizes(path)]
        if is_new or (named and "brackets" not in named):
            problem = f"labelled sentences are saved in brackets, in a file that ends in {suffix}"
    if not is_new and not problem:
        found = find_formats_by_content(path)
        is_named = path.suffix.lower() == suffix
        if found and ("brackets" not in found if is_named else found[0] != "brackets"):
            problem = f"{found[0]}, but labelled sentences are saved in brackets"
        elif not found and not is_named:
            problem = "no sentences with slots in brackets, to which others could be added"
    if problem:
        raise UsageError(f"{path}: {problem}; choose another --labels, as {path.stem}{suffix}")
