"""What a recorded call leaves in the bucket: audio, transcript and waveform."""

import io
import json
import math
import wave
from collections.abc import Sequence
from random import Random

from deploy.sample.model import StoredObject

_RATE = 8000
_FRAMES = 800


def audio(rng: Random) -> bytes:
    """A valid WAV (a tenth of a second, mono, 8 kHz, 8 bit): a tone under noise, so that no two are alike."""
    step = rng.uniform(200, 2000) * 2 * math.pi / _RATE
    noise = rng.randbytes(_FRAMES)
    samples = bytes(128 + round(90 * math.sin(n * step)) + noise[n] % 32 for n in range(_FRAMES))
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(1)
        writer.setframerate(_RATE)
        writer.writeframes(samples)
    return file.getvalue()


def waveform(recorded: bytes) -> bytes:
    """The peaks of a recording, a hundred a second, as JSON."""
    with wave.open(io.BytesIO(recorded), "rb") as reader:
        samples = reader.readframes(reader.getnframes())
    window = _RATE // 100
    peaks = [max(abs(s - 128) for s in samples[at : at + window]) for at in range(0, len(samples), window)]
    return json.dumps({"peaks_per_second": 100, "peaks": peaks}).encode()


def transcript(call_id: str, turns: Sequence[tuple[str, str]]) -> bytes:
    """Who said what, as JSON."""
    return json.dumps({"call": call_id, "turns": [{"speaker": who, "text": said} for who, said in turns]}).encode()


def recording(
    folder: str, call_id: str, turns: Sequence[tuple[str, str]], rng: Random, *, overwritten: bool
) -> tuple[StoredObject, ...]:
    """The three objects of one call. `overwritten`: see `Trait.OVERWRITTEN`."""
    sound, prefix = audio(rng), f"{folder}/calls/{call_id}"
    objects = {"audio.wav": sound, "transcript.json": transcript(call_id, turns), "waveform.json": waveform(sound)}
    if not overwritten:
        return tuple(StoredObject(f"{prefix}/{name}", (content,)) for name, content in objects.items())
    return (
        StoredObject(f"{prefix}/audio.wav", (audio(rng), audio(rng), sound)),
        StoredObject(f"{prefix}/transcript.json", (transcript(call_id, turns[:1]), objects["transcript.json"]), True),
        StoredObject(f"{prefix}/waveform.json", (objects["waveform.json"],), unfinished=audio(rng)),
    )
