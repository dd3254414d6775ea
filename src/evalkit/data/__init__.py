"""Where benchmark files come from."""

from __future__ import annotations

from evalkit.data.file import Archive, DataFile, HubSplit
from evalkit.data.store import DataStore

__all__ = ["Archive", "DataFile", "DataStore", "HubSplit"]
