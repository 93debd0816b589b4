"""A made-up company for the demonstration: sellers, leads and the rules between them, all from one seed.

Names, regions, industries and working hours look like life; nothing is taken from a real company.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

START = datetime(2026, 3, 5, 9, 0, tzinfo=UTC)
"""Thursday morning: the demonstration's first day."""

FIRST_NAMES = (
    "Ana Ben Carla Deniz Elif Femi Greta Hugo Ines Jonas Kaito Lena Marta Nils Olga Pavel Quentin Rosa Sven Tara "
    "Umar Vera Wiktor Ximena Yara Zoltan Aisha Bruno Chloe Dario Esra Finn Gwen Hanna Igor Jana Kemal Lucia Milan Noor"
).split()
LAST_NAMES = (
    "Albrecht Bakker Costa Dubois Eriksen Fischer Garcia Horvat Ionescu Jansen Keller Lindqvist Moreau Novak Okafor "
    "Petrov Quinn Rossi Schmidt Tanaka Ulrich Varga Weber Yilmaz Zeman"
).split()
COMPANY_STEMS = "Nord Alpin Blue Terra Quanta Silver Helio Marin Vertex Cedar Orbit Pola Fjord Lumen Ferro".split()
COMPANY_ENDS = "works logistics foods systems energy textiles motors labs media care".split()
INDUSTRIES = ("manufacturing", "retail", "healthcare", "software", "logistics", "energy")
COUNTRY_ZONES = {
    "DE": "Europe/Berlin",
    "AT": "Europe/Vienna",
    "FR": "Europe/Paris",
    "ES": "Europe/Madrid",
    "GB": "Europe/London",
    "US": "America/New_York",
    "CA": "America/Toronto",
    "JP": "Asia/Tokyo",
}
COUNTRY_SHARES = {"DE": 30, "AT": 8, "FR": 14, "ES": 10, "GB": 12, "US": 16, "CA": 6, "JP": 4}
SOURCES = {"web": 45, "referral": 15, "fair": 20, "partner": 20}


@dataclass(frozen=True, slots=True)
class SellerRow:
    """A seller of the made-up company."""

    seller_id: str
    display_name: str
    country: str
    zone: str
    industries: tuple[str, ...]
    skills: dict[str, int]
    team_ids: tuple[str, ...]
    capacity: int
    hours: str


@dataclass(frozen=True, slots=True)
class LeadRow:
    """A lead of the made-up company."""

    record_id: str
    fields: dict[str, str | int | float]
    priority: int
    created: datetime


@dataclass(frozen=True, slots=True)
class Company:
    """Everything the demonstration starts from."""

    sellers: tuple[SellerRow, ...]
    leads: tuple[LeadRow, ...]
    config: dict[str, Any]


def make_company(seed: int, *, leads: int = 2_000, sellers: int = 40) -> Company:
    """Make up a company; the same seed gives the same company."""
    chance = random.Random(seed)  # nosec B311 # made-up data
    return Company(
        sellers=tuple(_sellers(chance, sellers)),
        leads=tuple(_leads(chance, leads)),
        config=configuration(),
    )


def _weighted(chance: random.Random, shares: dict[str, int]) -> str:
    return chance.choices(list(shares), weights=list(shares.values()))[0]


