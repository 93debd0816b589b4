"""Public holidays of countries and their regions. Pure."""

from datetime import date
from functools import cache, lru_cache
from typing import Any


class HolidayError(ValueError):
    """A country or region whose holidays are not known; the text names it."""


def check_holidays(country: str, region: str) -> None:
    """Do nothing if the public holidays of a country (ISO 3166-1 alpha-2) and region (ISO 3166-2 without the country) are known.

    Raises:
        HolidayError: they are not.
    """
    regions = _regions().get(country)
    if regions is None:
        raise HolidayError(f"the public holidays of {country!r} are not known: a country is two capital letters such as DE")
    if region and region not in regions:
        known = f"regions of {country} are {', '.join(sorted(regions))}" if regions else f"{country} has no regions"
        raise HolidayError(f"{region!r} is not known: {known}")


@cache
def _library() -> Any:
    # It computes calendars while it is loaded, a quarter of a second for every process; most never ask for a holiday.
    import holidays

    return holidays


@cache
def _regions() -> dict[str, list[str]]:
    found: dict[str, list[str]] = _library().list_supported_countries(include_aliases=False)
    return found


def public_holidays(country: str, region: str, first: date, last: date) -> list[date]:
    """Return the public holidays from `first` to `last`, both included, in order; "" as region gives the nationwide ones."""
    return [day for year in range(first.year, last.year + 1) for day in _of_year(country, region, year) if first <= day <= last]


@lru_cache(maxsize=10_000)
def _of_year(country: str, region: str, year: int) -> tuple[date, ...]:
    # Days in lieu may fall into the year after.
    return tuple(sorted(day for day in _library().country_holidays(country, region or None, years=year) if day.year == year))
