"""Files of lines, compressed as their names say: ``.gz``, ``.zst``, else not; ``-`` is standard input or output."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, cast

import zstandard

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP_LEVEL: Final = 4
_BUFFER_BYTES: Final = 2**18
#: A frame that asks for a larger window than the usual compressors make is not decompressed.
_MAX_WINDOW_BYTES: Final = 2**27


@contextmanager
def created(name: str, *, replace: bool = False) -> Iterator[IO[bytes]]:
    """A new file, private, which gets its name once it is complete and durable; "-": standard output.

    Raises:
        FileExistsError: there is one, and it is not to be replaced.
        OSError: it cannot be written, and nothing of it is left; or what is there is no file but a device, say.
    """
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    with suppress(FileNotFoundError):
        # Whatever is replaced is gone, and root may replace anything: a device, a pipe, a link to somewhere else.
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if not replace:
            raise FileExistsError(name)
    draft = path.with_name(f".{path.name}.{os.getpid()}.draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            with _compressing(file, path.suffix) as packed:
                yield packed
            file.flush()
            os.fsync(file.fileno())
        if replace:
            draft.replace(path)
        else:
            os.link(draft, path)  # fails if there is one by now
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def lines_of(name: str, longest: int, broken: type[Exception]) -> Iterator[Iterator[bytes]]:
    """The lines of a file ("-": of standard input), however it is compressed.

    A line longer than `longest` bytes comes in parts. While they are read, `broken` says what cannot be decompressed.

    Raises:
        OSError: there is no such file.
    """
    with ExitStack() as stack:
        file = sys.stdin.buffer if name == "-" else stack.enter_context(Path(name).open("rb"))
        yield _lines(stack.enter_context(_decompressing(cast("io.BufferedReader", file))), longest, broken)


@contextmanager
def _compressing(file: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    if suffix == ".gz":
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, file, mtime=0) as packed:
            yield cast("IO[bytes]", packed)
    elif suffix == ".zst":
        compressor = zstandard.ZstdCompressor(write_checksum=True)
        with compressor.stream_writer(file, closefd=False) as packed:
            yield cast("IO[bytes]", packed)
    else:
        yield file


@contextmanager
def _decompressing(file: io.BufferedReader) -> Iterator[IO[bytes]]:
    first = file.peek(len(_ZSTD))[: len(_ZSTD)]
    if first.startswith(_GZIP):
        with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
            yield cast("IO[bytes]", unpacked)
    elif first == _ZSTD:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        reader: Any = decompressor.stream_reader(file, read_across_frames=True, closefd=False)
        with io.BufferedReader(reader, _BUFFER_BYTES) as unpacked_lines:
            yield unpacked_lines
    else:
        yield file


def _lines(file: IO[bytes], longest: int, broken: type[Exception]) -> Iterator[bytes]:
    try:
        while line := file.readline(longest):
            yield line
    except (EOFError, OSError, zlib.error, zstandard.ZstdError) as error:
        raise broken(f"the file cannot be read on ({error})") from error
