"""Print a requirement a line that pins each dependency of pyproject.toml to its floor, those of the tests too.

The linters of the extra `dev` are not among them: they run once, at their newest.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
for requirement in [*project["dependencies"], *extras["test"], *extras["interop"], *extras["plot"]]:
    found = re.fullmatch(r"([\w-]+)>=([\w.]+)", requirement)
    if found is None:
        sys.exit(f"pyproject.toml: {requirement!r} has no floor")
    sys.stdout.write(f"{found[1]}=={found[2]}\n")
sys.stdout.write("pyparsing<3.3\n")  # later ones warn of what matplotlib 3.9 calls, and a warning fails a test
