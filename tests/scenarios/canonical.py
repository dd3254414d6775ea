"""The checksum over instances that the golden files hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from evalkit.instance import Instance


def canonical_sha256(instances: Iterable[Instance]) -> str:
    plain = [[i.input, [[r.text, list(r.tags)] for r in i.references], i.split] for i in instances]
    text = json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
