"""Heat maps as text and as a page: colors and characters match the values, and everything fits."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest

from slotfill.data.sentence import Sentence, Slot
from slotfill.lab.html import printable
from slotfill.lab.inspect import heat_map
from slotfill.lab.inspect import html as heat_map_page
from slotfill.lab.inspect.inspection import Inspection, Panel

TAGS = ["O", "B-to", "I-to", "B-from", "I-from"]


def panel(values, name="forget", kind="units", columns=(), low=0.0, high=1.0):
    return Panel(
        part="encoder 1 (x)",
        layer=1,
        direction="forward",
        name=name,
        kind=kind,
        columns=columns,
        values=np.asarray(values, float),
        low=low,
        high=high,
    )


def shown(*panels, tokens=("a", "b"), tags=("O", "O"), width=80, colors="", slots=()):
    sentence = Sentence.from_tokens(list(tokens), list(slots))
    return list(
        heat_map.render_lines(Inspection(sentence, list(tags), list(panels)), width, colors=colors)
    )


def backgrounds(text):
    """The background of each cell of a line, None if it has the terminal's own."""
    found = [None] * len(text)
    for span in text.spans:
        if span.style and getattr(span.style, "bgcolor", None):
            found[span.start : span.end] = [tuple(span.style.bgcolor.triplet)] * (
                span.end - span.start
            )
    return found


def brightness(color):
    return 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]


def test_sequential_and_diverging_colors():
    rising = [brightness(heat_map.color(value, panel([[0]]))) for value in np.linspace(0, 1, 21)]
    assert rising == sorted(rising)
    around = panel([[0]], low=-2, high=2)
    parted = [heat_map.color(value, around) for value in np.linspace(-2, 2, 21)]
    levels = [brightness(color) for color in parted]
    assert max(levels) == levels[10]
    assert levels[:11] == sorted(levels[:11]) and levels[10:] == sorted(levels[10:], reverse=True)
    assert all(blue > red for red, _, blue in parted[:9]) and all(
        red > blue for red, _, blue in parted[12:]
    )
    assert heat_map.color(9, around) == heat_map.color(2, around), (
        "what is past the end has the color of the end"
    )


def test_only_cells_are_colored():
    values = np.linspace(0, 1, 20).reshape(2, 10)
    rows = shown(panel(values), colors="truecolor")[-2:]
    for row, numbers in zip(rows, values, strict=True):
        colored = [color for color in backgrounds(row) if color]
        assert colored[:: len(colored) // 10] == [
            heat_map.color(value, panel(values)) for value in numbers
        ]
    for line in shown(panel(values), panel(values, low=-1), colors="truecolor"):
        for position, color in enumerate(backgrounds(line)):
            assert color is None or line.plain[position] == " ", (
                "nothing is written on a colored cell"
            )
        assert not any(getattr(span.style, "color", None) for span in line.spans)


def test_values_as_characters():
    rows = shown(panel([[0, 0.25, 0.5, 0.75, 1], [1, 1, 0, 0, 0.1]]))[-2:]
    assert [row.plain.split(" ", 2)[0] for row in rows] == ["a", "b"]
    assert [row.plain[8:] for row in rows] == [
        "".join(c * 8 for c in " ░▒▓█"),
        "".join(c * 8 for c in "██   "),
    ]
    (row,) = shown(panel([[-3, -2, -1, 0, 1, 2, 3]], low=-3, high=3), tokens=["a"], tags=["O"])[-1:]
    assert row.plain[8:] == "".join(c * 8 for c in "≡=-·+*#")


def test_columns_that_do_not_fit_are_averaged():
    lines = shown(panel([[0, 1] * 60, [1, 1] * 60]), width=80)
    assert lines[-3].plain.endswith("2 units a cell")
    assert [line.plain[8:] for line in lines[-2:]] == ["▒" * 60, "█" * 60]
    # 121 in 72: the last cell has one alone.
    assert [len(line.plain[8:]) for line in shown(panel([[0.5] * 121] * 2))[-2:]] == [61, 61]


def test_title_has_mean_and_scale():
    (title,) = [
        line.plain for line in shown(panel([[-1, 0.5], [0.5, 1.5]], "memory", low=-1.5, high=1.5))
    ][-3:-2]
    assert title.startswith("layer 1 forward: memory  mean 0.38  -1.5 ▏") and title.endswith(
        "▕ 1.5"
    )


