"""`make demo`: two requests through Kafka and every store, a third that must stop for a person, and a check of its own.

What is shown comes from the API; whether it is true is looked up straight in the stores (`deploy.sample.check`).
"""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.sample.check import Snapshot, compare, snapshot
from deploy.sample.model import Kind, Person, Sample, Trait
from deploy.sample.people import generate

PEOPLE: Final = 200
SEED: Final = 1
"""As `letheia up --sample` has it."""
_HOME: Final = Path(".letheia/demo")
_PATIENCE_S: Final = 180
_STORES: Final = ("app", "recordings", "crm", "analytics")


class Demo:
    """One run, on a home of its own that is made anew."""

    def __init__(self, home: Path, console: Console) -> None:
        self._home = home
        self._console = console
        self._started = time.monotonic()
        self.wrong: list[str] = []
        """What the demo's own checks found."""

    async def run(self) -> None:
        """Start, ask, watch, check. Leaves what is wrong in `wrong`."""
        sample = generate(PEOPLE, SEED)
        erased, ported, colleague = _cast(sample)
        self._say(f"Starting Kafka, PostgreSQL, S3, ClickHouse, a CRM and Letheia, with {PEOPLE} sample people ...")
        self.start()
        endpoints = json.loads(self._letheia("endpoints", "--json"))
        self._say(f"ready after {self._elapsed():.0f} s")
        before = await snapshot(endpoints)
        asked = {
            "erasure": self._submit("erasure", {"kind": "email", "value": erased.email}),
            "portability": self._submit("portability", {"kind": "email", "value": ported.email}),
            "erasure by a switchboard's number": self._submit("erasure", {"kind": "phone", "value": colleague.phone}),
        }
        documents = await self._watch(endpoints, asked)
        self._expect(documents)
        self._show_bundle(asked["portability"], ported)
        self._check(before, await snapshot(endpoints), erased)
        self._resources()

    def start(self) -> None:
        """Start the stack and load the sample."""
        self._letheia("up", "--detach", "--sample", str(PEOPLE))

    def stop(self) -> None:
        """Stop the stack, children included."""
        self._letheia("down")
        self._say("\nStopped. To go on looking:")
        for command, what in (
            (".venv/bin/letheia up --detach --sample 200", "the same stack, to stay"),
            (".venv/bin/letheia submit --right erasure --subject FILE --wait", "a request of your own"),
            (".venv/bin/letheia list --attention", "what needs a person; then status ID, journal ID, decide ID"),
            (f"less {self._home}/spans.jsonl {self._home}/logs/*", "spans and logs of this run"),
        ):
            self._say(f"  {command}  [dim]{what}[/]")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    def _letheia(self, *arguments: str, given: str | None = None) -> str:
        """Run the command as a person would; its progress goes to the terminal."""
        command = [sys.executable, "-m", "services.cli.main", *arguments, "--home", str(self._home)]
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"`letheia {' '.join(arguments)}` ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def _submit(self, right: str, identifier: Mapping[str, str]) -> str:
        answer = self._letheia("submit", "--right", right, "--subject", "-", "--json", given=json.dumps([identifier]))
        return str(json.loads(answer)["request_id"])

    async def _watch(self, endpoints: Mapping[str, Any], asked: Mapping[str, str]) -> dict[str, Any]:
        """Until each is closed or needs a person."""
        url = endpoints["console"]["url"] + "/api/v1/requests/"
        headers = {"Authorization": f"Bearer {endpoints['console']['tokens']['dpo']}"}
        give_up = time.monotonic() + _PATIENCE_S
        documents: dict[str, Any] = {}
        async with aiohttp.ClientSession(headers=headers) as session:
            with Live(console=self._console, auto_refresh=False) as live:
                while time.monotonic() < give_up and not _all_rest(asked, documents):
                    for what, request_id in asked.items():
                        async with session.get(url + request_id) as response:
                            if response.status == 200:
                                documents[what] = await response.json()
                    live.update(Group(*(_drawn(what, documents.get(what)) for what in asked)), refresh=True)
                    await asyncio.sleep(0.2)
        return documents

    def _expect(self, documents: Mapping[str, Any]) -> None:
        expected = (
            ("erasure", "outcome", ("completed", "completed_with_retention")),
            ("portability", "outcome", ("completed",)),
            ("erasure by a switchboard's number", "phase", ("needs_attention",)),
        )
        for what, field, wanted in expected:
            found = (documents.get(what) or {}).get(field)
            if found not in wanted:
                self.wrong.append(f"{what}: {field} is {found}, not {' or '.join(wanted)}")

    def _show_bundle(self, request_id: str, subject: Person) -> None:
        if self.wrong:
            return
        file = self._home / "bundle.zip"
        self._letheia("bundle", request_id, "-o", str(file))
        with zipfile.ZipFile(file) as bundle:
            manifest = json.loads(bundle.read("manifest.json"))
            contents = {name: bundle.read(name) for name in bundle.namelist()}
        self._say(f"\n[bold]The portable copy[/] ({file}, {file.stat().st_size:,} bytes)")
        hashes = {member["path"]: member["sha256"] for member in manifest["members"]}
        for name, content in contents.items():
            matches = name not in hashes or hashes[name] == hashlib.sha256(content).hexdigest()
            self._say(f"  {name}  [dim]{len(content):,} bytes[/]")
            if not matches:
                self.wrong.append(f"bundle: {name} is not what the manifest says")
        if missing := hashes.keys() - contents.keys():
            self.wrong.append(f"bundle: {len(missing)} members of the manifest are missing")
        if not any(subject.email.encode() in content for content in contents.values()):
            self.wrong.append("bundle: the subject's own contact is not in it")

    def _check(self, before: Snapshot, after: Snapshot, erased: Person) -> None:
        """Nothing of the subject left beyond what is retained; everything else as before, to the byte."""
        found = compare(before, after, [erased], datetime.now(UTC).date())
        gone = len(before.records.keys() - after.records.keys())
        self._say(f"\n[bold]Checked in the stores themselves[/]: {len(before.records):,} records before, {gone} erased")
        if not found:
            self._say("  nothing of the erased person is left beyond what the law retains")
            self._say("  every record of everybody else, and of the other tenants, is byte for byte as before")
        self.wrong += found

    def _resources(self) -> None:
        parts = json.loads(self._letheia("ps", "--json"))["parts"]
        memory = sum(part["memory_bytes"] for part in parts) / 1024**2
        self._say(f"\n{len(parts)} processes, {memory:,.0f} MiB resident, {self._elapsed():.0f} s in all")


