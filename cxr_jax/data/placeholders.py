"""What programs and people write where there is nothing: "nan", "None", "N/A", "[]", "."."""

import re

_WORD = (
    r"nan|nat|none|null|nil|n|n\.?/?\s?a|1\.#(?:qnan|ind)|undefined|unknown|missing|blank|empty|tbd|void|pending|x{3,}|"
    r"(?:report|text|data)? ?(?:is )?(?:not|un)[ -]?(?:available|applicable|known|provided|recorded|specified|given)|"
    r"no (?:report|text|data)(?: (?:available|provided|found|given))?|error|ref|value|name|div/0|false|"
    r"k\.?\s?a|keine angabe"
)
_PLACEHOLDERS = re.compile(rf"(?:{_WORD})(?:[\s,;|/.]+(?:{_WORD}))*", re.IGNORECASE)
_AROUND = " \t\r\n\v\f\u00a0\ufeff\"'`\u201c\u201d\u2018\u2019[](){}<>.,;:!?*_#=~|/\\-\u2013\u2014"
_LETTERS = re.compile(r"[^\W\d_]")


def is_placeholder(cell: str) -> bool:
    """Whether a cell that is not empty says that there is nothing; a number is none."""
    inner = cell.strip(_AROUND)
    return bool(cell.strip()) and (not inner or bool(_PLACEHOLDERS.fullmatch(inner)))


def is_no_report(text: str) -> bool:
    """Whether a text that is not empty cannot be a report: a placeholder, or nothing with a letter in it."""
    return bool(text.strip()) and (not _LETTERS.search(text) or is_placeholder(text))
