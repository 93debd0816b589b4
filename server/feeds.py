"""What followers get to hear: a workspace's events through a filter, or one seller's notices, as answers that are ready to be sent.

Cursors are bound to the feed, not to the follower: whoever follows the same gets the same bytes.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reallot.server.convert.decisions import event_message, notification_head
from reallot.server.convert.values import from_us
from reallot.server.errors import workspace_deleted
from reallot.server.languages import LANGUAGE, Catalogue
from reallot.server.tokens import expired, filter_hash, hash_of, make_cursor
from reallot.server.wire import embedded
from reallot.storage import ReadTransaction
from reallot.storage.entities import Event, Json, Notice
from reallot.v1 import event_pb2, event_service_pb2

PAGE = 1_000
"""Events that are read at once."""
_CONTENT, _EVENT_OF_NOTIFICATION = (
    event_service_pb2.WatchResponse.EVENT_FIELD_NUMBER,
    event_pb2.Notification.EVENT_FIELD_NUMBER,
)


class Frame(NamedTuple):
    """An answer that is ready to be sent, and the number of the event or notice in it."""

    number: int
    answer: bytes


class EncodedEvent:
    """An event, encoded once in each language that is asked for. Belongs to one thread."""

    def __init__(self, event: Event) -> None:
        self.event = event
        self._raw: dict[str, bytes] = {}

    def raw(self, speech: Catalogue) -> bytes:
        """Return the serialized message, without match and cursor."""
        found = self._raw.get(speech.language)
        if found is None:
            found = self._raw[speech.language] = event_message(self.event, speech).SerializeToString()
        return found


class Feed(ABC):
    """What some followers follow. Immutable.

    Attributes:
        workspace: The workspace.
        bound: What its cursors are bound to: they are good in every language.
        language: In which it is told; "" = the workspace's.
        key: What is told; feeds with equal ones are the same.
    """

    def __init__(self, database_id: str, workspace: str, bound: bytes) -> None:
        self.workspace = workspace
        self.bound = bound
        self.language = LANGUAGE.get()
        self.key = bound + self.language.encode()
        self._database_id = database_id

    @abstractmethod
    def page(self, tx: ReadTransaction, after: int, speech: Catalogue) -> tuple[int, list[Frame]]:
        """Read on after a number, in a language; return the number that it came to, and what is to be sent up to there.

        Raises:
            ApiError: CURSOR_EXPIRED, what follows the number is no longer kept.
        """

    @abstractmethod
    def heartbeat(self, number: int, now_us: int) -> bytes:
        """Return the answer that says: nothing else happened up to a number."""

    def cursor(self, number: int) -> str:
        """Return the cursor of a follower who has heard everything up to a number."""
        return make_cursor(self._database_id, self.bound, number)

    def alive(self, number: int, now_us: int) -> event_service_pb2.Heartbeat:
        """Return a sign of life."""
        return event_service_pb2.Heartbeat(cursor=self.cursor(number), time=from_us(now_us))


class EventFeed(Feed):
    """A workspace's events through a filter."""

    def __init__(self, database_id: str, workspace: str, filter_: event_service_pb2.EventFilter) -> None:
        super().__init__(database_id, workspace, hash_of("watch", workspace, filter_hash(filter_)))
        self._kinds = frozenset(event_pb2.EventKind.Name(kind).removeprefix("EVENT_KIND_") for kind in filter_.kinds)
        self._record_ids = frozenset(filter_.record_ids)
        self._record_types = frozenset(filter_.record_types)
        self._segment_ids = frozenset(filter_.segment_ids)
        self._owner_changed = filter_.owner_changed

    def match(self, event: Event) -> "event_pb2.Match.ValueType | None":
        """Return how an event stands to the filter; None if it is not sent."""
        draft = event.draft
        if self._kinds and draft.kind not in self._kinds:
            return None
        if self._record_ids and draft.record_id not in self._record_ids:
            return None
        if self._record_types and draft.record_type not in self._record_types:
            return None
        if self._owner_changed and _of(draft.before, "owner") == _of(draft.after, "owner"):
            return None
        if not self._segment_ids:
            return event_pb2.MATCH_UNSPECIFIED
        before, after = (_of(state, "segment_id", "") in self._segment_ids and state is not None for state in (draft.before, draft.after))
        if not before and not after:
            return None
        return event_pb2.MATCH_CHANGED if before and after else event_pb2.MATCH_ENTERED if after else event_pb2.MATCH_LEFT

    def frames(self, events: Iterable[EncodedEvent], speech: Catalogue) -> list[Frame]:
        """Return what is to be sent of some events."""
        found = []
        for event in events:
            if (match := self.match(event.event)) is not None:
                number = event.event.number
                own = event_pb2.Event(match=match, cursor=self.cursor(number))
                found.append(Frame(number, embedded(_CONTENT, event.raw(speech) + own.SerializeToString())))
        return found

    def page(self, tx: ReadTransaction, after: int, speech: Catalogue) -> tuple[int, list[Frame]]:  # noqa: D102
        refuse_expired(tx, self.workspace, after)
        found = tx.events.after(self.workspace, after, PAGE)
        up_to = found[-1].number if len(found) == PAGE else tx.events.last(self.workspace)
        return up_to, self.frames((EncodedEvent(event) for event in found), speech)

    def heartbeat(self, number: int, now_us: int) -> bytes:  # noqa: D102
        return event_service_pb2.WatchResponse(heartbeat=self.alive(number, now_us)).SerializeToString()


