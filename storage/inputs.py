"""What runs were planned from, kept so that they can be planned again, within one transaction."""

from sqlalchemy import Connection, delete, insert, select

from reallot.storage.tables import run_inputs, runs


class InputRepository:
    """Inputs of runs of all workspaces. Not thread-safe."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, workspace: str, run_id: str, batch: int, content: bytes, time_us: int) -> None:
        """Keep what a batch of a run, counted from 1, was planned from, in the place of what was kept of it."""
        c = run_inputs.c
        self._connection.execute(delete(run_inputs).where(c.workspace == workspace, c.run_id == run_id, c.batch == batch))
        row = {"workspace": workspace, "run_id": run_id, "batch": batch, "content": content, "time_us": time_us}
        self._connection.execute(insert(run_inputs), [row])

    def of(self, workspace: str, run_id: str) -> list[bytes]:
        """Return what the batches of a run were planned from, in order; nothing where it is not kept."""
        c = run_inputs.c
        wanted = select(c.content).where(c.workspace == workspace, c.run_id == run_id).order_by(c.batch)
        return [bytes(content) for content in self._connection.execute(wanted).scalars()]

    def keep_newest(self, workspace: str, kind: str, most: int) -> None:
        """Remove what runs of a kind were planned from, but for the newest `most` batches."""
        c, r = run_inputs.c, runs.c
        of_kind = run_inputs.join(runs, (r.workspace == c.workspace) & (r.run_id == c.run_id) & (r.kind == kind))
        newest_first = select(c.run_id, c.batch).select_from(of_kind).where(c.workspace == workspace)
        for run_id, batch in self._connection.execute(newest_first.order_by(c.time_us.desc(), c.run_id, c.batch).offset(most)).all():
            self._connection.execute(delete(run_inputs).where(c.workspace == workspace, c.run_id == run_id, c.batch == batch))

    def outdated(self, workspace: str, before_us: int) -> bool:
        """Tell whether anything is kept that is older than `before_us`."""
        c = run_inputs.c
        return (
            self._connection.execute(select(c.run_id).where(c.workspace == workspace, c.time_us < before_us).limit(1)).first() is not None
        )

    def forget(self, workspace: str, before_us: int, most: int) -> None:
        """Remove what up to `most` batches that are older than `before_us` were planned from."""
        c = run_inputs.c
        old = select(c.run_id, c.batch).where(c.workspace == workspace, c.time_us < before_us).order_by(c.time_us).limit(most)
        for run_id, batch in self._connection.execute(old).all():
            self._connection.execute(delete(run_inputs).where(c.workspace == workspace, c.run_id == run_id, c.batch == batch))
