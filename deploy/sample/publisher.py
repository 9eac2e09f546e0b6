"""Asks for an erasure without any code of Letheia: `python publisher.py EMAIL < .letheia/endpoints.json`."""

import asyncio
import json
import sys
import uuid
from datetime import UTC, datetime
from urllib.request import urlopen

from aiokafka import AIOKafkaProducer
from joserfc import jwe, jwk, jws

stack, id, now = json.load(sys.stdin), str(uuid.uuid4()), datetime.now(UTC).isoformat()
who = {"identifiers": [{"kind": "email", "value": sys.argv[1]}], "identity": {"verified": True, "method": "account"}}
what = {"request_id": id, "right": "erasure", "controller": "acme", "received_on": now[:10], "issued_at": now}
key, to = jwk.import_key(stack["publisher"]["key"]), json.load(urlopen(stack["jwks_url"]))["keys"][0]  # noqa: S310
signed = jws.serialize_compact({"alg": "Ed25519", "kid": key.kid}, json.dumps(what | who), key, ["Ed25519"])
sealing = {"alg": "ECDH-ES+A256KW", "enc": "A256GCM", "kid": to["kid"]}
sealed = {"schema_version": 1, "request_id": id, "sealed": jwe.encrypt_compact(sealing, signed, jwk.import_key(to))}
event = {"specversion": "1.0", "type": "letheia.RequestSubmitted.v1", "source": stack["publisher"]["name"]}
event |= {"id": id, "time": now}
headers = [("content-type", b"application/json"), *((f"ce_{name}", text.encode()) for name, text in event.items())]


async def send() -> None:
    async with AIOKafkaProducer(bootstrap_servers=stack["kafka"]["bootstrap_servers"]) as kafka:
        await kafka.send_and_wait("letheia.requests.v1", json.dumps(sealed).encode(), id.encode(), headers=headers)


asyncio.run(send())
print(id)