@pytest.mark.parametrize("width", [40, 80, 132])
@pytest.mark.parametrize("colors", ["", "256", "truecolor"])
@pytest.mark.parametrize(
    "tokens",
    [
        ["leave", "Taipei"],
        ["離開", "台北", "十一月二日"],
        ["x" * 300, "🛫", "👩‍✈️", "e\u0301"],
        ["w"],
        list("abcdefghij") * 7,
    ],
    ids=["words", "chinese", "strange", "one", "seventy"],
)
def test_no_line_is_wider_than_the_terminal(tokens, colors, width):
    count = len(tokens)
    random = np.random.default_rng(1)
    panels = [
        panel(random.random((count, 128))),
        panel(random.normal(size=(count, 3)), "hidden", low=-5.0, high=5.0),
        panel(random.random((count, count)), "weights", "tokens", tokens),
        panel(random.dirichlet(np.ones(5), count), "marginals", "tags", TAGS),
        panel(np.zeros((count, 5)), "feedback", "tags", TAGS),
    ]
    lines = shown(*panels, tokens=tokens, tags=["B-to"] * count, width=width, colors=colors)
    titles = tuple(each.title for each in panels)
    for line in lines[1:]:
        assert line.cell_len <= max(width, 80 if line.plain.startswith(titles) else 0), (
            "a title alone may be wrapped"
        )
    rows = [line for line in lines if line.plain.startswith(printable(tokens[0])[:5])]
    assert len(rows) >= 5 * tokens.count(tokens[0]), "a row for each token in each panel"
    first = next(position for position, line in enumerate(lines) if "▏" in line.plain) + 1
    maps = lines[first : first + count]
    assert len({line.cell_len for line in maps}) == 1, "the cells stand below each other"


def test_wide_characters_take_two_cells():
    rows = shown(panel([[1.0] * 4] * 2), tokens=["離開", "a"])[-2:]
    assert [row.plain[: row.plain.index("1.00")] for row in rows] == ["離開  ", "a     "]


def test_attention_shows_column_labels_or_the_token_with_the_maximum():
    weights = panel([[0.25, 0.75], [1, 0]], "weights", "tokens", ["leave", "Taipei"])
    *_, heads, first, second = (line.plain for line in shown(weights, tokens=["leave", "Taipei"]))
    assert heads.split() == ["max", "leave", "Taipei"]
    assert first.startswith("leave   0.75 ") and second.startswith("Taipei  1.00 ")
    tokens = [f"w{number}" for number in range(60)]
    eye = panel(np.eye(60)[::-1], "weights", "tokens", tokens)
    lines = [line.plain for line in shown(eye, tokens=tokens, tags=["O"] * 60)]
    assert lines[-61].split() == ["max", "at"]
    assert lines[-60].split()[:3] == ["w0", "1.00", "w59"]


def test_tags_are_sorted_by_probability_and_the_predicted_one_is_marked():
    values = [[0.6, 0.3, 0.005, 0.05, 0.045], [0.999, 0.0005, 0.0005, 0, 0]]
    marginals = panel(values, "marginals", "tags", TAGS)
    lines = [line.plain.rstrip() for line in shown(marginals, tags=["B-to", "B-to"])][-6:]
    assert [line.split()[:4] for line in lines[1:4]] == [
        ["a", "O", "0.60", "█" * 19 + "▎"],
        ["*", "B-to", "0.30", "█" * 9 + "▋"],
        ["B-from", "0.05", "█▋"],
    ]
    assert [line.split() for line in lines[4:]] == [
        ["b", "O", "1.00", "█" * 32],
        ["*", "B-to", "0.00"],
    ]
    assert lines[0].endswith("* is the predicted tag")
    feedback = panel(np.zeros((2, 5)), "feedback", "tags", TAGS)
    assert [line.plain.split() for line in shown(feedback)[-2:]] == [["a", "none"], ["b", "none"]]


def test_slots_are_marked_in_the_sentence():
    (first, *_) = shown(tokens=["fly", "to", "New", "York", "now"], slots=[Slot("to", 2, 4)])
    assert first.plain == "fly to [New York](to) now"


def test_control_characters_in_tokens_are_removed():
    lines = shown(panel([[0.5]]), tokens=["a\x1b[31m\x07"], tags=["O"])
    assert not any("\x1b" in line.plain or "\x07" in line.plain for line in lines)


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text by enclosing tag."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, "tags are closed in their order"

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))


def render(*panels, tokens=("fly", "Taipei"), tags=("O", "B-to"), slots=(), run="run"):
    return heat_map_page.render_page(
        Inspection(Sentence.from_tokens(list(tokens), list(slots)), list(tags), list(panels)), run
    )


