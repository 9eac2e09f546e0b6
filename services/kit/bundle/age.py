"""The `age` format (https://age-encryption.org/v1), streamed: whoever holds the key can open it with any age tool.

The library reads and writes files, and blocks; so it works in a thread at the far end of a socket pair, whose buffers
bound the memory and hold up whichever side is faster.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pyrage
from joserfc.jwk import OctKey

_CHUNK: Final = 64 << 10
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR: Final = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


class Damaged(Exception):
    """What was read is not what was written, or was written under another key."""


def identity(key: OctKey) -> str:
    """A 32-byte key as age's X25519 identity, which `age --decrypt --identity` takes. Source: BIP 173 (Bech32)."""
    prefix = "age-secret-key-"
    bits = int.from_bytes(key.raw_value, "big") << 4  # 256 bits, padded to 52 groups of five
    data = [bits >> shift & 31 for shift in range(255, -1, -5)]
    checked = [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix), *data, *[0] * 6]
    sum_ = _checksum(checked)
    check = [sum_ >> shift & 31 for shift in range(25, -1, -5)]
    return f"{prefix}1{''.join(_BECH32[group] for group in data + check)}".upper()


def _checksum(groups: list[int]) -> int:
    value = 1
    for group in groups:
        top = value >> 25
        value = (value & 0x1FFFFFF) << 5 ^ group
        for bit, term in enumerate(_GENERATOR):
            value ^= term if top >> bit & 1 else 0
    return value ^ 1


def encrypt(content: AsyncIterator[bytes], key: OctKey) -> AsyncIterator[bytes]:
    """Content as an age file."""
    to = pyrage.x25519.Identity.from_str(identity(key)).to_public()
    return _through(lambda source, sink: pyrage.encrypt_io(source, sink, [to]), content)


def decrypt(content: AsyncIterator[bytes], key: OctKey) -> AsyncIterator[bytes]:
    """What is in an age file. Raises `Damaged`, at the latest after its last chunk: use nothing before the end."""
    by = pyrage.x25519.Identity.from_str(identity(key))
    return _through(lambda source, sink: pyrage.decrypt_io(source, sink, [by]), content)


async def _through(work: Callable[[Any, Any], None], content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """What `work` writes while it reads `content`. An error of `content` is raised as it is."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)

    def run() -> None:
        with far, far.makefile("rwb") as stream:
            work(stream, stream)

    async def feed() -> None:
        try:
            async for chunk in content:
                writer.write(chunk)
                await writer.drain()
            writer.write_eof()
        except ConnectionError:
            return  # the far end stopped reading, and says why
        except BaseException:
            writer.transport.abort()  # not an end: `work` must not take it for one and the reader must not wait
            raise

    working, feeding = asyncio.create_task(asyncio.to_thread(run)), asyncio.create_task(feed())
    broken = False
    try:
        try:
            while chunk := await reader.read(_CHUNK):
                yield chunk
        except ConnectionError:
            broken = True
        await feeding
        try:
            await working
        except (pyrage.DecryptError, OSError) as error:
            raise Damaged from error
        if broken:
            raise Damaged
    finally:
        feeding.cancel()
        writer.transport.abort()  # a close would wait for the far end to read, which may wait for us
        await asyncio.gather(feeding, working, return_exceptions=True)
