r"""Text that is safe to print: control characters are shown as escapes.

File names, URIs and messages of decoders come from strangers. An escape sequence in such a text, if
printed unchanged, moves the cursor, recolours the terminal or hides earlier output.
"""

import re

# C0 and C1 controls, DEL, line and paragraph separators, marks that reorder text, and surrogates.
# Surrogates stand for bytes that are not UTF-8, and cannot be encoded for a terminal.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape_control(text: str) -> str:
    r"""Return the text on one line, with each control character as an escape such as `\x1b`.

    Args:
        text: Any text. Printable characters of any script stay unchanged.
    """
    return text if text.isprintable() else _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")
