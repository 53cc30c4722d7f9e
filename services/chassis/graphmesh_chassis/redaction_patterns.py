"""The pattern that finds where values may begin. Its parts are bounded or possessive: it never backtracks far."""

import re
from typing import Final

_COUNTRIES = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18
FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20
LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31
SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
IBAN_LENGTHS: Final = {entry[:2]: int(entry[2:]) for entry in _COUNTRIES.split()}
"""The characters of an IBAN by its country."""

_SECRET_KEYS = """
password passwd pwd passphrase secret client_secret api_key apikey access_key secret_key private_key access_token
refresh_token id_token auth_token authorization cookie set_cookie cvv cvc
"""
SECRET_KEYS: Final = frozenset(_SECRET_KEYS.split())
"""Keys of objects whose texts are secrets, in lower case with underscores."""

_WORDS = (
    "passwor[dt]|passwd|passphrase|passcode|pwd|kennwort|contrasena|mot de passe|wachtwoord|senha|has[lł]o|"
    "parola|losenord|sifre|пароль|密码|パスワード|(?:(?:client|app)[_-])?secret|(?:api|access|secret)[_ -]?key|"
    "(?:(?:access|auth|refresh|api|bearer)[_ -]?)?token|(?P<code>cvv2?|cvc2?|pin)"
)
_KEYS = (
    "sk-|[sr]k_live_|[sr]k_test_|AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|xapp-|AIza|hf_|npm_|pypi-|"
    r"SG\.|whsec_|ya29\.|dop_v1_|shpat_|sq0csp-|dapi|key-"
)

TRIGGER: Final = re.compile(
    r"(?P<placeholder>\[(?:card|iban|email|phone|secret|name):[0-9a-f]{4}\])"
    r"|(?P<pem>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)"
    r"|://[^\s/@:\[]{0,256}+:(?P<url>[^\s/\[]{1,256})@"
    r"|(?<![^\W\d_])(?:"
    r"(?<![A-Za-z0-9_-])(?P<jwt>eyJ[A-Za-z0-9_-]{8,}+\.[A-Za-z0-9_-]{8,}+(?:\.[A-Za-z0-9_-]*+)?)"
    rf"|(?<![0-9])(?P<key>(?:{_KEYS})[A-Za-z0-9_-]{{12,}}+)"
    r"|(?i:bearer|basic)[ \t]{1,4}(?P<bearer>[A-Za-z0-9._~+/=-]{12,}+)"
    rf"|(?i:{_WORDS})[\"'*]{{0,3}}(?:[ \t]{{0,4}}(?P<sign>[:=])[ \t]{{0,4}}|[ \t](?:is|ist|est|es|e)[ \t])"
    r"(?:[\"'](?P<quoted>[^\"'\n\[]{3,256})[\"']|[\"'`*]{0,3}(?P<assigned>[^\s\"'`,;\[\]<>{}()]{3,256}))"
    r"|(?<![0-9])(?:[iI][bB][aA][nN][ :.]{0,3})?(?P<iban>[A-Za-z]{2}[0-9]{2})"
    r")"
    r"|(?P<at>@)"
    r"|(?P<number>\+?\(?\+?[0-9](?:[ \t\r\n.\-_/()*]{0,3}[0-9])*+)"
)
"""The group that matched names the kind of what may begin there."""

_ANY: Final = re.compile(r"[0-9@:=]|eyJ|(?i:bearer|basic)|-----BEGIN")
_DOMAIN: Final = re.compile(r"[\w-](?:[\w.-]{0,252})")
_OF_PROSE: Final = re.compile(r"[ \t]{1,4}[^\W\d_]")


def may_match(view: str) -> bool:
    """Whether a folded text has a character that each value has. Most texts of logs and answers have none."""
    return _ANY.search(view) is not None


def domain_end(view: str, start: int) -> int | None:
    """Return the end of the domain of an address; None where none begins at `start`."""
    match = _DOMAIN.match(view, start)
    if match is None:
        return None
    domain = match.group().rstrip(".-_")
    _, dot, last = domain.rpartition(".")
    return start + len(domain) if dot and len(last) >= 2 and not last.isdecimal() else None


def is_secret_value(match: re.Match[str]) -> bool:
    """Whether what follows the word for a secret is one, and neither a sentence nor a count."""
    value = match["assigned"].rstrip(".!?:*")
    if value.isdecimal():
        return match["code"] is not None or len(value) >= 6
    if not value.isalpha():
        return True
    return match["sign"] is not None and len(value) >= 4 and not _OF_PROSE.match(match.string, match.end())
