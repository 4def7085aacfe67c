"""docs/reference/settings.md lists every setting, with the default and the words of config/default.toml."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from runtime.settings import CHECKOUT, DEFAULTS, variable

_SETTING = re.compile(r"(?P<name>\w+) = (?P<value>.*?)(?:\s+# (?P<meaning>.*))?")


def rows() -> Iterator[str]:
    """The rows of the table, as they are to be."""
    section = ""
    for line in DEFAULTS.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif section and (found := _SETTING.fullmatch(line)):
            name = variable(section, found["name"])
            default = tomllib.loads(line)[found["name"]]
            meaning = (found["meaning"] or "").removeprefix(f"{name}: ")
            shown = str(default).lower() if isinstance(default, bool) else str(default)
            yield f"| `{name}` | {f'`{shown}`' if shown else ''} | {meaning} |"


def test_the_settings_page_lists_every_setting() -> None:
    wanted = list(rows())
    settings = sum(len(section) for section in tomllib.loads(DEFAULTS.read_text()).values())
    text = (CHECKOUT / "docs" / "reference" / "settings.md").read_text()
    found = re.findall(r"^\| `[A-Z_]+` \|.*$", text.partition("## Every setting")[2], re.M)

    assert len(wanted) == settings
    assert found == wanted, "the table is to be:\n" + "\n".join(wanted)
