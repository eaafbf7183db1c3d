"""`gantry imports`: what is being imported, how far it is, and the end or another try of one."""

import argparse
import sys
import time
import urllib.parse
from collections.abc import Callable

from images import errors, interventions, models
from images.commands import bars

#: What the topic says of itself.
TEXT = "the imports: list them, watch them, cancel one, have one done again"
_ABOUT = """\
Every import is a task, and known by the task's id: GET /v2/images/{id}/tasks shows it to its user, the 'list'
here to you. A task is pending (no worker has begun it), processing, success or failure.
"""
#: Seconds between two looks of --watch.
_PAUSE = 1.0


def add(topic: argparse.ArgumentParser) -> None:
    """The words of the topic."""
    topic.description = _ABOUT
    verbs = topic.add_subparsers(required=True, metavar="COMMAND")

    def verb(
        name: str, run: Callable[[argparse.Namespace], int], text: str
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=f"{text}.")
        parser.set_defaults(run=run)
        return parser

    _list_words(verb("list", _list, "the imports that have not ended, oldest first"))
    show = verb("show", _show, "one import")
    show.add_argument("task", metavar="TASK_ID")
    show.add_argument(
        "--watch",
        action="store_true",
        help="until it has ended: exit 0 if it has ended well, else 1",
    )
    cancel = verb(
        "cancel",
        _cancel,
        "end an import as failed: the image is queued again (a copied one stays), what was stored is removed",
    )
    cancel.add_argument("task", metavar="TASK_ID")
    retry = verb(
        "retry",
        _retry,
        "have an import done: a waiting one is called out again, for a failed one a new task is made",
    )
    retry.add_argument("task", metavar="TASK_ID")


def _list_words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those that have ended, too")
    parser.add_argument("--status", choices=["pending", "processing", "success", "failure"])
    parser.add_argument("--image", metavar="IMAGE_ID", help="those of one image")
    parser.add_argument("--project", metavar="PROJECT_ID", help="those of one project")
    parser.add_argument(
        "--limit", type=int, default=1000, help="the newest so many (default: %(default)s)"
    )
    parser.add_argument("--watch", action="store_true", help="until none is left")


def _list(options: argparse.Namespace) -> int:
    if options.limit < 1:
        raise errors.Invalid("--limit must be at least 1")

    def look() -> list[models.Task]:
        return interventions.find(
            every=options.all or options.status in ("success", "failure"),
            most=options.limit,
            status=options.status,
            image_id=options.image,
            owner=options.project,
        )

    _follow(look, until_ended=options.watch)
    return 0


def _follow(look: Callable[[], list[models.Task]], *, until_ended: bool) -> list[models.Task]:
    """Print what there is, and what changes: on a terminal in its place, else as it comes."""
    is_terminal = sys.stdout.isatty()
    drawn, said = 0, set[str]()
    while True:
        found = look()
        lines = [_line(task, is_terminal=is_terminal) for task in found]
        if is_terminal:
            lines = bars.fitted(lines) if until_ended else lines
            print(bars.rewind(drawn), *(f"{one}\n" for one in lines), sep="", end="")
        else:
            print(*(f"{one}\n" for one in lines if one not in said), sep="", end="")
            said |= set(lines)
        sys.stdout.flush()
        drawn = len(lines)
        if not until_ended or not any(task.status in interventions.LIVE for task in found):
            return found
        time.sleep(_PAUSE)


def _line(task: models.Task, *, is_terminal: bool) -> str:
    head = f"{task.id}  {task.status:10}  image {task.image_id or '-'}"
    return f"{head}  {bars.describe(task, bar=is_terminal)}"


def _show(options: argparse.Namespace) -> int:
    task = interventions.get(options.task)
    run = task.run
    print(f"task      {task.id}\nimage     {task.image_id or '-'}\nproject   {task.owner}")
    print(f"asked     {task.created_at:%Y-%m-%d %H:%M:%S} UTC, request {task.request_id or '-'}")
    print(f"method    {_method(task)}")
    if run:
        worker = run.worker if interventions.is_held(task) else "no worker"
        print(f"worker    {worker}, queue {run.queue}, attempt {run.attempt}, {run.deaths} died")
    [task] = _follow(lambda: [interventions.get(options.task)], until_ended=options.watch)
    return 1 if options.watch and task.status != "success" else 0


def _method(task: models.Task) -> str:
    """Where the bytes come from; of a URL its host only, because the rest may hold a secret."""
    document = task.info.input or {}
    method = document.get("import_req", {}).get("method", {})
    url = method.get("uri") or document.get("import_from") or document.get("loc_url") or ""
    host = urllib.parse.urlsplit(url).hostname
    return f"{method.get('name') or task.type}{f' from {host}' if host else ''}"


def _cancel(options: argparse.Namespace) -> int:
    interventions.cancel(options.task)
    print(f"Task {options.task} is cancelled.")
    return 0


def _retry(options: argparse.Namespace) -> int:
    made = interventions.retry(options.task)
    if made == options.task:
        print(f"Task {made} is called out again.")
    else:
        print(f"Task {made} does it again.")
    return 0
