from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from evalkit.clients.local.prompting import Prompt
from evalkit.clients.transformers.embedding import Pooling, embed
from evalkit.clients.transformers.job import Job
from evalkit.clients.transformers.loading import ModelSource, load
from evalkit.request import Request
from evalkit.testing.models import make_model

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def job(ids: list[int]) -> Job:
    prompt = Prompt(tuple(ids), tuple("x" * len(ids)))
    return Job(Request("x", embedding=True), prompt, lambda answer: None, 0.0)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "bloom", "gemma2", "mamba"])
def test_agrees_with_every_prompt_alone(model_type: str, tmp_path: Path) -> None:
    loaded = load(ModelSource(str(make_model(tmp_path, model_type)), device_map="cpu"))
    assert loaded is not None
    random = Random(0)
    jobs = [job([random.randrange(3, 400) for _ in range(length)]) for length in (30, 1, 7, 7, 19)]
    poolings: tuple[Pooling, ...] = ("mean", "last")
    for pooling in poolings:
        vectors = embed(loaded, jobs, pooling)
        assert len(vectors) == len(jobs)
        for each, vector in zip(jobs, vectors, strict=True):
            given = torch.tensor([each.prompt.ids])
            with torch.inference_mode():
                states = loaded.model(given, output_hidden_states=True).hidden_states[-1][0]
            wanted = states.mean(0) if pooling == "mean" else states[-1]
            assert list(vector) == pytest.approx(wanted.tolist(), abs=1e-5)
