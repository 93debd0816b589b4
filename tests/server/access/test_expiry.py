"""What is good once is not good for ever: tokens that expire or are withdrawn, keys and certificates that change."""

import asyncio
import hashlib
import json
import time
from pathlib import Path

import grpc
import pytest
from fortress import AUDIENCE, BAD_KEY, ISSUER, OWN, Fortress, entry, key_set, signed
from jwt.algorithms import ECAlgorithm

from reallot.clients import AsyncClient, Security
from reallot.clients.errors import NotAllowed, NotAuthenticated
from reallot.server.access import directory, keys
from reallot.server.access.authentication import Authenticator
from reallot.server.access.directory import Directory, DirectoryError
from reallot.server.access.keys import Keys, KeysUnavailable
from reallot.server.access.principals import GrantError, read_grant
from reallot.server.access.signed import SignedTokens
from reallot.server.errors import ApiError
from reallot.v1 import event_service_pb2

PATIENCE_S = 20


async def drained(call: grpc.aio.UnaryStreamCall) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


async def ended(call: grpc.aio.UnaryStreamCall) -> str:
    """Read a stream to its end, and return the reason."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(drained(call), PATIENCE_S)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    return str(caught.value.details())


async def test_tokens_of_the_file_and_their_end(fortress: Fortress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "LOOK_S", 0.01)
    good, past = "reallot_good", "reallot_past"
    kept = entry("past", past, f"{OWN}:admin", expires="2026-01-01T00:00:00Z")
    kept += '[[certificates]]\nname = "board.example.com"\ngrants = ["*:viewer"]\n'
    fortress.principals.write_text(entry("crm", good, f"{OWN}:viewer") + kept)
    async with fortress.served():
        with pytest.raises(NotAuthenticated, match="has expired"):
            async with AsyncClient(fortress.address, workspace=OWN, security=fortress.security(past)) as client:
                await client.sellers.list()
        async with fortress.channel(fortress.authority, "board.example.com") as channel:
            assert await channel.unary_unary("/reallot.v1.SellerService/ListSellers")(b"") == b""
        async with AsyncClient(fortress.address, workspace=OWN, security=fortress.security()) as client:
            with pytest.raises(NotAuthenticated, match="not accepted"):
                await client.sellers.list()
        file = fortress.file("token")
        file.write_text(good + "\n")
        own = fortress.security()
        shown = Security(True, own.ca_file, own.certificate_file, own.key_file, token_file=file)
        async with AsyncClient(fortress.address, workspace=OWN, security=shown) as client:
            with pytest.raises(NotAllowed):
                await client.config.apply([])
            stream = client.stubs.events.Watch(event_service_pb2.WatchRequest(workspace=OWN))
            await stream.read()
            fortress.principals.write_text("neither this nor that")
            await asyncio.sleep(0.05)
            assert await client.sellers.list() == []
            fortress.principals.write_text(kept)
            assert "not accepted" in await ended(stream)
            with pytest.raises(NotAuthenticated):
                await client.sellers.list()


async def test_a_stream_ends_with_its_token(fortress: Fortress) -> None:
    fortress.principals.write_text("")
    async with fortress.served(jwt_clock_skew_s=0) as walls:
        token = signed("crm", f"{OWN}:integrator", exp=time.time() + 1.5)
        async with AsyncClient(walls.address, security=walls.security(token)) as client:
            stream = client.stubs.events.Watch(event_service_pb2.WatchRequest(workspace=OWN))
            await stream.read()
            assert await ended(stream) == "the token has expired"


async def test_a_certificate_that_is_renewed_is_shown_from_then_on(fortress: Fortress) -> None:
    fortress.principals.write_text("")
    async with fortress.served():
        fortress.stranger.issue_cert("localhost").cert_chain_pems[0].write_to_path(fortress.file("server.pem"))
        renewed = fortress.stranger.issue_cert("localhost")
        renewed.private_key_pem.write_to_path(fortress.file("server.key"))
        renewed.cert_chain_pems[0].write_to_path(fortress.file("server.pem"))
        own = fortress.security(signed("crm", f"{OWN}:viewer"))
        fortress.stranger.cert_pem.write_to_path(fortress.file("new-ca.pem"))
        renewed_trust = Security(True, fortress.file("new-ca.pem"), own.certificate_file, own.key_file, token=own.token)
        async with AsyncClient(fortress.address, workspace=OWN, security=renewed_trust) as client:
            assert await client.sellers.list() == []


async def test_a_signed_token_is_verified_once_and_looked_at_again_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps(key_set()))
    now_s, verified = [time.time()], []

    class Counting(SignedTokens):
        def verify(self, token: str):  # type: ignore[no-untyped-def]
            verified.append(token)
            return super().verify(token)

    found_keys = Keys(str(tmp_path / "keys.json"), 300)
    made = Counting(found_keys, issuer=ISSUER, audience=AUDIENCE, skew_s=30, claim="reallot")
    found = Authenticator(None, made, lambda: now_s[0])
    token = signed("crm", f"{OWN}:viewer", exp=now_s[0] + 3_600)
    for _ in range(3):
        assert (await found.of_token(token)).name == "crm"
    assert len(verified) == 1
    now_s[0] += 301
    await found.of_token(token)
    assert len(verified) == 2
    assert found.known("reallot_" + token) is None
    with pytest.raises(ApiError, match="not accepted"):
        await found.of_token("x" * 100)
    assert len(verified) == 2, "what cannot be a signed token is not even tried"
    found.close()


def test_keys_are_read_again_when_they_age_or_one_is_missing_but_not_for_everybody_who_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, now_s, reads = tmp_path / "keys.json", [0.0], []
    fetched = keys._fetched
    monkeypatch.setattr(keys, "_fetched", lambda source: reads.append(source) or fetched(source))
    found = Keys(str(path), 300, lambda: now_s[0])
    with pytest.raises(KeysUnavailable):
        found.load()
    path.write_text(json.dumps(key_set()))
    now_s[0] = 10
    assert found.of("first") is not None
    assert found.of(None) is not None, "the only key is that of a token which names none"
    for _ in range(100):
        assert found.of("second") is None
    assert len(reads) == 2
    second = json.loads(ECAlgorithm.to_jwk(BAD_KEY.public_key())) | {"kid": "second"}
    shared = {"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "kid": "shared", "alg": "HS256"}
    path.write_text(json.dumps({"keys": [*key_set()["keys"], second, shared, {"kty": "none"}, 7]}))
    now_s[0] = 20
    assert found.of("second") is not None
    assert found.of(None) is None
    assert found.of("shared") is None, "a secret that is shared is no public key"
    path.write_text("gone")
    now_s[0] = 400
    assert found.of("first") is not None, "keys that cannot be read again stay as they were"


@pytest.mark.parametrize("source", ["http://issuer.example.com/keys", "ftp://issuer.example.com/keys", "file:///etc/keys"])
def test_keys_are_not_taken_from_where_anybody_could_answer(source: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Keys(source, 300)


@pytest.mark.parametrize("text", ["", "admin", ":admin", "w:", "w:emperor", "w:seller", "w:admin:ann", "*:seller:ann", "w:operator"])
def test_what_is_no_grant_is_refused(text: str) -> None:
    with pytest.raises(GrantError, match="is no grant"):
        read_grant(text)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("tokens = 7", "tokens"),
        ("[[tokens]]\nname='a'\ngrants=[]\nsha256='short'", r"tokens\.0\.sha256"),
        ("[[tokens]]\nname='a'\ngrants=['w']\nsha256='" + "0" * 64 + "'", "is no grant"),
        ("[[tokens]]\nname='a'\ngrants=[]\nsha256='" + "0" * 64 + "'\nexpires=2026-01-01T00:00:00", "time zone"),
        ("[[token]]\nname='a'", "token: Extra"),
        (entry("a", "x") + entry("a", "y"), "a stands there more than once"),
        (entry("a", "x") + entry("b", "x"), "the same token"),
        ("[[", "at line 1|end of document"),
    ],
)
def test_a_file_of_principals_that_cannot_be_used_is_refused_with_the_place(tmp_path: Path, content: str, fault: str) -> None:
    path = tmp_path / "principals.toml"
    path.write_text(content)
    with pytest.raises(DirectoryError, match=fault):
        Directory(path)
    with pytest.raises(DirectoryError, match="No such file"):
        Directory(tmp_path / "missing.toml")


def test_only_hashes_of_tokens_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "principals.toml"
    path.write_text(entry("crm", "secret", f"{OWN}:viewer"))
    found = Directory(path).of_token(hashlib.sha256(b"secret").hexdigest())
    assert found is not None
    assert "secret" not in repr(found)
