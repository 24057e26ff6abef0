"""Copies the pages of the site into one folder that mirrors the repository, which is what `mkdocs.yml` builds from.

A page of `docs/` may so link to any file of the repository, such as a published leaderboard, and the link is right in both places. Neither
Zensical nor MkDocs reads pages from outside one folder. Usage: python docs/tools/stage.py
"""

from __future__ import annotations

import shutil

from pages import ROOT, site_files

STAGE = ROOT / "build" / "pages"


def main() -> None:
    """Fill the folder anew."""
    shutil.rmtree(STAGE, ignore_errors=True)
    files = site_files()
    for path in files:
        copy = STAGE / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    print(f"{len(files)} files in {STAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
