"""The zip archive that a log of Inspect is (`.eval`), read in bounded steps: whatever it says of itself."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

from evalkit.bounded_reads import UnfitFileError, too_large
from evalkit.errors import StoreError, UsageError
from evalkit.interchange.foreign_files import REMEDY, ForeignFiles
from evalkit.interchange.foreign_shapes import shortened

_ZSTD = 93
# Others unpack without a limit to what one step gives.
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, _ZSTD)
_ENCRYPTED = 1
_START = b"PK\x03\x04"
_BLOCK_BYTES = 1 << 20
_LONGEST_PROBLEM = 120
# Each member takes some 100 bytes there, and ten times as much in memory.
_LARGEST_DIRECTORY_BYTES = 32 << 20
_SEE_64 = 0xFFFFFFFF
_END, _END64_LOCATOR = b"PK\x05\x06", b"PK\x06\x07"
# The end record has 22 bytes and a comment; before it are the locator of the larger one and that one itself.
_END_BYTES = 22 + (1 << 16) + 20 + 56
_LARGEST_WINDOW_BYTES = 1 << 27
# What Python's zipfile raises for archives that are damaged, or made to do harm.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    NotImplementedError,
    RuntimeError,
    ValueError,
    ArithmeticError,
    OSError,
)


class InspectArchive:
    """A log as a zip archive; a context manager.

    Args:
        path: The file.
        files: Reads the members, and has the limit for all of them together.

    Attributes:
        path: The file.
        names: The members, each once, in order.
        num_doubled: Members of a name that a later one has; the last of each name counts, as for Inspect.

    Raises:
        StoreError: It is too large, damaged, or cut off.
    """

    def __init__(self, path: Path, files: ForeignFiles) -> None:
        self.path, self._files, self._left = path, files, files.max_bytes
        self._file = files.open(path)
        try:
            if (size := _directory_bytes(self._file)) > _LARGEST_DIRECTORY_BYTES:
                raise ValueError(f"its list of members would have {size} bytes")
            self._zip = zipfile.ZipFile(self._file)
            self._members = {info.filename: info for info in self._zip.infolist()}
        except _DAMAGE as error:
            self._file.close()
            if isinstance(error, zipfile.BadZipFile) and "not a zip file" in str(error):
                raise StoreError(
                    f"{path} is cut off: it begins as a log of Inspect does, and its end is missing; the "
                    "copy or the run that wrote it was stopped"
                ) from None
            raise StoreError(f"{path} is damaged: {shortened(error, _LONGEST_PROBLEM)}") from None
        counted = Counter(info.filename for info in self._zip.infolist())
        self.names = list(counted)
        self.num_doubled = counted.total() - len(counted)
        declared = sum(info.file_size for info in self._members.values())
        if declared > self._left:
            self.close()
            raise StoreError(f"{path}, unpacked, can't be read: {too_large(declared, self._left, REMEDY)}")

    def __enter__(self) -> InspectArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._zip.close()
        self._file.close()

    def read(self, name: str) -> dict[str, Any]:
        """The object in a member.

        Raises:
            StoreError: It is damaged, no JSON object, or larger than allowed.
            UsageError: It is compressed with Zstandard and nothing here can read that.
        """
        place, info = f"{self.path}: {name}", self._members[name]
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _KINDS:
            raise StoreError(f"{place} is encrypted or compressed in a way that Inspect does not use")
        try:
            blocks = self._zstd_blocks(info) if info.compress_type == _ZSTD else self._blocks(info)
            content = self._joined(blocks, info)
        except UnfitFileError as error:
            raise StoreError(f"{self.path}, unpacked, can't be read: {error}") from None
        except _DAMAGE as error:
            raise StoreError(f"{place} is damaged: {shortened(error, _LONGEST_PROBLEM)}") from None
        value = self._files.parse(content, self.path.name, place)
        if not isinstance(value, dict):
            raise StoreError(f"{place} is damaged: it does not hold a JSON object")
        return value

    def _joined(self, blocks: Iterator[bytes], info: zipfile.ZipInfo) -> bytes:
        """What a member unpacks to: of the size and checksum that the archive says."""
        parts, size = [], 0
        for block in blocks:
            size += len(block)
            if size > self._left:
                raise too_large(None, self._files.max_bytes, REMEDY)
            parts.append(block)
        self._left -= size
        content = b"".join(parts)
        if size != info.file_size or zlib.crc32(content) != info.CRC:
            raise ValueError("its size or checksum differs from what the archive says")
        return content

    def _blocks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        with self._zip.open(info) as stream:
            while block := stream.read(_BLOCK_BYTES):
                yield block

    def _zstd_blocks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """A member compressed with Zstandard, which Python's zipfile reads from 3.14 on only."""
        open_stream = _zstd()
        self._file.seek(info.header_offset)
        # The local header repeats name and extra field, and its extra field may be longer.
        name_length, extra_length = struct.unpack("<26xHH", self._file.read(30))
        self._file.seek(name_length + extra_length, io.SEEK_CUR)
        # No more of it than the file has.
        stream = open_stream(io.BytesIO(self._file.read(info.compress_size)))
        while block := stream.read(_BLOCK_BYTES):
            yield block


def _directory_bytes(file: IO[bytes]) -> int:
    """How long the list of members is by the records at the end of an archive; 0 where there are none."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or at + 22 > len(tail):
        return 0
    found: int = struct.unpack_from("<I", tail, at + 12)[0]
    if tail[max(0, at - 20) :].startswith(_END64_LOCATOR):
        file.seek(struct.unpack_from("<Q", tail, at - 20 + 8)[0])
        record = file.read(56)
        # Where it is not there, zipfile refuses the archive or takes the record before the locator.
        beside = tail[max(0, at - 76) : at - 20]
        sizes = [struct.unpack_from("<Q", each, 40)[0] for each in (record, beside) if len(each) == 56]
        found = max([found, *sizes]) if found == _SEE_64 else found
    return found


class _HasBlocks(Protocol):
    def read(self, size: int, /) -> bytes: ...


def is_archive(path: Path, files: ForeignFiles) -> bool:
    """Whether a file begins as a zip archive does, or ends as one.

    Raises:
        StoreError: It can't be read.
    """
    with files.open(path) as file:
        return file.read(len(_START)) == _START or zipfile.is_zipfile(file)


def _zstd() -> Callable[[IO[bytes]], _HasBlocks]:
    try:
        import zstandard
    except ImportError:
        raise UsageError(
            "this log is compressed with Zstandard: pip install 'evalkit[inspect]', or convert it with "
            "`inspect log convert --to json`"
        ) from None
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW_BYTES)

    class Reading:
        """A stream whose errors are those of damaged archives."""

        def __init__(self, source: IO[bytes]) -> None:
            self._stream = decompressor.stream_reader(source, read_across_frames=True)

        def read(self, size: int, /) -> bytes:
            try:
                return bytes(self._stream.read(size))
            except zstandard.ZstdError as error:
                raise ValueError(str(error)) from None

    return Reading
