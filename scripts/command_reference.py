"""Write docs/commands.md from the commands' own help, or (without --update) check that it is current."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pipeline.commandline.help_groups import EXAMPLES, GroupedApp  # noqa: E402
from pipeline.commandline.launch import app  # noqa: E402  (the commands add themselves to the app)

FILE = ROOT / "docs" / "commands.md"
NAME = "sola-pipeline"


def reference() -> str:
    """Return the text of docs/commands.md: all options of all commands, as `--help-all` shows them."""
    GroupedApp.shows_all = True
    text = app.generate_docs(output_format="markdown", recursive=True)
    text = re.sub(r"## Table of Contents\n.*?(?=\n\*\*Commands\*\*)", "", text, flags=re.DOTALL)
    text = re.sub(r"python -m pipeline(?: -m pipeline)?|command_reference\.py", NAME, text)
    text = re.sub(r"#(?:python-m-pipeline|command-referencepy)-", f"#{NAME}-", text)
    for command, words in EXAMPLES.items():
        usage = re.compile(rf"(^```console\n{NAME} {command}\b(?! COMMAND).*?^```\n)", flags=re.MULTILINE | re.DOTALL)
        text = usage.sub(rf"\1\nExample: `{NAME} {words}`\n", text, count=1)
    first, *others = re.split(r"(?=^\*\*All commands\*\*:)", text, flags=re.MULTILINE)
    kept = [
        others[0],
        *(re.sub(r"\A\*\*All commands\*\*:.*?(?=^#|\Z)", "", one, flags=re.M | re.S) for one in others[1:]),
    ]
    text = first + "".join(kept)
    return re.sub(r"[ \t]+\n", "\n", f"{text.strip()}\n")


def main() -> None:
    text = reference()
    if "--update" in sys.argv[1:]:
        FILE.write_text(text, encoding="utf-8")
    elif not FILE.is_file() or FILE.read_text(encoding="utf-8") != text:
        sys.exit("error: docs/commands.md is not what --help says now; run scripts/docs --update")


if __name__ == "__main__":
    main()
