"""What S3, Swift or RBD hold that no record points at: begun uploads, and objects nobody was told of.

The rules are `images.leftovers`': only what bears the name of an image of our own database is touched, and
nothing that the record may mean in some way.
"""

import itertools
import logging
import re
import time
from typing import Any

from images import config, db, errors, file_store, leftovers, statuses, store_client, stores

LOG = logging.getLogger(__name__)

#: One run looks at the images whose id begins with one of these; there may be a million.
_DIGITS = "0123456789abcdef"
_AT_ONCE = 500
_ID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def remove(now: float | None = None) -> int:
    """Remove what no record points at, a sixteenth of it in each run; how many things there were.

    What is young at the time `now` (seconds since 1970, if it is another one) is left alone.
    """
    at = now or time.time()
    digit = _DIGITS[int(at / config.CONF.gantry.upkeep_seconds) % len(_DIGITS)]
    count = 0
    for driver, client in stores.clients():
        try:
            with client.translated(driver):
                count += _clear(driver, client, digit, at)
        except errors.NotFound:  # nothing has been stored yet, so there is no bucket
            continue
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one store, the next ones are looked at
            told = isinstance(error, errors.GantryError)
            text = str(error) if told else type(error).__name__
            LOG.warning("%s cannot be looked at: %s", file_store.name(driver), text)
    return count


def _clear(driver: Any, client: store_client.Client, digit: str, now: float) -> int:
    count = 0
    things = (one for one in client.found(driver, digit) if _ID.fullmatch(one.image_id))
    while some := list(itertools.islice(things, _AT_ONCE)):
        for known in leftovers.known({one.image_id for one in some}):
            for one in some:
                image = known.get(one.image_id)
                if image and _is_nobodys(one, image, now):
                    count += _end(driver, client, one, now)
    return count


def _is_nobodys(one: store_client.Found, image: leftovers.Known, now: float) -> bool:
    """Whether the records say for certain that it is not meant to be here.

    They do not where an image has data, and none of its locations says where. What was never finished may be
    removed all the same, once nothing is under way.
    """
    if image.under_way or now - one.written <= leftovers.YOUNG:
        return False
    if not one.marks:
        return True
    if image.status in ("active", "deactivated") and not image.places:
        return False
    return not any(mark in place for mark in one.marks for place in image.places)


def _end(driver: Any, client: store_client.Client, one: store_client.Found, now: float) -> bool:
    """Remove it. The image's row is locked around what is finished: nothing begins for it meanwhile."""
    if not one.marks:
        client.remove(driver, one)
    else:
        with db.transaction() as session:
            statuses.hold_image(session, one.image_id)
            image = leftovers.look(session, [one.image_id]).get(one.image_id)
            if image is None or not _is_nobodys(one, image, now):
                return False
            client.take_away(driver, one)
    LOG.info("Something of image %s that no record points at is removed", one.image_id)
    return True
