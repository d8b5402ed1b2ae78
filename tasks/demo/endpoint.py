"""The user's side of the protocol: an endpoint that performs runs, and remembers each call."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tasks.endpoint_api import EndpointIndex, RunAnswer, RunPreprocessed, RunRequest, RunSucceeded
from tasks.schemas import DisplayProperty

Answer = RunAnswer | RunPreprocessed | Response
Performance = Callable[[RunRequest], Answer | Awaitable[Answer]]
"""What a job of the user does with one call."""


class Call(NamedTuple):
    """One call that the endpoint received."""

    action: str
    request: RunRequest | None
    """What was asked for, where the call was about a run."""
    status: int
    """The HTTP status that it was answered with."""


def succeed(request: RunRequest) -> RunAnswer:
    """Perform a run as most jobs do: it works, and gives an output."""
    return RunSucceeded(status="SUCCESS", output={"event": request.event.name})


def accept(request: RunRequest) -> RunPreprocessed:
    """Go on with every run, showing whose event it was."""
    return RunPreprocessed(abort=False, properties=[DisplayProperty(label="Event", text=request.event.id)])


@dataclass
class Endpoint:
    """A user's endpoint, as a Starlette application that tests and the demonstration can script."""

    api_key: str
    index: EndpointIndex | Response = field(default_factory=lambda: EndpointIndex(jobs=[]))
    """What it announces."""
    perform: Performance = succeed
    preprocess: Performance = accept
    calls: list[Call] = field(default_factory=list[Call])
    _refusals: defaultdict[str, deque[int]] = field(default_factory=lambda: defaultdict(deque))

    @property
    def app(self) -> Starlette:
        """The endpoint as an ASGI application."""
        return Starlette(routes=[Route("/", self._answer, methods=["GET", "POST"])])

    def refuse(self, event: str, statuses: Iterable[int]) -> None:
        """Answer the next calls about an event's run with these HTTP statuses."""
        self._refusals[event].extend(statuses)

    def calls_per_run(self, action: str = "EXECUTE_JOB") -> Counter[str]:
        """Count the calls of an action, refused ones too, by run."""
        return Counter(call.request.run.id for call in self.calls if call.request and call.action == action)

    async def _answer(self, request: Request) -> Response:
        action = request.headers.get("x-trigger-action", "")
        about = await _run_request(request, action)
        response = await self._respond(request, action, about)
        self.calls.append(Call(action, about, response.status_code))
        return response

    async def _respond(self, request: Request, action: str, about: RunRequest | None) -> Response:
        if request.headers.get("x-trigger-api-key") != self.api_key:
            return Response(status_code=HTTPStatus.UNAUTHORIZED)
        if about and self._refusals[about.event.id]:
            return Response(status_code=self._refusals[about.event.id].popleft())
        match action:
            case "PING":
                return JSONResponse({"ok": True})
            case "INDEX_ENDPOINT":
                return _written(self.index)
            case "PREPROCESS_RUN" if about:
                return await _perform(self.preprocess, about)
            case "EXECUTE_JOB" if about:
                return await _perform(self.perform, about)
            case _:
                return Response(f"unknown action {action!r}", status_code=HTTPStatus.BAD_REQUEST)


async def _run_request(request: Request, action: str) -> RunRequest | None:
    if action not in ("EXECUTE_JOB", "PREPROCESS_RUN"):
        return None
    return RunRequest.model_validate_json(await request.body())


async def _perform(performance: Performance, request: RunRequest) -> Response:
    answer = performance(request)
    return _written(await answer if isinstance(answer, Awaitable) else answer)


def _written(answer: BaseModel | Response) -> Response:
    if isinstance(answer, Response):
        return answer
    return Response(answer.model_dump_json(), media_type="application/json")
