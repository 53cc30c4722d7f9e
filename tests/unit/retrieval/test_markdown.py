"""Markdown becomes passages that can stand alone (F1)."""

from graphmesh_retrieval.domain import Section
from graphmesh_retrieval.markdown import LARGEST, TARGET, first_heading, sections
from hypothesis import given
from hypothesis import strategies as st


def test_a_passage_knows_the_headings_above_it() -> None:
    """A heading stands until one of its level or above; a skipped level is no error."""
    text = "intro\n\n# A\n\none\n\n### B ###\n\ntwo\n\n## C\nthree\n\n# D\n\nfour"
    assert sections(text) == [
        Section((), "intro"),
        Section(("A",), "one"),
        Section(("A", "B"), "two"),
        Section(("A", "C"), "three"),
        Section(("D",), "four"),
    ]


def test_underlined_headings_count_too() -> None:
    """Setext headings are headings."""
    assert sections("Top\n===\n\none\n\nSub\n---\n\ntwo") == [Section(("Top",), "one"), Section(("Top", "Sub"), "two")]


def test_code_is_not_structure() -> None:
    """Inside a fence nothing is a heading, and blank lines part nothing; an open fence goes to the end."""
    fenced = "```sh\n# no heading\n\nls\n```"
    assert sections(f"# A\n\n{fenced}\n\nafter") == [Section(("A",), f"{fenced}\n\nafter")]
    assert sections("~~~\n# A\n```\n\nend") == [Section((), "~~~\n# A\n```\n\nend")]


def test_front_matter_is_no_text() -> None:
    """It is skipped; a rule at the top is not taken for it."""
    assert sections("---\ntitle: T\ntags: [a]\n---\n# A\n\none") == [Section(("A",), "one")]
    assert sections("---\n\none\n\n---\n\ntwo")[0].text.startswith("---\n\none")


def test_small_paragraphs_share_a_passage_and_sections_do_not() -> None:
    """Passages are filled up with whole paragraphs of one section."""
    paragraph = "word " * 99 + "end."
    text = f"# A\n\n{paragraph}\n\n{paragraph}\n\n{paragraph}\n\n# B\n\nshort"
    assert [len(section.text) for section in sections(text)] == [2 * len(paragraph) + 2, len(paragraph), 5]


def test_a_long_paragraph_is_cut_between_sentences() -> None:
    """No passage is larger than it may be, and no sentence is torn where it need not be."""
    text = "This sentence has exactly some words in it. " * 200
    passages = [section.text for section in sections(text)]
    assert max(map(len, passages)) <= LARGEST
    assert all(passage.startswith("This") and passage.endswith("it.") for passage in passages)


def test_headings_alone_make_no_passage() -> None:
    assert sections("# A\n\n## B\n\n#\n") == []


def test_the_first_heading_is_found_at_any_level() -> None:
    assert first_heading("text\n\n## Refunds & returns ##\n\n# Other") == "Refunds & returns"
    assert first_heading("no heading") == ""


@given(st.text(alphabet="ab \t\n#=-`~.日", max_size=400) | st.text(max_size=400))
def test_every_word_of_a_text_is_in_a_passage_or_a_heading(text: str) -> None:
    """Whatever the text: nothing fails, nothing is lost but marks, no passage is empty or too large."""
    found = sections(text)
    kept = "".join("".join((*section.headings, section.text)) for section in found)
    assert all(0 < len(section.text) <= LARGEST for section in found)
    if found and "#" not in text and "---" not in text and "==" not in text:
        assert {c for c in text if c.isalnum()} <= set(kept)


def test_a_megabyte_of_anything_is_cut_in_linear_time() -> None:
    """No input makes the splitter slow: each of these is a known way to trip a regular expression."""
    for unit in (" ", "#", "# ", "\n", "-\n", "```\n", "a", "a\n", "=\n\n", "---\nk:\n"):
        found = sections(unit * (500_000 // len(unit)))
        assert all(len(section.text) <= max(LARGEST, TARGET) for section in found)
