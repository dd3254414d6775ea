"""Runs the interpreter apart from whoever starts it: in its own session, its output in a file.

Not imported: vLLM's processes are started through it, by its path (see `starting`). Ctrl-C does not reach
them then, nor what they print the terminal; and where the system can see to it, they end when their starter
does, however that ends.
"""

import os
import sys

_PR_SET_PDEATHSIG = 1


def main(log: str, death_signal: int, arguments: list[str]) -> None:
    """Become `python arguments…`, with its output appended to `log`; sent a signal when its starter ends."""
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    # The tracker that cleans up after all others must outlive them.
    if sys.platform == "linux" and not any("resource_tracker" in argument for argument in arguments):
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    os.execv(sys.executable, [sys.executable, *arguments])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
