"""Where a kernel refuses sandboxes, their tests are left out, with what it said."""

from __future__ import annotations

import pytest

from evalkit.errors import UsageError
from evalkit.sandbox.execute import require_sandbox


@pytest.fixture
def sandbox() -> None:
    """A machine that can run programs."""
    try:
        require_sandbox()
    except UsageError as missing:
        pytest.skip(str(missing))
