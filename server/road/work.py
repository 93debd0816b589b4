"""A batch on its way through a worker: the records that were claimed, and what has been decided about them so far."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from reallot.server.road.batch import Place, Task
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import RecordColumns
from reallot.storage.entities import Json
from reallot.storage.rechecks import Recheck


@dataclass
class Work:
    """One batch on its way: n records with what is being decided about them."""

    task: Task
    config: WorkspaceConfig
    records: RecordColumns
    segment: npt.NDArray[np.object_]
    """Segment each record will be in, "" = none."""
    segmentation: npt.NDArray[np.object_]
    moved: npt.NDArray[np.bool_]
    released: npt.NDArray[np.bool_]
    assign: npt.NDArray[np.bool_]
    """The rules decide about the owner."""
    keep: npt.NDArray[np.bool_]
    """The owner stays if a rule allows it."""
    status: npt.NDArray[np.object_]
    """Status without an attempt, "" = as it is."""
    only_ineligible: npt.NDArray[np.bool_]
    """Owned record that a run takes only if its owner is no longer eligible."""
    kept_by: npt.NDArray[np.object_]
    """Rule that lets a moved record keep its owner, "" = none."""
    rechecks: list[Recheck] = field(default_factory=list)
    """When answers about records that were segmented can change with the clock alone."""
    next_after: Place | None = None
    """Last record of this batch, if the run has more."""

    def cause(self, row: int) -> Json:
        """Return why a record is on its way."""
        return (self.records.pending_cause[row] or {}) if self.task.kind == "INTAKE" else self.task.cause

    def offered(self, row: int) -> bool:
        """Tell whether a seller has an open offer of a record, who then is dealt with as an owner would be."""
        return bool(self.records.offered_to[row]) and self.records.owner_kind[row] != "SELLER"

    def holder(self, row: int) -> str:
        """Return the seller on whom a record weighs: the owner, or who has an offer of it; "" = nobody."""
        return self.records.owner_id[row] if self.records.owner_kind[row] == "SELLER" else self.records.offered_to[row]

    def quiet(self, row: int) -> bool:
        """Tell whether a record is only taken in: nobody gets it, joins it or hears of it."""
        return self.task.kind == "INTAKE" and bool(self.cause(row).get("quiet"))

    def goes_on(self, row: int) -> bool:
        """Tell whether a run had begun with a record that has lost a race since."""
        return bool(self.cause(row).get("goes_on"))
