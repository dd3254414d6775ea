from __future__ import annotations

import asyncio

from evalkit.clients.vllm.warm_up import WarmUpGate


def test_some_go_ahead_and_the_others_when_one_of_them_is_done() -> None:
    async def main() -> None:
        vanguard = WarmUpGate(2, longest_s=1000.0)
        await vanguard.wait()
        await vanguard.wait()
        others = [asyncio.create_task(vanguard.wait()) for _ in range(5)]
        done, _ = await asyncio.wait(others, timeout=0)
        assert not done
        vanguard.open_for_all()
        await asyncio.gather(*others)
        await vanguard.wait()

    asyncio.run(main())


def test_nobody_waits_for_ever() -> None:
    async def main() -> None:
        vanguard = WarmUpGate(1, longest_s=0.001)
        await vanguard.wait()
        await asyncio.wait_for(vanguard.wait(), timeout=10)

    asyncio.run(main())
