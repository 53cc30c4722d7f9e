"""The form in which texts are stored for searches, and compared by them."""


def search_key(*texts: str) -> str:
    """Fold letter case and collapse white space, one line for each text, so that no match spans two texts.

    Computed here and stored, because SQLite folds ASCII only and PostgreSQL by its locale.
    """
    return "\n".join(" ".join(text.casefold().split()) for text in texts)
