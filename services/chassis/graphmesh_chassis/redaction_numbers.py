"""Recognises payment cards, IBANs and telephone numbers by their lengths, prefixes and check digits."""

import re
from collections.abc import Iterator, Sequence

from graphmesh_chassis.redaction_patterns import IBAN_LENGTHS

LONG_RUN = 20
"""Digits without a separator that are more than a card, and may begin with one."""
LONGEST_PHONE = 15
LOOKED_BACK = 24
"""Characters before a number whose words say what it is."""
_LETTERS_OF_ID = 16

_BRANDS: Sequence[tuple[range, Sequence[int]]] = (
    (range(400000, 500000), (19, 16, 13)),
    (range(510000, 560000), (16,)),
    (range(222100, 272100), (16,)),
    (range(340000, 350000), (15,)),
    (range(370000, 380000), (15,)),
    (range(300000, 306000), (14, 16)),
    (range(309500, 309600), (14, 16)),
    (range(360000, 370000), (14, 16)),
    (range(380000, 400000), (14, 16)),
    (range(352800, 359000), (16, 17, 18, 19)),
    (range(220000, 220500), (16, 17, 18, 19)),
    (range(500000, 510000), (16, 18, 19, 13)),
    (range(560000, 590000), (16, 18, 19, 13)),
    (range(600000, 700000), (16, 17, 18, 19, 13)),
    (range(810000, 830000), (16, 17, 18, 19)),
)
"""The first six digits of the brands of cards, and their lengths."""
_DIGIT = re.compile("[0-9]")
_SPLIT = re.compile(r"[\t\r\n*]")
_DATE = re.compile(
    r"\(?(?:[0-3]?[0-9][ ./-][01]?[0-9][ ./-](?:19|20)[0-9]{2}(?![0-9])"
    r"|(?:19|20)[0-9]{2}[ ./-][01][0-9][ ./-][0-3][0-9])"
)
_TRUNK = re.compile(r"\(?0[1-9][0-9]{0,10}\)?(?:[ ./-]{0,3}[0-9]{1,8}){0,5}")
_NANP = re.compile(r"(?:1[ .-])?\(?[2-9][0-9]{2}\)?[ .-]{0,2}[2-9][0-9]{2}[ .-]{1,2}[0-9]{4}")
_PHONE_WORDS = re.compile(
    r"(?<![a-z])(?:tel|telephone|telefon|telefono|telefone|phone|fone|mobile|mobil|movil|celular|cell|handy|fax|"
    r"whatsapp|sms|call|appelez|llama|komorka|telefoon)[^0-9\]]{0,12}$"
)
_ID_WORDS = re.compile(
    r"(?:order|invoice|bestell\w{0,10}|rechnung\w{0,8}|auftrag\w{0,8}|commande|facture|pedido|factura|ordine|fattura|"
    r"encomenda|zamowieni\w{0,4}|faktur\w{0,4}|bestelling|factuur|ticket|tracking|kunden\w{0,8}|customer|client|cliente|\bref|\bid|\bno|"
    r"\bnr|article|artikel|sku|#)[^0-9\]]{0,8}$"
)


def numbers_in(view: str, start: int, end: int) -> Iterator[tuple[str, int, int, str]]:
    """Generate kind, begin, end and digits of the cards and telephone numbers in one run of digits and separators."""
    position = start
    for begin, finish, digits in _cards(view, start, end):
        yield from _phones(view, position, begin)
        yield "card", begin, finish, digits
        position = finish
    yield from _phones(view, position, end)


def _cards(view: str, start: int, end: int) -> Iterator[tuple[int, int, str]]:
    if end - start < 13 or _is_part_of_id(view, start, end):
        return
    places = [match.start() for match in _DIGIT.finditer(view, start, end)]
    digits = "".join(view[place] for place in places)
    begins = [index for index, place in enumerate(places) if not index or places[index - 1] != place - 1]
    edges, used = {*begins, len(places)}, 0
    for number, begin in enumerate(begins):
        following = begins[number + 1] if number + 1 < len(begins) else len(places)
        if begin < used or _is_fraction(view, places[begin], following - begin):
            continue
        for length in _lengths(digits[begin : begin + 6]):
            finish = begin + length
            is_long_run = following - begin >= LONG_RUN
            if finish <= len(places) and (finish in edges or is_long_run) and is_luhn(digits[begin:finish]):
                used = following if is_long_run else finish
                yield places[begin], places[used - 1] + 1, digits[begin:finish]
                break


