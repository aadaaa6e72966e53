# SPDX-License-Identifier: Apache-2.0
"""Which time zones can be named, so that the name leads back to the same zone?"""

from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import TYPE_CHECKING

from strongroom_arrow._errors import PayloadError, refusal
from strongroom_arrow._layout import Zoned

if TYPE_CHECKING:
    from strongroom_arrow._layout import Unit

__all__ = ["describe_zone", "restore_zone"]


def describe_zone(zone: dt.tzinfo, unit: Unit, where: str) -> Zoned:
    """The name of *zone*.

    Raises:
        SerializationError: it has none.
    """
    if type(zone) is zoneinfo.ZoneInfo and zone.key is not None:
        return Zoned(unit, "zoneinfo", zone.key)
    if type(zone) is dt.timezone:
        seconds = round(zone.utcoffset(None).total_seconds())
        # Not by equality, which knows neither names nor fractions of a second.
        if repr(zone) == repr(_offset(seconds)):
            return Zoned(unit, "offset", seconds)
    # Nothing of pytz is imported here: if the zone is one of its own, it has been.
    if type(zone).__module__.partition(".")[0] == "pytz" and isinstance(name := getattr(zone, "zone", None), str):
        return Zoned(unit, "pytz", name)
    raise refusal("its time zone has no name that leads back to it; use one of zoneinfo", where)


def restore_zone(zoned: Zoned) -> dt.tzinfo:
    """The zone that `describe_zone` was given."""
    if isinstance(zoned.zone, int):
        return _offset(zoned.zone)
    try:
        if zoned.by == "pytz":
            import pytz  # type: ignore[import-untyped]  # it publishes no types

            zone: dt.tzinfo = pytz.timezone(zoned.zone)
            return zone
        return zoneinfo.ZoneInfo(zoned.zone)
    # Both libraries say with a KeyError that there is no such zone.
    except (KeyError, ValueError, OSError, ModuleNotFoundError) as exc:
        raise PayloadError("its time zone is not known here; pip install tzdata, or pytz if pandas is older") from exc


def _offset(seconds: int) -> dt.timezone:
    return dt.timezone(dt.timedelta(seconds=seconds))
