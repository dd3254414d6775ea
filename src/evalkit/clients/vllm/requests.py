"""One request on its way through vLLM's engine: as tokens there, and as an answer back."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vllm import PoolingParams, SamplingParams, TokensPrompt
from vllm.exceptions import VLLMClientError
from vllm.lora.request import LoRARequest
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from evalkit.clients.local.detokenizer import StopDetector
from evalkit.clients.local.finite import not_finite
from evalkit.clients.local.prompting import Prompt, Prompter
from evalkit.clients.local.seeding import seed_bytes
from evalkit.clients.vllm.answers import completion_of, efficiency_of, scored_completion
from evalkit.errors import BadRequestError, TransientError
from evalkit.request import Request
from evalkit.response import Completion, Response, Usage
from evalkit.thinking import KNOWN_STYLE, ThinkingStyle

if TYPE_CHECKING:
    from evalkit.clients.local.detokenizer import Detokenizer
    from evalkit.clients.vllm.engine import Engine

# Texts say nothing of NaN, log-probabilities do. They are asked for in the first requests, whether anybody
# wants them or not, and in all that follow once NaN was seen.
_CHECKED_REQUESTS = 32
# Shorter contexts are not worth looking up; vLLM keeps whole blocks of at least 16 tokens.
_LEAST_SHARED_TOKENS = 16


class Requests:
    """Puts requests to an engine.

    Args:
        engine: Started.
        prompter: Makes its prompts.
        detokenizer: Spells what it generates.
        max_length_tokens: Longest prompt and completion together.
        adapter: The folder of a LoRA adapter for all requests.
        with_logprobs: Give the tokens of all answers.
        shares_prefixes: Whether the engine keeps what prompts begin with.
        name: What answers say that was served.
        style: How the model thinks.
    """

    def __init__(  # noqa: PLR0913 - what an engine is asked with
        self,
        engine: Engine,
        prompter: Prompter,
        detokenizer: Detokenizer,
        *,
        max_length_tokens: int,
        adapter: str | None = None,
        with_logprobs: bool = False,
        shares_prefixes: bool = True,
        name: str | None = None,
        style: ThinkingStyle = KNOWN_STYLE,
    ) -> None:
        self._engine, self._prompts = engine, _Prompts(prompter)
        self._detokenizer = detokenizer
        self._max_length_tokens = max_length_tokens
        self._adapter = None if adapter is None else LoRARequest("adapter", 1, adapter)
        self._with_logprobs, self._shares_prefixes = with_logprobs, shares_prefixes
        self._name, self._style = name, style
        self._stops_here = style.is_known
        self._numbers = itertools.count()
        self._num_checked, self._has_seen_nan = 0, False

    async def ask(self, request: Request) -> Response:
        """The answer to a request.

        Raises:
            TransientError: The engine died while it was computing this.
            BadRequestError: The engine refuses this request; or it has died too often; or the model gives NaN
                (`not_finite`), as far as vLLM gives log-probabilities.
        """
        handed_over_s = time.monotonic()
        prompt = await self._prompts.prompt(request)
        self._check_length(request, prompt)
        if request.embedding:
            return await self._embed(prompt, handed_over_s)
        if request.echo_prompt:
            return await self._score(request, prompt, handed_over_s)
        return await self._generate(request, prompt, handed_over_s)

    def _check_length(self, request: Request, prompt: Prompt) -> None:
        room = self._max_length_tokens - len(prompt.ids)
        if room < 0 or (room == 0 and request.max_tokens > 0 and not request.echo_prompt):
            raise BadRequestError(
                f"the prompt has {len(prompt.ids)} tokens, the model takes {self._max_length_tokens}"
            )

    async def _generate(self, request: Request, prompt: Prompt, handed_over_s: float) -> Response:
        if request.max_tokens <= 0:
            nothing = (Completion("", "length"),) * request.num_completions
            return Response(nothing, Usage(len(prompt.ids), 0), served_model=self._name)
        num_drawn = request.num_completions if request.temperature > 0 else 1
        watch = StopDetector(self._detokenizer, prompt.ids, request.stop_sequences, self._style)
        # vLLM applies stop sequences to all that the model writes, thinking included.
        stops_here = self._stops_here or request.expects_thinking or bool(watch.opened)
        stops = [] if stops_here else [stop for stop in request.stop_sequences if stop]
        sampling = [self._sampling(request, prompt, index, stops) for index in range(num_drawn)]
        outputs = await _all([self._run(prompt.ids, params) for params in sampling])
        for output in outputs:
            if (logprob := output.outputs[0].cumulative_logprob) is not None:
                self._require_finite((logprob,))
        with_tokens = self._with_logprobs or request.top_k_per_token > 1
        completions = [
            completion_of(output.outputs[0], request, watch, with_tokens=with_tokens) for output in outputs
        ]
        if stops and any(c.finish_reason == "stop" and watch.ends_thinking(c) for c in completions):
            self._stops_here = True
            return await self._generate(request, prompt, handed_over_s)
        num_tokens = [len(output.outputs[0].token_ids) for output in outputs]
        if num_drawn < request.num_completions:
            completions *= request.num_completions
            num_tokens *= request.num_completions
        return self._response(completions, Usage(len(prompt.ids), sum(num_tokens)), outputs, handed_over_s)

    def _sampling(self, request: Request, prompt: Prompt, index: int, stops: list[str]) -> SamplingParams:
        """How one completion is drawn; each has its own seed, the same for the same request."""
        logprobs = request.top_k_per_token if request.top_k_per_token > 1 else None
        is_checked = self._has_seen_nan or self._num_checked < _CHECKED_REQUESTS
        self._num_checked += is_checked
        if logprobs is None and (self._with_logprobs or is_checked):
            logprobs = 0
        try:
            return SamplingParams(
                temperature=request.temperature,
                top_p=request.top_p,
                top_k=request.top_k,
                repetition_penalty=request.repetition_penalty,
                presence_penalty=request.presence_penalty,
                frequency_penalty=request.frequency_penalty,
                seed=_seed(request, index) if request.temperature > 0 else None,
                stop=stops,
                include_stop_str_in_output=True,
                # Texts are spelled here; vLLM need only do so to find a stop sequence.
                detokenize=bool(stops),
                # A special token may be one.
                skip_special_tokens=False,
                spaces_between_special_tokens=False,
                max_tokens=min(request.max_tokens, self._max_length_tokens - len(prompt.ids)),
                logprobs=logprobs,
                output_kind=RequestOutputKind.FINAL_ONLY,
                skip_clone=True,
            )
        except (VLLMClientError, ValueError) as error:
            raise BadRequestError(f"vLLM refuses this request: {error}") from error

    async def _score(self, request: Request, prompt: Prompt, handed_over_s: float) -> Response:
        if request.max_tokens > 0:
            raise BadRequestError(
                f"a prompt is scored or continued, not both: set max_tokens to 0 (it is {request.max_tokens})"
            )
        outputs = []
        if len(prompt.ids) > 1:
            outputs.append(await self._scored(prompt, request.top_k_per_token))
        completion = scored_completion(outputs, request, prompt, self._detokenizer)
        self._require_finite(token.logprob for token in completion.tokens or () if token.logprob is not None)
        return self._response([completion], Usage(len(prompt.ids), 0), outputs, handed_over_s)

    async def _scored(self, prompt: Prompt, num_tops: int) -> Any:
        """What vLLM says of a prompt's tokens.

        The last token is not part of what is computed: it is what comes next, and vLLM is let no choice but
        that one. So choices of one token after one context differ in nothing that is computed.
        """
        *context, last = prompt.ids
        alternatives = num_tops if num_tops > 1 else 0
        # A token that is scored must have been computed after one that is not taken from the cache.
        first = max(1, prompt.first_scored)
        in_context = first < len(context)
        params = SamplingParams(
            temperature=0.0,
            max_tokens=1,
            allowed_token_ids=[last],
            logprobs=alternatives,
            prompt_logprobs=alternatives if in_context else None,
            flat_logprobs=True,
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            skip_clone=True,
        )
        if in_context:
            may_share = self._shares_prefixes and first > _LEAST_SHARED_TOKENS
            params.skip_reading_prefix_cache = not may_share
            output = await self._run(context, params)
            if not may_share or _is_whole(output, first):
                return output
            params.skip_reading_prefix_cache = True
        return await self._run(context, params)

    async def _embed(self, prompt: Prompt, handed_over_s: float) -> Response:
        output = await self._run(prompt.ids, PoolingParams(task="embed", use_activation=False))
        vector = tuple(float(number) for number in output.outputs.data.tolist())
        self._require_finite(vector)
        now_s = time.monotonic()
        return Response(
            (),
            Usage(len(prompt.ids), 0),
            latency_s=now_s - handed_over_s,
            served_model=self._name,
            embedding=vector,
            efficiency=efficiency_of([], handed_over_s, now_s, self._engine.num_running),
        )

    async def _run(self, ids: Any, params: SamplingParams | PoolingParams) -> Any:
        """What the engine makes of a prompt; given up in the engine, too, if this is cancelled."""
        llm = await self._engine.living()
        ask = llm.encode if isinstance(params, PoolingParams) else llm.generate
        tokens = TokensPrompt(prompt_token_ids=list(ids))
        answers = ask(tokens, params, str(next(self._numbers)), lora_request=self._adapter)
        try:
            *_, output = [answer async for answer in answers]
        except EngineDeadError as error:
            raise TransientError("vLLM's engine died while it was computing this", "engine_died") from error
        except (VLLMClientError, ValueError) as error:
            raise BadRequestError(f"vLLM refuses this request: {error}") from error
        except EngineGenerateError as error:
            raise BadRequestError(f"vLLM failed: {error.__cause__ or error}", "engine_error") from error
        if (refusal := getattr(output, "error", None)) is not None:
            raise BadRequestError(f"vLLM failed: {refusal.message}", "engine_error")
        return output

    def _require_finite(self, numbers: Iterable[float]) -> None:
        """Nothing, if the model computed numbers.

        Raises:
            BadRequestError: It computed NaN or infinity.
        """
        if (failure := not_finite(numbers)) is not None:
            self._has_seen_nan = True
            raise failure

    def _response(
        self, completions: list[Completion], usage: Usage, outputs: list[Any], handed_over_s: float
    ) -> Response:
        now_s = time.monotonic()
        efficiency = efficiency_of(outputs, handed_over_s, now_s, self._engine.num_running)
        return Response(
            tuple(completions),
            usage,
            latency_s=time.time() - efficiency.started_at,
            served_model=self._name,
            efficiency=efficiency,
        )


class _Prompts:
    """Makes prompts on a thread, of all the requests that came meanwhile in one call."""

    def __init__(self, prompter: Prompter) -> None:
        self._prompter = prompter
        self._waiting: list[tuple[Request, asyncio.Future[Prompt]]] = []
        self._task: asyncio.Task[None] | None = None

    async def prompt(self, request: Request) -> Prompt:
        """The prompt of one request.

        Raises:
            BadRequestError: It has none.
        """
        made: asyncio.Future[Prompt] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, made))
        if self._task is None:
            self._task = asyncio.create_task(self._work())
        return await made

    async def _work(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting, []
            try:
                requests = [request for request, _ in taken]
                prompts: list[Any] = await asyncio.to_thread(self._prompter.prompts, requests)
            except Exception as error:  # noqa: BLE001 - passed to those who wait
                prompts = [error] * len(taken)
            for (_, made), prompt in zip(taken, prompts, strict=True):
                if made.done():
                    continue
                if isinstance(prompt, Exception):
                    made.set_exception(prompt)
                else:
                    made.set_result(prompt)
        self._task = None


async def _all(runs: list[Any]) -> list[Any]:
    """The results of several coroutines; the first failure ends them all."""
    if len(runs) == 1:
        return [await runs[0]]
    tasks = [asyncio.ensure_future(run) for run in runs]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _is_whole(output: Any, first: int) -> bool:
    """Whether all tokens from `first` on were scored, and not found in the cache without their scores.

    One that was interrupted for lack of memory may have found more in the cache than it says.
    """
    return (output.num_cached_tokens or 0) < first and output.metrics.num_preemptions == 0


def _seed(request: Request, index: int) -> int:
    """The seed of one completion."""
    return int.from_bytes(seed_bytes(request, index)[:8], "big") >> 1