def test_page_is_self_contained():
    text = render(
        panel([[0, 0.5], [0.25, 1]]),
        panel([[0.1, 0.9]] * 2, "weights", "tokens", ["fly", "Taipei"]),
    )
    page = Page(text)
    assert page.open == []
    assert not {"img", "iframe", "object", "image", "use"} & {tag for tag, _ in page.tags}
    assert "http:" not in text and "https:" not in text
    assert "url(" not in text and "@import" not in text
    targets = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert targets <= {f"#{name}" for name in ids} and len(ids) == len(set(ids)) == 2
    assert "prefers-color-scheme: dark" in text and "@media print" in text


def test_page_has_color_and_exact_value_of_each_cell():
    values = panel([[0, 0.5], [0.25, 0.123456]])
    page = Page(render(values))
    titles = [attributes["title"] for _, attributes in page.tags if "title" in attributes]
    labels = ["fly", "fly, unit 1: 0", "fly, unit 2: 0.5"]
    assert titles == [*labels, "Taipei", "Taipei, unit 1: 0.25", "Taipei, unit 2: 0.12346"]
    styles = [attributes.get("style") for tag, attributes in page.tags if tag == "td"]
    assert list(filter(None, styles)) == [
        "background:#{:02x}{:02x}{:02x}".format(*heat_map.color(value, values))
        for value in values.values.flat
    ]


def test_page_marks_slots_and_shows_the_numbers_of_labelled_cells():
    marginals = panel([[0.9, 0.1, 0, 0, 0], [0, 0.75, 0.25, 0, 0]], "marginals", "tags", TAGS)
    page = Page(render(marginals, slots=[Slot("to", 1, 2)]))
    assert ("mark", "Taipei") in page.texts and ("small", "to") in page.texts
    texts = [text for tag, text in page.texts if tag in ("th", "td")]
    assert texts == [
        "O",
        "B-to",
        "I-to",
        "fly",
        "0.90",
        "0.10",
        "0.00",
        "Taipei",
        "0.00",
        "0.75",
        "0.25",
    ]


def test_page_escapes_html_in_names():
    wicked = "<script>alert('&\"')</script>"
    weights = panel([[1]], "weights", "tokens", [wicked])
    text = render(
        weights,
        panel([[1]], wicked),
        tokens=[wicked],
        tags=["O"],
        slots=[Slot(wicked, 0, 1)],
        run=wicked,
    )
    page = Page(text)
    assert page.open == [] and [tag for tag, _ in page.tags].count("script") == 1
    assert any(wicked in data for _, data in page.texts)


def test_diverging_scale_with_256_colors_is_symmetric():
    """The middle color is pale."""
    values = np.linspace(-1, 1, 9)
    rows = shown(panel(np.array([values, values]), low=-1), colors="256")[-2:]
    codes = list(
        dict.fromkeys(span.style.bgcolor.number for span in rows[0].spans if span.style.bgcolor)
    )
    assert codes == [25, 68, 110, 153, 255, 223, 215, 166, 124]


def test_control_characters_in_names_reach_neither_the_terminal_nor_the_page():
    wicked = "ci\x1b]52;c;ty\u202e\x9b\x07"
    values = panel([[1.0]], "marginals", "tags", [wicked])
    lines = shown(values, tokens=["fly"], tags=[wicked], slots=[Slot(wicked, 0, 1)])
    page = render(values, tokens=["fly"], tags=[wicked], slots=[Slot(wicked, 0, 1)], run=wicked)
    for character in "\x1b\u202e\x9b\x07":
        assert character not in "\n".join(line.plain for line in lines)
        assert character not in page


def test_differences_of_tags_have_a_sign_and_no_star():
    rows = [0.9, 0.1, 0.0], [0.2, 0.5, 0.3]
    one, two = (
        Inspection(
            Sentence.from_tokens([token], []),
            ["O"],
            [
                Panel(
                    part="t",
                    name="marginals",
                    kind="tags",
                    columns=["O", "B-to", "I-to"],
                    values=values,
                )
            ],
        )
        for token, values in zip("ab", (np.array([row]) for row in rows), strict=True)
    )
    lines = [line.plain for line in heat_map.render_lines(one.subtract(two), 60, colors="")]
    assert lines[:2] == ["a", "minus b"]
    found = [line.split() for line in lines[-3:]]
    assert found[0][:5] == ["a", "/", "b", "O", "+0.70"]
    assert [line[:2] for line in found[1:]] == [["B-to", "-0.40"], ["I-to", "-0.30"]]
    assert "*" not in "".join(lines)