def _cast(sample: Sample) -> tuple[Person, Person, Person]:
    """Who is erased, who gets a copy, and one of two colleagues on a switchboard."""
    switchboard = sample.having(Trait.SWITCHBOARD)[0]
    others = [p for p in sample.people[1:] if p.kind is Kind.CUSTOMER and p.unattended and p is not switchboard]
    return sample.people[0], others[0], switchboard


def _all_rest(asked: Iterable[str], documents: Mapping[str, Any]) -> bool:
    return all(documents.get(what, {}).get("phase") in ("closed", "needs_attention") for what in asked)


def _drawn(what: str, document: Mapping[str, Any] | None) -> RenderableType:
    """One request with its stores."""
    if document is None:
        return Text(f"\n{what}: published")
    attention = document["attention"]
    state = document["outcome"] or (f"needs a person: {attention['code']}" if attention else document["phase"])
    title = Text.assemble(("\n" + what, "bold"), f"  {state}", (f"  {document['request_id']}", "dim"))
    table = Table("store", "state", "asked with", "found", "erased", "retained", box=None, padding=(0, 2, 0, 2))
    for store in sorted(document["stores"], key=lambda store: _STORES.index(store["store"])):
        kept = ", ".join(f"{r['category']} {r['count']} until {r['until']}" for r in store["retained"])
        table.add_row(
            store["store"], store["error"] or store["state"], ", ".join(store["asked_with"]),
            _counts(store["found"]), _counts(store["erased"]), kept,
        )  # fmt: skip
    choices = Text(f"  a person may choose: {', '.join(attention['choices'])}") if attention else Text("")
    return Group(title, table, choices)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{category} {count}" for category, count in sorted(counts.items()))


def perform(demo: Demo, console: Console) -> int:
    """Run a demo and stop it, whatever happened; 0 if all that it showed is true."""
    try:
        asyncio.run(demo.run())
    finally:
        demo.stop()
    for finding in demo.wrong:
        console.print(f"[red]wrong:[/] {finding}", highlight=False)
    return 1 if demo.wrong else 0


def main() -> int:
    """On a home made anew, in place of the last demo's."""
    console = Console()
    if _HOME.exists():
        Demo(_HOME, Console(quiet=True)).stop()
        shutil.rmtree(_HOME)
    return perform(Demo(_HOME, console), console)


if __name__ == "__main__":
    sys.exit(main())
