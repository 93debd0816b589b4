"""Which waiting records some sellers may get, as far as the database can tell: what a run for their sake reads. Pure.

The rules themselves are asked later, of what was read: here nothing may be left out that they would give to one of the sellers.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl

from reallot.server.road.pool import Pool
from reallot.server.workspace_config import RuleConfig, SegmentConfig, WorkspaceConfig
from reallot.solver.assignment.problem import Ints
from reallot.solver.segmentation import Conjunct
from reallot.solver.segmentation.lowering import NOW
from reallot.storage import RecordPart

Texts = tuple[tuple[str, tuple[str, ...]], ...]
"""Fields, each with texts: a record has to name one of them."""


def parts_for(config: WorkspaceConfig, pool: Pool, wanted: Ints, record_type: str = "") -> tuple[RecordPart, ...]:
    """Return the records that rules may give to one of the sellers at the places `wanted`; of a type, "" = of all."""
    sellers = _in_place_of(pool, wanted)
    found: dict[RecordPart, None] = {}
    for segment in config.segments.values():
        if record_type in ("", segment.message.record_type):
            found.update(dict.fromkeys(_parts_of(segment, pool, sellers)))
    return tuple(found)


def _in_place_of(pool: Pool, wanted: Ints) -> Ints:
    """Return whom a rule has to fit for one of the sellers to get a record: themselves, unless others stand in for them, and the like."""
    takers = np.where(pool.stand_in >= 0, pool.stand_in, np.arange(len(pool.sellers)))
    return np.flatnonzero(np.isin(takers, wanted))


def _parts_of(segment: SegmentConfig, pool: Pool, sellers: Ints) -> list[RecordPart]:
    texts = [found for rule in segment.rules if rule.group is None and (found := _texts_of(rule, pool, sellers)) is not None]
    # Whoever goes together is read together, and that is known by what the records say.
    if texts and any(rule.message.sticky.required for rule in segment.rules):
        return [RecordPart(segment.message.record_type, segment.id)]
    return [RecordPart(segment.message.record_type, segment.id, found) for found in texts]


def _texts_of(rule: RuleConfig, pool: Pool, sellers: Ints) -> tuple[Texts, ...] | None:
    """Return what records have to name for a rule to give them to one of the sellers; None where it gives them nothing."""
    if rule.target is None:
        fitting, frame = np.intersect1d(pool.listed(rule), sellers), pl.DataFrame()
    else:
        frame = _fitting(rule.target.conjuncts, pool.frame(rule.skills)[sellers.tolist()], pool.now_us)
        fitting = sellers[: frame.height]
    asked = [conjunct for condition in (rule.condition, rule.target) if condition is not None for conjunct in condition.conjuncts]
    named = tuple(_named(conjunct, frame) for conjunct in asked if conjunct.namings)
    return named if len(fitting) and all(any(texts for _, texts in either) for either in named) else None


def _fitting(conjuncts: Iterable[Conjunct], sellers: pl.DataFrame, now_us: int) -> pl.DataFrame:
    """Return the sellers for whom that part of a target holds which asks about sellers alone."""
    for conjunct in conjuncts:
        if conjunct.roots <= {"seller"}:
            sellers = sellers.with_columns(pl.lit(now_us, dtype=pl.Int64).alias(NOW)).filter(conjunct.column.fill_null(value=False))
    return sellers


def _named(conjunct: Conjunct, sellers: pl.DataFrame) -> Texts:
    return tuple((naming.field, naming.texts if not naming.column else _said(sellers[naming.column])) for naming in conjunct.namings)


def _said(column: pl.Series) -> tuple[str, ...]:
    """Return the different texts of a column of texts or of lists of them."""
    texts: Sequence[str] = (column.explode() if column.dtype == pl.List else column).drop_nulls().unique().sort().to_list()
    return tuple(texts)
