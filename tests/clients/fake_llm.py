"""The APIs of OpenAI and Anthropic as far as their own packages need them, streamed and whole."""

from aiohttp import web

from event_stream import event, stream_events

PIECES = ("Прокси ", "passes ", "every ", "token ", "at ", "once ", "— 快 ", "и ", "без ", "потерь ", "🙂.")
ANSWER = "".join(PIECES)
OPENAI_USAGE = {"prompt_tokens": 7, "completion_tokens": len(PIECES), "total_tokens": 7 + len(PIECES)}


def routes() -> list[web.RouteDef]:
    """Where the packages look for the APIs."""
    return [
        web.post("/v1/chat/completions", chat_completions),
        web.post("/v1/responses", responses),
        web.post("/v1/messages", messages),
    ]


async def chat_completions(request: web.Request) -> web.StreamResponse:
    """OpenAI's Chat Completions."""
    asked = await request.json()
    about = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": asked["model"]}
    if not asked.get("stream"):
        message = {"role": "assistant", "content": ANSWER, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return web.json_response(about | {"object": "chat.completion", "choices": [choice], "usage": OPENAI_USAGE})

    def chunk(delta: dict, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return event(about | {"object": "chat.completion.chunk", "choices": [choice]})

    first = chunk({"role": "assistant", "content": "", "refusal": None})
    deltas = [chunk({"content": piece}) for piece in PIECES]
    return await stream_events(request, [first, *deltas, chunk({}, "stop"), event("[DONE]")])


async def responses(request: web.Request) -> web.StreamResponse:
    """OpenAI's Responses."""
    asked = await request.json()
    if not asked.get("stream"):
        return web.json_response(_response(asked["model"], "completed"))
    return await stream_events(request, _response_events(asked["model"]))


def _response(model: str, status: str) -> dict:
    """A response object, with its output when it is complete."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": status,
        "model": model,
        "output": [_output_item("completed")] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
    }


def _output_item(status: str) -> dict:
    """The one message of a response."""
    content = [_text_part(ANSWER)] if status == "completed" else []
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": status, "content": content}


def _text_part(text: str) -> dict:
    """A piece of output text."""
    return {"type": "output_text", "text": text, "annotations": []}


def _response_events(model: str) -> list[bytes]:
    """A streamed response from its creation to its completion."""
    item = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    parts = [
        ("response.created", {"response": _response(model, "in_progress")}),
        ("response.in_progress", {"response": _response(model, "in_progress")}),
        ("response.output_item.added", {"output_index": 0, "item": _output_item("in_progress")}),
        ("response.content_part.added", item | {"part": _text_part("")}),
        *(("response.output_text.delta", item | {"delta": piece, "logprobs": []}) for piece in PIECES),
        ("response.output_text.done", item | {"text": ANSWER, "logprobs": []}),
        ("response.content_part.done", item | {"part": _text_part(ANSWER)}),
        ("response.output_item.done", {"output_index": 0, "item": _output_item("completed")}),
        ("response.completed", {"response": _response(model, "completed")}),
    ]
    return [event({"type": name, "sequence_number": at} | body, name) for at, (name, body) in enumerate(parts)]


async def messages(request: web.Request) -> web.StreamResponse:
    """Anthropic's Messages."""
    asked = await request.json()
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 1},
    }
    ending = {"stop_reason": "end_turn", "stop_sequence": None}
    if not asked.get("stream"):
        return web.json_response(message | ending | {"content": [{"type": "text", "text": ANSWER}]})
    return await stream_events(request, _message_events(message, ending))


def _message_events(message: dict, ending: dict) -> list[bytes]:
    """A streamed message with pings in the silence before and in the middle of the text."""
    ping = {"type": "ping"}

    def delta(piece: str) -> dict:
        return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}

    parts = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ping,
        *(delta(piece) for piece in PIECES[:5]),
        ping,
        *(delta(piece) for piece in PIECES[5:]),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ending, "usage": {"output_tokens": len(PIECES)}},
        {"type": "message_stop"},
    ]
    return [event(part, part["type"]) for part in parts]
