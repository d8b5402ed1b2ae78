"""The protocol between us and a user's endpoint: what we ask over HTTP, and what it may answer."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Final, Literal, TypeVar

import httpx
from pydantic import AwareDatetime, BaseModel, Field, JsonValue, TypeAdapter, ValidationError

from tasks.schemas import (
    CatalogModel,
    DisplayProperty,
    DynamicSchedule,
    DynamicTrigger,
    JobMetadata,
    Omittable,
    SourceMetadata,
)
from tasks.settings import Settings

Action = Literal["EXECUTE_JOB", "PREPROCESS_RUN", "INDEX_ENDPOINT", "PING"]

CONNECT_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 30.0


# What went wrong


class EndpointUnavailableError(Exception):
    """The endpoint was not reached, or did not answer 2xx: another try may work.

    Attributes:
        status: The HTTP status, if there was an answer at all.
    """

    def __init__(self, problem: str, status: int | None = None) -> None:
        self.status = status
        super().__init__(problem)


class UnreadableAnswerError(Exception):
    """The endpoint answered 2xx with something that the protocol does not know."""


# What we send


class EventBody(CatalogModel):
    """The event that caused a run."""

    id: str
    name: str
    payload: JsonValue
    context: JsonValue
    timestamp: AwareDatetime


class JobBody(CatalogModel):
    """The job that runs, by its slug."""

    id: str
    version: str


class RunBody(CatalogModel):
    """The run that is performed."""

    id: str
    is_test: bool
    started_at: Omittable[AwareDatetime] = None
    is_retry: bool = False


class EnvironmentBody(CatalogModel):
    """Where the run belongs."""

    id: str
    slug: str
    type: str


class OrganizationBody(CatalogModel):
    """Whose run it is."""

    id: str
    slug: str
    title: str


class AccountBody(CatalogModel):
    """The user's own customer on whose behalf the run happens."""

    id: str
    metadata: Omittable[JsonValue] = None


class ConnectionAuth(CatalogModel):
    """The credentials for one of the job's integrations."""

    type: Literal["oauth2"] = "oauth2"
    access_token: str
    scopes: list[str]


class CachedTask(CatalogModel):
    """A step of the run that is known from earlier executions."""

    id: str
    idempotency_key: str
    status: str
    noop: bool
    output: Omittable[JsonValue] = None


class RunRequest(CatalogModel):
    """The body of EXECUTE_JOB, and of PREPROCESS_RUN without connections and tasks."""

    event: EventBody
    job: JobBody
    run: RunBody
    environment: EnvironmentBody
    organization: OrganizationBody
    account: Omittable[AccountBody] = None
    connections: Omittable[dict[str, ConnectionAuth]] = None
    tasks: Omittable[list[CachedTask]] = None


# What it answers


class ErrorBody(CatalogModel):
    """How a run failed, in the user's words."""

    message: str
    name: Omittable[str] = None
    stack_trace: Omittable[str] = None


class AnsweredTask(CatalogModel):
    """A step that a run wants to come back for, known within its run by its idempotency key."""

    idempotency_key: str
    name: str
    noop: bool = False
    operation: Omittable[str] = None
    params: Omittable[JsonValue] = None
    delay_until: Omittable[AwareDatetime] = None


class RunSucceeded(CatalogModel):
    """The run is done."""

    status: Literal["SUCCESS"]
    output: Omittable[JsonValue] = None


class RunErrored(CatalogModel):
    """The run has failed for good."""

    status: Literal["ERROR"]
    error: ErrorBody
    task: Omittable[AnsweredTask] = None


class RunResumesWithTask(CatalogModel):
    """The run goes on when a task is done: at once, at a time, or after the task's operation."""

    status: Literal["RESUME_WITH_TASK"]
    task: AnsweredTask


class RunRetriesWithTask(CatalogModel):
    """A task has failed; the run goes on with it at a later time."""

    status: Literal["RETRY_WITH_TASK"]
    task: AnsweredTask
    error: ErrorBody
    retry_at: AwareDatetime


class RunPreprocessed(CatalogModel):
    """Whether to go on with the run, and what to show beside it."""

    abort: bool
    properties: Omittable[list[DisplayProperty]] = None


