"""Events, notices, reasons and explanations in the language of whoever asks, through the public API."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from typer.testing import CliRunner

from reallot.clients import Client, ReallotError, Seller
from reallot.clients.cli import application
from reallot.v1 import (
    assignment_service_pb2,
    event_service_pb2,
    insight_service_pb2,
    record_pb2,
    record_service_pb2,
    seller_pb2,
    seller_service_pb2,
)

from world import Make, World, a_lead, a_rule, a_segment, lead_type, quiet_settings


@contextmanager
def listeners(world: World, *languages: str) -> Iterator[list[Client]]:
    """Give clients of a workspace that ask for languages, "" = for none."""
    with ExitStack() as stack:
        workspace = world.client.inner.workspace
        yield [stack.enter_context(Client(world.address, workspace=workspace, language=name)) for name in languages]


def office(world: World, **settings: object) -> World:
    moves = {"accepts_moves": True, "assign_on_move": True}
    big = a_segment("big", a_rule(), priority=1, condition="record.revenue >= 1000.0", display_name="Enterprise", **moves)
    settings = quiet_settings(**settings)
    world.apply(settings=settings, record_types=[lead_type()], segments=[big, a_segment("small", a_rule(), display_name="SMB")])
    world.sellers(Seller("ana", display_name="Ana", capacity=2))
    world.write(a_lead("l1", company="Acme", revenue=1.0), a_lead("l2", revenue=1.0))
    world.write(a_lead("l3", revenue=1.0))
    world.write(a_lead("l1", revenue=2_000.0))
    return world


def test_everybody_hears_events_and_notices_in_their_language(world: Make) -> None:
    here = office(world())
    said = {
        "de-AT, fr;q=0.9": [
            "Acme ging an Ana beim Eintreffen.",
            "Acme wechselte von SMB zu Enterprise, weil sich revenue geändert hat; Besitzer bleibt Ana.",
        ],
        "": ["Acme went to Ana on arrival.", "Acme moved from SMB to Enterprise because revenue changed; Ana keeps it."],
    }
    with listeners(here, *said) as clients:
        for client, wanted in zip(clients, said.values(), strict=True):
            request = event_service_pb2.ListEventsRequest(filter=event_service_pb2.EventFilter(record_ids=["l1"]))
            listed = list(client.iterate(client.inner.pages(client.inner.stubs.events.ListEvents, request, "events")))
            assert [event.sentence.sentence_id for event in listed] == ["created", "assigned", "changed", "resegmented"]
            assert [event.sentence.text for event in listed[1::2]] == wanted
            notices = client.stubs.events.ListNotifications(event_service_pb2.ListNotificationsRequest(seller_id="ana")).notifications
            assert [n.event.sentence.text for n in notices if n.event.record_id == "l1"] == wanted
        moved = [client.iterate(client.inner.events.watch(cursor=listed[-2].cursor, record_ids=["l1"])) for client in clients]
        followed = [next(events) for events in moved]
        assert [event.sentence.text for event in followed] == [wanted[-1] for wanted in said.values()]
        assert followed[0].sentence.parameters["because"] == ", weil sich revenue geändert hat"
        assert followed[0].cursor == followed[1].cursor


def test_reasons_and_explanations_come_in_the_caller_s_language_and_the_workspace_s_is_the_default(world: Make) -> None:
    here = office(world(), language="de")
    german, english = (
        "der eine passende Verkäufer hat keine freie Kapazität",
        "the one fitting seller has no free capacity",
    )
    with listeners(here, "", "en", "fr") as clients:
        for client, wanted in zip(clients, (german, english, german), strict=True):
            state = client.records.get("l3").assignment
            assert (state.reason, state.reason_id, dict(state.reason_parameters)) == (wanted, "no_capacity", {"sellers": "1"})
            log = client.stubs.records.ListDecisions(record_service_pb2.ListDecisionsRequest(record_id="l3")).decisions
            assert (log[0].reason, log[0].sentence.text, log[0].sentence.sentence_id) == (wanted, wanted, "no_capacity")
            for prove in (False, True):
                request = insight_service_pb2.ExplainRecordRequest(record_id="l3", prove=prove, other_seller_id="ana" if prove else "")
                told = client.stubs.insight.ExplainRecord(request)
                place = "im Segment SMB und gehört niemandem" if wanted == german else "in the segment SMB and has no owner"
                is_ = "ist" if wanted == german else "is"
                tried = "Es gab 1 Versuch, und" if wanted == german else "It was tried 1 time, and"
                assert told.summary == told.sentence.text
                assert told.summary.startswith(f"l3 {is_} {place}: {wanted}. {tried} ")
                assert told.sentence.sentence_id == "stands_waiting"
            (change,) = told.alternative.changes
            assert ("brauchte" in change.text) == (wanted == german)
        outcome = here.client.stubs.assignment.AssignRecords(
            assignment_service_pb2.AssignRecordsRequest(record_ids=["none"], owner={"seller_id": "ana"})
        )
        assert outcome.results[0].text == "den Datensatz gibt es nicht"
        cause = clients[1].runs.start(cause="because I say so").cause
        assert cause == "because I say so"


def test_reads_that_are_answered_together_keep_their_languages(world: Make) -> None:
    here = office(world())
    request = record_service_pb2.GetRecordRequest(workspace=here.client.inner.workspace, record_id="l3")
    get, languages = here.client.inner.stubs.records.GetRecord, ("de", "en", "") * 20

    async def at_once() -> list[record_pb2.Record]:
        return await asyncio.gather(*(get(request, metadata=(("accept-language", language),)) for language in languages))

    said = [record.assignment.reason.split()[0] for record in here.client.run(at_once())]
    assert said == ["der" if language == "de" else "the" for language in languages]


def test_a_language_that_nobody_speaks_is_refused(world: Make) -> None:
    here = world()
    with pytest.raises(ReallotError) as caught:
        here.apply(settings={"language": "tlh"})
    assert [v.field for v in caught.value.violations] == ["resources[0].settings.language"]


def test_the_command_line_speaks_the_language_of_its_environment(world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    here = office(world())
    monkeypatch.setenv("REALLOT_LANGUAGE", "de")
    words = ["explain", "l3", "--address", here.address, "--workspace", here.client.inner.workspace]
    told = CliRunner().invoke(application("explain"), words)
    assert "l3 ist im Segment SMB und gehört niemandem" in told.output


def test_offers_that_run_out_are_told_in_both_languages(world: Make) -> None:
    here = world()
    leads = a_segment("leads", a_rule("ask", offer={"timeout": "7200s", "out_after": 1}))
    here.apply(settings=quiet_settings(), record_types=[lead_type()], segments=[leads])
    here.sellers(Seller("ana", capacity=5))
    here.write(a_lead("l1", company="Acme"))
    here.advance("2026-03-05T14:00")
    with listeners(here, "de") as (german,):
        for client, texts in (
            (here.client, ("because ana did not answer in time", "let an offer run out")),
            (german, ("denn ana hat nicht rechtzeitig geantwortet", "hat ein Angebot verstreichen lassen")),
        ):
            request = event_service_pb2.ListEventsRequest(filter=event_service_pb2.EventFilter(record_ids=["l1"]))
            events = list(client.iterate(client.inner.pages(client.inner.stubs.events.ListEvents, request, "events")))
            (ended,) = [event for event in events if event.sentence.sentence_id == "offer_ended"]
            assert texts[0] in ended.sentence.text
            assert texts[0].partition(" ")[2] in f"{ended.cause.detail}"
            seller: seller_pb2.Seller = client.stubs.sellers.GetSeller(seller_service_pb2.GetSellerRequest(seller_id="ana"))
            assert seller.not_responding_reason.startswith(texts[1])
