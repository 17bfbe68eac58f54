"""The rules of wording that a program can check, for docstrings and comments.

    python -m tests.wording [PATH...]

prints what breaks them; `test_wording_rules` runs it over everything.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
CODE = ("jobs", "models", "pipeline", "infra", "passtream.py")

VERBS = frozenset(
    """
    Abandon Abort Accept Acquire Add Admit Advance Align Allocate Analyze Answer Append Apply
    Ask Assemble Assign Attach Average Await Batch Begin Bound Break Buffer Build Calculate Call
    Cancel Capture Change Check Choose Clear Close Collect Combine Commit Compare Compress
    Compute Connect Consume Continue Convert Copy Correct Count Create Cut Decide Decode
    Decompress Delete Deliver Describe Detect Determine Disable Discard Divide Download Draw
    Drop Embed Emit End Ensure Enter Escape Estimate Evaluate Exclude Execute Expand Explain
    Export Express Extend Extract Fail Feed Fetch Fill Filter Find Finish Fit Flush Follow
    Forget Format Forward Frame Gather Generate Get Give Group Grow Guard Guess Hand Handle Hash
    Hide Hold Ignore Import Include Infer Initialize Install Iterate Join Keep Kill Launch Leave
    Let Limit List Load Locate Lock Log Lower Make Map Mark Match Measure Merge Mix Move Name
    Narrow Normalize Note Notify Offer Open Order Overwrite Own Pack Pad Parse Pass Patch Permit
    Pick Place Plan Poll Predict Prepare Print Probe Produce Project Propose Protect Prove
    Provide Publish Pull Put Quantize Quote Raise Read Reconnect Record Recover Redact Redirect
    Reduce Refresh Refuse Register Release Reload Remember Remove Rename Render Renew Reopen
    Repair Repeat Replace Report Request Require Resample Reserve Reset Resolve Restore Resume
    Retrieve Retry Return Reuse Rewrite Round Run Save Scale Scan Search Seek Select Send
    Separate Serialize Serve Set Show Shut Signal Skip Sleep Sort Spell Split Spool Stage Start
    Stop Store Stream Strip Submit Subtract Sum Summarize Switch Sync Take Test Time Tokenize
    Total Track Transform Translate Trim Truncate Try Undo Unpack Update Upload Use Validate
    Verify Visit Wait Walk Warm Watch Weigh Widen Work Wrap Write Yield Zero
    """.split()  # noqa: SIM905 (one to look into)
)
"""First words that a function's docstring may have."""

NO_VERB = frozenset[str]()
"""Functions whose first line needs no verb, as `module:qualified.name`."""

ENTRY_STARTS = frozenset(("of", "that", "which", "as", "so", "by", "from"))
"""Words that no entry of Args or Attributes begins with: it would only make sense with its key."""

DIALECT = {
    r"\banew\b": "again",
    r"\bout of order\b": "unavailable",
    r"\bto be had\b": "available",
    r"\bheld against\b": "compared with",
    r"\bone a (?:clip|shard|row|file|node|window|batch|actor|line|process)\b": "one per …",
    r"\bso many (?:bytes|samples|seconds|clips|frames|windows|rows)\b": "n …, up to n …",
    r"\b[Ww]hoever\b": "the actor by name",
    r"\b(?:[Ss]ome|[Nn]o)body\b": "the actor by name",
}
"""Phrases of our own that strangers stumble over, with what to write instead."""

_SECTION = re.compile(r"^ *(Args|Attributes|Yields|Returns|Raises|Example|Examples|Note):\s*$")
_ENTRY = re.compile(r"^( *)([*\w][\w, *.\[\]]*): (.+)$")


def findings(path: Path) -> Iterator[str]:
    """Yield a line for each rule that a file breaks."""
    text = path.read_text()
    shown = path.relative_to(ROOT)
    module = ".".join(shown.with_suffix("").parts)
    is_test = shown.parts[0] == "tests"
    for name, node in _documented(ast.parse(text)):
        doc = ast.get_docstring(node) or ""
        where = f"{shown}:{getattr(node, 'lineno', 1)}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and doc and not is_test:
            first = doc.split(maxsplit=1)[0].rstrip(".,:;")
            is_excepted = f"{module}:{name}" in NO_VERB or _is_property(node)
            if first not in VERBS and not is_excepted:
                yield f"{where}: {name}: {first!r} is no verb in the imperative"
        yield from (f"{where}: {name}: {found}" for found in _entries(doc))
    for line, said in _prose(text):
        for pattern, better in DIALECT.items():
            if found := re.search(pattern, said):
                yield f"{shown}:{line}: {found[0]!r}; write {better!r}"


def _documented(tree: ast.Module) -> Iterator[tuple[str, ast.Module | ast.stmt]]:
    yield "module", tree

    def below(parent: ast.AST, prefix: str) -> Iterator[tuple[str, ast.stmt]]:
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield f"{prefix}{node.name}", node
                yield from below(node, f"{prefix}{node.name}.")
            elif isinstance(node, ast.If | ast.Try | ast.With):
                yield from below(node, prefix)

    yield from below(tree, "")


def _is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = (ast.unparse(each).partition("(")[0] for each in node.decorator_list)
    return any(name.endswith(("property", "fixture", ".setter")) for name in names)


def _entries(doc: str) -> Iterator[str]:
    """Yield the entries of Args and Attributes that do not read alone."""
    section, indent = "", 0
    for line in doc.splitlines():
        if match := _SECTION.match(line):
            section, indent = match[1], len(line) - len(line.lstrip()) + 4
        elif section in ("Args", "Attributes") and (match := _ENTRY.match(line)):
            if len(match[1]) != indent:
                continue
            first = match[3].split()[0]
            if first.lower() in ENTRY_STARTS:
                yield f"{match[2]}: begins with {first!r}"
            elif first[0].islower():
                yield f"{match[2]}: begins with a small letter ({first!r})"
        elif line and not line.startswith(" "):
            section = ""


def _prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield comments and strings, each with its line."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or (
            token.type == getattr(tokenize, "FSTRING_MIDDLE", -1)
        ):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def files(paths: list[Path]) -> Iterator[Path]:
    """Yield the Python files among paths and below them."""
    for path in paths:
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


if __name__ == "__main__":
    given = [Path(each).resolve() for each in sys.argv[1:]] or [ROOT / name for name in CODE]
    found = [line for path in files(given) for line in findings(path)]
    print("\n".join(found) or "nothing found")
    sys.exit(bool(found))
