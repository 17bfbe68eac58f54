"""Printing of lines to a terminal, wrapped between words and with control characters escaped."""

import textwrap

from rich.console import Console
from rich.text import Text

from pipeline.printable import escape_control


def print_line(out: Console, line: str, indent: int = 0) -> None:
    """Print one line of text.

    On a terminal, the line is wrapped between words, so that no number or path that fits is split.
    Elsewhere it stays a single line, so that `grep` finds all of it.

    Args:
        out: Console to print to.
        line: Text to print; control characters are shown as escapes.
        indent: Indentation of the lines after the first, in characters.
    """
    line = escape_control(line)
    if out.is_terminal:
        wrapped = textwrap.wrap(
            line,
            max(20 + indent, out.width),
            subsequent_indent=" " * indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        line = "\n".join(wrapped)
    out.print(Text(line), soft_wrap=True)


def print_row(out: Console, name: str, text: str, width: int = 10) -> None:
    """Print a name and its text in two columns.

    Args:
        out: Console to print to.
        name: Name in the first column; empty where the row continues the one before.
        text: Text of the second column.
        width: Width of the first column, in characters.
    """
    print_line(out, f"{name:<{width}} {text}", width + 1)
