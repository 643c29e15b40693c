"""Write every committed file that is rendered from the contracts: `python -m include.renderers`."""

from __future__ import annotations

from pathlib import Path

from include.renderers import dbt, docs

CHECKOUT = Path(__file__).resolve().parent.parent.parent


def generated_files() -> list[tuple[Path, str]]:
    """Return each rendered file of the checkout with the text that it must have."""
    texts = {Path("docs/tables.md"): docs.tables_page(), **dbt.files()}
    return [(CHECKOUT / path, text) for path, text in texts.items()]


def main() -> None:
    """Bring every rendered file up to date."""
    for path, text in generated_files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
