"""The packages of OpenAI and Anthropic through the proxy."""

import asyncio
from collections.abc import Iterator

import pytest

from certificates import Certificates
from fake_llm import ANSWER, PIECES
from harness import DEADLINE, Credentials, Proxy, package
from origin import Site

anthropic = package("anthropic")
openai = package("openai")

QUESTION = [{"role": "user", "content": "Does it pass every token?"}]
CHAT = {"model": "gpt-test", "messages": QUESTION}
RESPONSE = {"model": "gpt-test", "input": "Does it pass every token?"}
MESSAGE = {"model": "claude-test", "max_tokens": 100, "messages": QUESTION}


def options_for(base_url: str) -> dict:
    """What is the same for every client: no second try hides a first that failed."""
    return {"api_key": "not-a-key", "base_url": base_url, "timeout": DEADLINE, "max_retries": 0}


@pytest.fixture
def transport(proxy: Proxy, certificates: Certificates) -> dict:
    """What the HTTP client below a package needs to use the proxy."""
    return {"proxy": proxy.url, "verify": certificates.client}


@pytest.fixture
def openai_client(transport: dict, site: Site) -> Iterator["openai.OpenAI"]:
    """A client of OpenAI."""
    http_client = openai.DefaultHttpxClient(**transport)
    with openai.OpenAI(http_client=http_client, **options_for(site.url("/v1"))) as client:
        yield client


@pytest.fixture
def anthropic_client(transport: dict, site: Site) -> Iterator["anthropic.Anthropic"]:
    """A client of Anthropic."""
    http_client = anthropic.DefaultHttpxClient(**transport)
    with anthropic.Anthropic(http_client=http_client, **options_for(site.url(""))) as client:
        yield client


def test_openai_brings_a_whole_chat_completion(openai_client: "openai.OpenAI"):
    completion = openai_client.chat.completions.create(**CHAT)
    assert completion.choices[0].message.content == ANSWER
    assert completion.usage.completion_tokens == len(PIECES)


def test_openai_streams_a_chat_completion_chunk_by_chunk(openai_client: "openai.OpenAI", site: Site):
    gate = site.origin.gate()
    with openai_client.chat.completions.create(stream=True, extra_headers=gate.headers, **CHAT) as stream:
        chunks = iter(stream)
        assert next(chunks).choices[0].delta.role == "assistant"
        gate.open()
        rest = [chunk.choices[0] for chunk in chunks]
    assert tuple(choice.delta.content for choice in rest[:-1]) == PIECES
    assert rest[-1].finish_reason == "stop"


def test_openai_brings_a_whole_response(openai_client: "openai.OpenAI"):
    assert openai_client.responses.create(**RESPONSE).output_text == ANSWER


def test_openai_streams_a_response_event_by_event(openai_client: "openai.OpenAI", site: Site):
    gate = site.origin.gate()
    with openai_client.responses.create(stream=True, extra_headers=gate.headers, **RESPONSE) as stream:
        events = iter(stream)
        assert next(events).type == "response.created"
        gate.open()
        rest = list(events)
    assert tuple(event.delta for event in rest if event.type == "response.output_text.delta") == PIECES
    assert (rest[-1].type, rest[-1].response.output_text) == ("response.completed", ANSWER)


def test_anthropic_brings_a_whole_message(anthropic_client: "anthropic.Anthropic"):
    assert anthropic_client.messages.create(**MESSAGE).content[0].text == ANSWER


def test_anthropic_streams_a_message_event_by_event(anthropic_client: "anthropic.Anthropic", site: Site):
    gate = site.origin.gate()
    with anthropic_client.messages.create(stream=True, extra_headers=gate.headers, **MESSAGE) as stream:
        events = iter(stream)
        assert next(events).type == "message_start"
        gate.open()
        rest = list(events)
    assert tuple(event.delta.text for event in rest if event.type == "content_block_delta") == PIECES
    assert [event.type for event in rest[-3:]] == ["content_block_stop", "message_delta", "message_stop"]


def test_anthropic_gathers_a_streamed_message(anthropic_client: "anthropic.Anthropic"):
    with anthropic_client.messages.stream(**MESSAGE) as stream:
        assert tuple(stream.text_stream) == PIECES
        final = stream.get_final_message()
    assert (final.content[0].text, final.stop_reason) == (ANSWER, "end_turn")
    assert final.usage.output_tokens == len(PIECES)


def test_many_conversations_stream_at_once(transport: dict, site: Site):
    async def converse(client: "openai.AsyncOpenAI") -> str:
        stream = await client.chat.completions.create(stream=True, **CHAT)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def all_at_once() -> list[str]:
        http_client = openai.DefaultAsyncHttpxClient(**transport)
        async with openai.AsyncOpenAI(http_client=http_client, **options_for(site.url("/v1"))) as client:
            async with asyncio.timeout(DEADLINE):
                return await asyncio.gather(*(converse(client) for _ in range(20)))

    assert asyncio.run(all_at_once()) == [ANSWER] * 20


@pytest.mark.parametrize("credentials", [Credentials("sami", "wrong"), None], ids=["wrong", "none"])
def test_a_refused_password_reads_as_407_and_not_as_a_timeout(
    auth_proxy: Proxy, certificates: Certificates, site: Site, credentials: Credentials | None
):
    transport = {"proxy": auth_proxy.url_for(credentials), "verify": certificates.client}
    http_client = openai.DefaultHttpxClient(**transport)
    with openai.OpenAI(http_client=http_client, **options_for(site.url("/v1"))) as client:
        with pytest.raises(openai.APIError) as raised:
            client.chat.completions.create(**CHAT)
    assert "407" in f"{raised.value} {raised.value.__cause__}"