class EndpointIndex(CatalogModel):
    """Everything that an endpoint announces."""

    jobs: list[JobMetadata]
    sources: list[SourceMetadata] = Field(default_factory=list[SourceMetadata])
    dynamic_triggers: list[DynamicTrigger] = Field(default_factory=list[DynamicTrigger])
    dynamic_schedules: list[DynamicSchedule] = Field(default_factory=list[DynamicSchedule])


RunAnswer = RunSucceeded | RunErrored | RunResumesWithTask | RunRetriesWithTask

_RUN_ANSWER: Final[TypeAdapter[RunAnswer]] = TypeAdapter(Annotated[RunAnswer, Field(discriminator="status")])
_PREPROCESSED: Final = TypeAdapter(RunPreprocessed)
_INDEX: Final = TypeAdapter(EndpointIndex)


# Asking


async def execute_job(url: str, api_key: str, body: RunRequest) -> RunAnswer:
    """Have the endpoint perform a run, or the next part of it.

    Raises:
        EndpointUnavailableError: If it was not reached or did not answer 2xx.
        UnreadableAnswerError: If its answer is none of the four.
    """
    return await _ask("POST", url, api_key, "EXECUTE_JOB", _RUN_ANSWER, body)


async def preprocess_run(url: str, api_key: str, body: RunRequest) -> RunPreprocessed:
    """Let the endpoint look at an event before its run.

    Raises:
        EndpointUnavailableError: If it was not reached or did not answer 2xx.
        UnreadableAnswerError: If its answer is not readable.
    """
    return await _ask("POST", url, api_key, "PREPROCESS_RUN", _PREPROCESSED, body)


async def index_endpoint(url: str, api_key: str) -> EndpointIndex:
    """Ask the endpoint what it has.

    Raises:
        EndpointUnavailableError: If it was not reached or did not answer 2xx.
        UnreadableAnswerError: If its answer is not readable.
    """
    return await _ask("GET", url, api_key, "INDEX_ENDPOINT", _INDEX)


A = TypeVar("A")


async def _ask(
    method: Literal["GET", "POST"],
    url: str,
    api_key: str,
    action: Action,
    answer: TypeAdapter[A],
    body: BaseModel | None = None,
) -> A:
    headers = {
        "content-type": "application/json",
        "x-trigger-api-key": api_key,
        "x-trigger-action": action,
    }
    content = body.model_dump_json() if body else None
    try:
        response = await _http().request(method, url, headers=headers, content=content, timeout=_timeout())
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EndpointUnavailableError(f"could not reach {url}: {str(error) or type(error).__name__}") from error
    if not response.is_success:
        raise EndpointUnavailableError(f"{url} answered {response.status_code}", response.status_code)
    return _read(response.content, answer)


# An escaped NUL, not the text "\\u0000" of a backslash and letters.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def _read(content: bytes, answer: TypeAdapter[A]) -> A:
    if _NUL.search(content):
        raise UnreadableAnswerError("the endpoint's answer holds a NUL character, which can't be stored")
    try:
        return answer.validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "answer"
        raise UnreadableAnswerError(f"the endpoint's answer can't be read: {place}: {first['msg']}") from error


# One HTTP client per process


_client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None


def _http() -> httpx.AsyncClient:
    """Give the process's HTTP client, made at first use (and again in another event loop)."""
    global _client
    loop = asyncio.get_running_loop()
    if _client is None or _client[0] is not loop:
        # An endpoint is reached as its URL says, whatever proxies this machine uses for itself.
        _client = (loop, httpx.AsyncClient(trust_env=False))
    return _client[1]


async def close() -> None:
    """Close the HTTP client's connections; the next request opens new ones."""
    global _client
    if _client is not None:
        loop, http = _client
        _client = None
        if loop is asyncio.get_running_loop():
            await http.aclose()


def _timeout() -> httpx.Timeout:
    answer_within = Settings.from_environment().endpoint_timeout
    return httpx.Timeout(connect=CONNECT_SECONDS, write=WRITE_SECONDS, read=answer_within, pool=CONNECT_SECONDS)