def _lengths(prefix: str) -> Sequence[int]:
    if len(prefix) < 6:
        return ()
    return next((lengths for prefixes, lengths in _BRANDS if int(prefix) in prefixes), ())


def _is_fraction(view: str, start: int, length: int) -> bool:
    return length >= 13 and start >= 2 and view[start - 1] == "." and view[start - 2] in "0123456789"


def _is_part_of_id(view: str, start: int, end: int) -> bool:
    """Whether letters and digits alternate around a run of digits, as in a hash."""
    left, right = start, end
    while left > 0 and start - left < _LETTERS_OF_ID and view[left - 1].isalpha():
        left -= 1
    while right < len(view) and right - end < _LETTERS_OF_ID and view[right].isalpha():
        right += 1
    before = left < start and left > 0 and view[left - 1].isdecimal()
    return before or (right > end and right < len(view) and view[right].isdecimal())


def is_luhn(digits: str) -> bool:
    """Whether the check digit of a card's number is right, and it is not one digit alone."""
    doubled = (int(digit) * 2 for digit in digits[-2::-2])
    total = sum(map(int, digits[-1::-2])) + sum(value - 9 if value > 9 else value for value in doubled)
    return total % 10 == 0 and len(set(digits)) > 1


def iban_at(view: str, start: int) -> tuple[int, str] | None:
    """Return the end and the characters of the IBAN that begins at `start`; None where none does."""
    length = IBAN_LENGTHS.get(view[start : start + 2].upper())
    if length is None:
        return None
    taken, position, gap = list[str](), start, 0
    while position < len(view) and len(taken) < length and gap <= 2:
        character = view[position]
        if character.isascii() and character.isalnum():
            taken.append(character.upper())
            gap = 0
        elif character in " -.":
            gap += 1
        else:
            return None
        position += 1
    characters = "".join(taken)
    if len(taken) < length or (position < len(view) and view[position].isalnum() and view[position - 1].isalnum()):
        return None
    return (position, characters) if is_iban(characters) else None


def is_iban(characters: str) -> bool:
    """Whether the check digits of an IBAN are right."""
    moved = characters[4:] + characters[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _phones(view: str, start: int, end: int) -> Iterator[tuple[str, int, int, str]]:
    while start < end and view[start] not in "+(0123456789":
        start += 1
    if split := _SPLIT.search(view, start, end):
        end = split.start()
    if end - start < 7 or _is_in_word(view, start, end):
        return
    groups = [match.end() for match in re.finditer("[0-9]+", view[start : start + 3 * LONGEST_PHONE])]
    before = view[max(0, start - LOOKED_BACK) : start].lower()
    for finish in reversed([start + group for group in groups if start + group <= end]):
        text = view[start:finish]
        digits = "".join(character for character in text if character in "0123456789")
        if len(digits) <= LONGEST_PHONE + 2 and _is_phone(text, digits, before):
            yield "phone", start, finish, digits
            return


def _is_in_word(view: str, start: int, end: int) -> bool:
    """Whether a run of digits is a part of a word, an id, a path or a number with a fraction."""
    if end < len(view) and (view[end].isalpha() or view[end] == "_"):
        return True
    if not start:
        return False
    before = view[start - 1]
    return before.isalnum() or before in "#_/,." or (before == "-" and start > 1 and view[start - 2].isalnum())


def _is_phone(text: str, digits: str, before: str) -> bool:
    if text.lstrip("(").startswith("+"):
        return 8 <= len(digits) <= LONGEST_PHONE and digits[0] != "0"
    if _DATE.match(text):
        return False
    if 7 <= len(digits) <= LONGEST_PHONE and _PHONE_WORDS.search(before):
        return True
    if _ID_WORDS.search(before):
        return False
    if digits.startswith("00"):
        return 11 <= len(digits) <= LONGEST_PHONE + 2 and digits[2] != "0"
    if _TRUNK.fullmatch(text):
        return (10 if text.isdecimal() else 9) <= len(digits) <= (11 if text.isdecimal() else 12)
    return bool(_NANP.fullmatch(text))
