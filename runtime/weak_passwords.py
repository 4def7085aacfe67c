"""Weak passwords: those that are guessed first, told without asking anybody.

Nothing leaves this machine: the lists come with zxcvbn, whose most frequent passwords
are those of breaches, and which also knows words with a digit at their end, rows of keys
and dates. The rules are those of NIST SP 800-63B: a length, a list, and what belongs to
the account itself; no rules about kinds of characters.
"""

from __future__ import annotations

import unicodedata

MIN_LENGTH = 8
MAX_LENGTH = 1024

_SCORED = 16
"""Characters up to which a password's guesses are counted: of more, that can take seconds."""
_GUESSABLE = 2
"""Scores below this mean less than a million guesses."""
_FEW = 3
"""Different characters that a password has at least."""

_COMMON = "is one of the passwords that are guessed first. Choose another, for example several words in a row"
_OWN = "is your email address, or the beginning of it"
_BLANK = "has no character that can be seen"


def weakness(password: str, email: str) -> str | None:
    """What is wrong with a new password of the account ``email``; None if nothing. The end of a sentence."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        return f"must have {MIN_LENGTH} to {MAX_LENGTH} characters"
    if all(unicodedata.category(character)[0] in "ZC" for character in password):
        return _BLANK
    plain, address = password.strip().casefold(), email.strip().casefold()
    if plain in (address, address.partition("@")[0]):
        return _OWN
    return _COMMON if _is_guessable(plain, address) else None


def _is_guessable(password: str, email: str) -> bool:
    # Not at the top: the lists take a tenth of a second and some megabytes, and few processes need them.
    from zxcvbn import zxcvbn
    from zxcvbn.matching import RANKED_DICTIONARIES

    if len(set(password)) < _FEW or any(password in known for known in RANKED_DICTIONARIES.values()):
        return True
    if len(password) > _SCORED:
        return False
    return int(zxcvbn(password, user_inputs=[email, *email.split("@")])["score"]) < _GUESSABLE
