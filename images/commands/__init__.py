"""The commands of operators, under `gantry`; each module is a topic, and `main` puts them together."""

import argparse
from typing import TypeAlias

#: Where a topic adds its words.
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
