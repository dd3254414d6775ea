"""`evalkit check-engines`: do two engines say the same of one model?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from evalkit.cli.options import takes_run_options
from evalkit.cli.output import echo
from evalkit.runs.options import RunOptions

if TYPE_CHECKING:
    from evalkit.checks.engine_parity import EngineParity

MAX_SHOWN = 5


@takes_run_options
def check_engines_command(
    *,
    options: RunOptions,
    model: Annotated[str, typer.Argument(help="A folder, a shipped model, or a name on the Hub.")],
    engines: Annotated[
        str,
        typer.Option("--engines", help="Engines or deployments; evalkit compares the others with the first."),
    ] = "transformers,vllm",
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Largest difference of a log-probability, in nats.")
    ] = 1e-3,
    dtype: Annotated[
        str, typer.Option("--dtype", help="Precision; half precision needs a tolerance of about 0.1.")
    ] = "float32",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per engine compared.")] = False,
) -> None:
    """Send the same prompts through several engines and compare texts, log-probabilities and scores.

    Exit code 0 if they agree within the tolerance, 1 if they do not.
    """
    import asyncio
    from dataclasses import asdict

    from evalkit.checks.engine_parity import CheckOptions, check_engines, check_options
    from evalkit.cli.output import print_json
    from evalkit.cli.progress import QuietProgress
    from evalkit.runs.plan import open_plan_context

    context = open_plan_context(check_options(options))
    names = tuple(name.strip() for name in engines.split(",") if name.strip())
    check = CheckOptions(model, names, tolerance, {"dtype": dtype})
    found = asyncio.run(check_engines(check, context, QuietProgress()))
    for agreement in found:
        if as_json:
            print_json({"ok": agreement.ok, **asdict(agreement)})
        else:
            _show(agreement)
    if not all(agreement.ok for agreement in found):
        raise typer.Exit(1)


def _show(found: EngineParity) -> None:

    verdict = "agree" if found.ok else "DO NOT agree"
    echo(f"{found.reference} and {found.engine} {verdict} (tolerance {found.tolerance:g})", style="bold")
    largest = "none compared" if found.largest_difference is None else f"{found.largest_difference:.2e}"
    mean = "" if found.mean_difference is None else f", mean {found.mean_difference:.2e}"
    rows: list[tuple[str, str]] = [
        ("greedy texts", f"{found.num_equal} of {found.num_texts} equal"),
        ("log-probabilities", f"{found.num_logprobs:,} compared; largest difference {largest}{mean}"),
    ]
    rows += [(name, f"{a:.4f} and {b:.4f}") for name, (a, b) in found.scores.items() if a != b]
    num_same = sum(a == b for a, b in found.scores.values())
    rows.append(("scores", f"{num_same} of {len(found.scores)} the same"))
    for name, result in rows:
        echo(f"{name:<18} {result}")
    for parted in found.divergences[:MAX_SHOWN]:
        margin = "unknown" if parted.margin is None else f"{parted.margin:.2e}"
        ours, theirs = parted.tokens
        echo(
            f"{parted.key}: the texts differ after {parted.position} tokens, {ours!r} and {theirs!r}; "
            f"the first was preferred by {margin} nats"
        )
    if (more := len(found.divergences) - MAX_SHOWN) > 0:
        echo(f"… and {more} more")
    for key, reason in list(found.failures.items())[:MAX_SHOWN]:
        echo(f"{key}: {reason}", err=True)
    if (more := len(found.failures) - MAX_SHOWN) > 0:
        echo(f"… and {more} more failures", err=True)
