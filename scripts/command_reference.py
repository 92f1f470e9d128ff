"""Write docs/commands.md from the commands' own help, or (without --update) check that it is current."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.commandline.app import app  # noqa: E402
from pipeline.commandline.launch import COMMANDS  # noqa: E402  (the commands add themselves to the app)

FILE = ROOT / "docs" / "commands.md"


def reference() -> str:
    """Return the text of docs/commands.md."""
    assert COMMANDS
    text = app.generate_docs(output_format="markdown", recursive=True)
    text = re.sub(r"## Table of Contents\n.*?(?=\n\*\*Commands\*\*)", "", text, flags=re.DOTALL)
    return re.sub(r"[ \t]+\n", "\n", f"{text.strip()}\n")


def main() -> None:
    text = reference()
    if "--update" in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        sys.exit("error: docs/commands.md is not what --help says now; run scripts/docs --update")


if __name__ == "__main__":
    main()
