"""`python -m contracts.schemas`: write the generated files.

With `--check`, only say which are stale; with `--freeze`, make today's schemas the baseline that later changes are held
against, which a release does (refused where it would break those who built on the last one).
"""

import argparse
import sys

from contracts.schemas.generate import BASELINE, FOLDER, as_text, breaks, files, schemas, stale


def main() -> int:
    """Exit code 1 if the answer is no."""
    parser = argparse.ArgumentParser(prog="python -m contracts.schemas", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; exit 1 if a committed file is stale")
    mode.add_argument("--freeze", action="store_true", help="write the baseline; exit 1 if that would break v1")
    chosen = parser.parse_args()
    if chosen.check:
        return _tell(stale(), "is stale: run `python -m contracts.schemas`")
    if chosen.freeze:
        found = breaks()
        if not found:
            BASELINE.mkdir(exist_ok=True)
            for name, document in schemas().items():
                (BASELINE / name).write_text(as_text(document))
        return _tell(found, "breaks v1")
    for name in stale():
        text = files().get(name)
        (FOLDER / name).unlink() if text is None else (FOLDER / name).write_text(text)
    return 0


def _tell(found: list[str], what: str) -> int:
    for each in found:
        sys.stderr.write(f"{each}: {what}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