def _sellers(chance: random.Random, count: int) -> Iterator[SellerRow]:
    # Every country has somebody before chance spreads the rest, so that no lead is without a colleague by accident.
    countries = (list(COUNTRY_ZONES) + [_weighted(chance, COUNTRY_SHARES) for _ in range(count)])[:count]
    for index, country in enumerate(countries):
        first = FIRST_NAMES[index % len(FIRST_NAMES)]
        senior = index % 5 == 0
        early = chance.random() < 0.5
        yield SellerRow(
            seller_id=first.lower() + (str(index // len(FIRST_NAMES)) if index >= len(FIRST_NAMES) else ""),
            display_name=f"{first} {chance.choice(LAST_NAMES)}",
            country=country,
            zone=COUNTRY_ZONES[country],
            industries=tuple(sorted(chance.sample(INDUSTRIES, 2))),
            skills={"enterprise": chance.randint(6, 10)} if senior else {"enterprise": chance.randint(1, 4)},
            team_ids=("key-accounts",) if senior else ("field",),
            capacity=chance.choice((30, 40, 50)) if senior else chance.choice((35, 45, 55)),
            hours="Mon-Fri 08:00-12:00, Mon-Fri 13:00-17:00" if early else "Mon-Fri 09:00-12:30, Mon-Fri 13:30-18:00",
        )


def _leads(chance: random.Random, count: int) -> Iterator[LeadRow]:
    for index in range(count):
        company = f"{chance.choice(COMPANY_STEMS)}{chance.choice(COMPANY_ENDS)} {chance.choice(('GmbH', 'SA', 'Ltd', 'Inc', 'AG'))}"
        revenue = round(chance.lognormvariate(12.2, 1.3), -2)
        yield LeadRow(
            record_id=f"lead-{index + 1:04d}",
            fields={
                "company": company,
                "country": _weighted(chance, COUNTRY_SHARES),
                "industry": chance.choice(INDUSTRIES),
                "revenue": revenue,
                "employees": max(1, round(revenue / chance.randint(60_000, 180_000))),
                "source": _weighted(chance, SOURCES),
            },
            priority=80 if revenue >= 1_000_000 else 50,
            created=START - timedelta(minutes=chance.randint(1, 3 * 24 * 60)),
        )


def _segment(priority: int, segment_id: str, name: str, condition: str, sequence: str, rules: list[dict[str, Any]], **more: Any) -> Any:
    resource = {
        "segment_id": segment_id,
        "record_type": "lead",
        "display_name": name,
        "priority": priority,
        "sequence_id": sequence,
        "rules": rules,
        **more,
    }
    return resource | ({"condition": condition} if condition else {"is_default": True})


def _rule(rule_id: str, matching: str, policy: str = "LOAD_BALANCING", **more: Any) -> dict[str, Any]:
    return {"rule_id": rule_id, "target": {"matching": matching}, "policy": f"POLICY_{policy}", **more}


SAME_COUNTRY = "seller.country == record.country"
MOVES = {"accepts_moves": True, "assign_on_move": True}


def configuration() -> dict[str, Any]:
    """Return the demonstration's configuration as a bundle in the shape of the YAML that `reallot apply` reads."""
    return {
        "settings": {
            # The waiting leads are left to the schedule, so that it has something to show.
            "rerun_on": {},
            "seller_fields": [
                {"field_id": "country", "type": "FIELD_TYPE_TEXT"},
                {"field_id": "industries", "type": "FIELD_TYPE_TEXT_LIST"},
            ],
        },
        "teams": [
            {"team_id": "field", "display_name": "Field sales"},
            {"team_id": "key-accounts", "display_name": "Key accounts"},
        ],
        "record_types": [
            {
                "record_type": "lead",
                "display_name": "Lead",
                "title_field": "company",
                "fields": [
                    {"field_id": name, "type": f"FIELD_TYPE_{kind}"}
                    for name, kind in {
                        "company": "TEXT",
                        "country": "TEXT",
                        "industry": "TEXT",
                        "revenue": "DECIMAL",
                        "employees": "INTEGER",
                        "source": "TEXT",
                    }.items()
                ],
            }
        ],
        "sequences": [_sequence(*row) for row in SEQUENCES],
        "segments": _segments(),
        "triggers": [{"trigger_id": "revenue-corrected", "record_type": "lead", "fields": ["revenue"]}],
        "schedules": [
            {
                "schedule_id": "workday-mornings",
                "display_name": "Try the unassigned again every workday morning",
                "cron": "0 6 * * 1-5",
                "time_zone": "Europe/Berlin",
                "selection": {
                    "record_type": "lead",
                    "statuses": ["ASSIGNMENT_STATUS_NO_CAPACITY", "ASSIGNMENT_STATUS_NO_AVAILABILITY"],
                },
            }
        ],
    }


SEQUENCES = (
    ("enterprise-outreach", "Enterprise outreach", ("call", "email", "call")),
    ("smb-nurture", "SMB nurture", ("email", "wait", "email")),
    ("referral-welcome", "Referral welcome", ("call", "email")),
)


def _sequence(sequence_id: str, name: str, steps: tuple[str, ...]) -> dict[str, Any]:
    bodies: dict[str, dict[str, Any]] = {
        "call": {"call": {"subject": "Introduce yourself"}},
        "email": {"email": {"template": "intro"}},
        "wait": {"wait": {"duration": "172800s"}},
    }
    return {
        "sequence_id": sequence_id,
        "record_type": "lead",
        "display_name": name,
        "steps": [{"step_id": f"{number}-{kind}", **bodies[kind]} for number, kind in enumerate(steps, 1)],
    }


def _segments() -> list[dict[str, Any]]:
    skilled = "seller.skills.enterprise >= 6"
    return [
        _segment(
            1,
            "enterprise",
            "Enterprise",
            "record.revenue >= 1000000.0",
            "enterprise-outreach",
            [
                _rule("same-country", f"{skilled} && {SAME_COUNTRY}", "ROUND_ROBIN"),
                _rule("anywhere", skilled, "ROUND_ROBIN"),
            ],
            **MOVES,
        ),
        _segment(
            2,
            "referrals",
            "Referrals",
            'record.source == "referral"',
            "referral-welcome",
            [_rule("same-country", SAME_COUNTRY, "ROUND_ROBIN")],
            **MOVES,
        ),
        _segment(
            3,
            "dach-industry",
            "DACH manufacturing and energy",
            'record.country in ["DE", "AT"] && record.industry in ["manufacturing", "energy"]',
            "smb-nurture",
            [_rule("dach", 'seller.country in ["DE", "AT"]')],
            **MOVES,
        ),
        _segment(4, "dach", "DACH", 'record.country in ["DE", "AT"]', "smb-nurture", [_rule("same-country", SAME_COUNTRY)], **MOVES),
        _segment(
            5,
            "france-spain",
            "France and Spain",
            'record.country in ["FR", "ES"]',
            "smb-nurture",
            [_rule("same-country", SAME_COUNTRY)],
        ),
        _segment(6, "britain", "Britain", 'record.country == "GB"', "smb-nurture", [_rule("same-country", SAME_COUNTRY)]),
        _segment(7, "america", "North America", 'record.country in ["US", "CA"]', "smb-nurture", [_rule("same-country", SAME_COUNTRY)]),
        _segment(8, "rest", "Rest of the world", "", "smb-nurture", [_rule("same-country", SAME_COUNTRY)]),
    ]