class NoticeFeed(Feed):
    """One seller's notices."""

    def __init__(self, database_id: str, workspace: str, seller_id: str) -> None:
        super().__init__(database_id, workspace, hash_of("subscribe", workspace, seller_id))
        self.seller_id = seller_id

    def frame(self, notice: Notice, encoded: EncodedEvent | None, speech: Catalogue) -> Frame:
        """Return what is to be sent of a notice; `encoded` is its event, if it has one."""
        message = notification_head(notice, self.cursor(notice.number), speech).SerializeToString()
        if encoded is not None:
            message += embedded(_EVENT_OF_NOTIFICATION, encoded.raw(speech))
        return Frame(notice.number, embedded(_CONTENT, message))

    def frames(self, notices: Iterable[Notice], speech: Catalogue) -> list[Frame]:
        """Return what is to be sent of the seller's notices."""
        return [self.frame(notice, EncodedEvent(notice.event) if notice.event else None, speech) for notice in notices]

    def page(self, tx: ReadTransaction, after: int, speech: Catalogue) -> tuple[int, list[Frame]]:  # noqa: D102
        refuse_expired(tx, self.workspace, after)
        found = tx.events.notices_after(self.workspace, self.seller_id, after, PAGE)
        return (found[-1].number if len(found) == PAGE else tx.events.last(self.workspace)), self.frames(found, speech)

    def heartbeat(self, number: int, now_us: int) -> bytes:  # noqa: D102
        return event_service_pb2.SubscribeResponse(heartbeat=self.alive(number, now_us)).SerializeToString()


def refuse_deleted(tx: ReadTransaction, workspace: str) -> None:
    """Do nothing unless a workspace was deleted and not made anew.

    Raises:
        ApiError: WORKSPACE_DELETED.
    """
    found = tx.workspaces.get(workspace)
    if found is not None and found.deleted_us is not None:
        raise workspace_deleted(workspace, f"the workspace {workspace!r} was deleted")


def refuse_expired(tx: ReadTransaction, workspace: str, number: int) -> None:
    """Do nothing if all that follows a number in the log is still kept.

    Raises:
        ApiError: CURSOR_EXPIRED, or WORKSPACE_DELETED.
    """
    refuse_deleted(tx, workspace)
    oldest = tx.events.first_retained(workspace)
    if number + 1 < oldest:
        raise expired(number, oldest)


def _of(state: Json, name: str, missing: Json = None) -> Json:
    """Return a part of a record's state, which is None where the record did not exist."""
    found: Mapping[str, Json] = state or {}
    return found.get(name, missing)
