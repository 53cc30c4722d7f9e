"""Splitting of Markdown into passages."""

from graphmesh_retrieval.markdown import (
    MAX_PASSAGE_CHARACTERS,
    TARGET_PASSAGE_CHARACTERS,
    first_heading,
    front_matter_title,
    split_passages,
)
from hypothesis import given
from hypothesis import strategies as st


def split(text: str, **options: bool) -> list[tuple[tuple[str, ...], str]]:
    """Return headings and text of the passages, whose places in the text must be right."""
    passages = split_passages(text, **options)
    assert all(text[passage.start : passage.end] == passage.text for passage in passages)
    return [(passage.headings, passage.text) for passage in passages]


def test_passage_has_the_headings_above_it() -> None:
    """A heading applies until the next one of its level or above; a skipped level is no error."""
    text = "intro\n\n# A\n\none\n\n### B ###\n\ntwo\n\n## C\nthree\n\n# D\n\nfour"
    assert split(text) == [
        ((), "intro"),
        (("A",), "one"),
        (("A", "B"), "two"),
        (("A", "C"), "three"),
        (("D",), "four"),
    ]


def test_setext_headings_are_headings() -> None:
    """`===` marks level 1, `---` level 2."""
    assert split("Top\n===\n\none\n\nSub\n---\n\ntwo") == [
        (("Top",), "one"),
        (("Top", "Sub"), "two"),
    ]


def test_fenced_code_has_no_headings() -> None:
    """Blank lines in a fence do not end its block; an unclosed fence extends to the end of the text."""
    fenced = "```sh\n# no heading\n\nls\n```"
    assert split(f"# A\n\n{fenced}\n\nafter") == [(("A",), f"{fenced}\n\nafter")]
    assert split("~~~\n# A\n```\n\nend") == [((), "~~~\n# A\n```\n\nend")]


def test_front_matter_is_skipped() -> None:
    """A thematic break at the top is not front matter."""
    assert split("---\ntitle: T\ntags: [a]\n---\n# A\n\none") == [(("A",), "one")]
    assert split("---\n\none\n\n---\n\ntwo")[0][1].startswith("---\n\none")


def test_front_matter_states_the_title() -> None:
    """In YAML or TOML, quoted or not; a `title` behind the front matter is text."""
    assert front_matter_title("---\nid: a\ntitle: Fill a pen: how\n---\ntext") == "Fill a pen: how"
    assert front_matter_title('+++\ntitle = "Fill a pen"\n+++\ntext') == "Fill a pen"
    assert front_matter_title("---\nid: a\n---\ntitle: no") == ""
    assert front_matter_title("title: no") == ""


def test_code_of_mdx_is_no_passage() -> None:
    text = "import Tabs from '@theme/Tabs';\n\n# A\n\nexport const x = 1\n\none"
    assert split(text, mdx=True) == [(("A",), "one")]


def test_paragraphs_share_a_passage_within_a_section() -> None:
    """Passages are filled with whole paragraphs of one section."""
    paragraph = "word " * 99 + "end."
    text = f"# A\n\n{paragraph}\n\n{paragraph}\n\n{paragraph}\n\n# B\n\nshort"
    assert [len(section.text) for section in split_passages(text)] == [2 * len(paragraph) + 2, len(paragraph), 5]


def test_long_paragraph_is_split_between_sentences() -> None:
    """No passage exceeds the limit, and no sentence is split."""
    text = "This sentence has exactly some words in it. " * 200
    passages = [section.text for section in split_passages(text)]
    assert max(map(len, passages)) <= MAX_PASSAGE_CHARACTERS
    assert all(passage.startswith("This") and passage.endswith("it.") for passage in passages)


def test_headings_alone_make_no_passage() -> None:
    assert split_passages("# A\n\n## B\n\n#\n") == []


def test_first_heading_of_any_level() -> None:
    assert first_heading("text\n\n## Refunds & returns ##\n\n# Other") == "Refunds & returns"
    assert first_heading("no heading") == ""


@given(st.text(alphabet="ab \t\n#=-`~.日", max_size=400) | st.text(max_size=400))
def test_no_word_is_lost(text: str) -> None:
    """Any text is split without an error; only markup is lost; no passage is empty or too large."""
    found = split_passages(text)
    kept = "".join("".join((*section.headings, section.text)) for section in found)
    assert all(0 < len(section.text) <= MAX_PASSAGE_CHARACTERS for section in found)
    if found and "#" not in text and "---" not in text and "==" not in text:
        assert {c for c in text if c.isalnum()} <= set(kept)


def test_large_texts_are_split_in_linear_time() -> None:
    """Each of these inputs can cause catastrophic backtracking in a regular expression."""
    for unit in (" ", "#", "# ", "\n", "-\n", "```\n", "a", "a\n", "=\n\n", "---\nk:\n"):
        found = split_passages(unit * (500_000 // len(unit)))
        assert all(len(section.text) <= max(MAX_PASSAGE_CHARACTERS, TARGET_PASSAGE_CHARACTERS) for section in found)
