"""`gantry db load_metadefs` and its like: metadata definitions from files, and into files."""

import argparse
import logging
import pathlib
from collections.abc import Callable

from images import commands, errors
from images.metadefs import files

LOG = logging.getLogger(__name__)


def add(verbs: commands.Verbs, spelled: str) -> None:
    """The words of the topic, each `spelled` in this way."""

    def verb(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = verbs.add_parser(
            spelled.format(name), help=text, description=f"{text}."
        )
        parser.set_defaults(run=run)
        return parser

    is_old = spelled != "{}"
    load = verb("load_metadefs", _load, "load metadata definitions, one JSON file a namespace")
    _add_path(load, "a file, or a directory of *.json", is_old=is_old)
    for name, text in _MODES.items():
        load.add_argument(f"--{name}", action="store_true", help=text)
        if is_old:
            load.add_argument(f"old_{name}", metavar=name, nargs="?", help=argparse.SUPPRESS)
    verb("unload_metadefs", _unload, "delete all metadata definitions")
    export = verb("export_metadefs", _export, "write each namespace into a JSON file of its own")
    _add_path(export, "the directory", is_old=is_old)


_MODES = {
    "merge": "add to namespaces that are there what they lack; without it they are skipped",
    "prefer_new": "with --merge: replace what they have by what the files say",
    "overwrite": "with --merge: make them anew, so that nothing of the old ones stays",
}


def _add_path(parser: argparse.ArgumentParser, text: str, *, is_old: bool) -> None:
    usual = "(default: metadata_source_path; to load, where that is missing, what Gantry brings)"
    parser.add_argument("--path", type=pathlib.Path, help=f"{text} {usual}")
    if is_old:
        parser.add_argument("old_path", metavar="path", type=pathlib.Path, nargs="?")


def _path(options: argparse.Namespace) -> pathlib.Path | None:
    path: pathlib.Path | None = options.path or getattr(options, "old_path", None)
    return path


def _mode(options: argparse.Namespace) -> files.Mode:
    """What the flags mean.

    Raises:
        Invalid: they contradict each other.
    """
    merge, prefer_new, overwrite = (
        bool(getattr(options, name) or getattr(options, f"old_{name}", None)) for name in _MODES
    )
    if (prefer_new or overwrite) and not merge:
        raise errors.Invalid(
            "To use --prefer_new or --overwrite you need to combine of these options with --merge option."
        )
    if prefer_new and overwrite:
        raise errors.Invalid(
            "Please provide no more than one option from this list: --prefer_new, --overwrite"
        )
    if prefer_new or overwrite:
        return files.Mode.PREFER_NEW if prefer_new else files.Mode.OVERWRITE
    return files.Mode.MERGE if merge else files.Mode.SKIP


def _load(options: argparse.Namespace) -> int:
    """As Glance's, it ends with 0 whatever was loaded: playbooks run it again and again."""
    try:
        for line in files.load(_path(options), _mode(options)):
            print(line)
    except (errors.Invalid, errors.NotFound) as error:
        LOG.error("%s", error)  # noqa: TRY400 - it says what there is to say
    return 0


def _unload(_: argparse.Namespace) -> int:
    print(f"{files.unload()} namespaces deleted")
    return 0


def _export(options: argparse.Namespace) -> int:
    for line in files.export(_path(options)):
        print(line)
    return 0
