"""The command as people and their scripts use it, and the publisher that does without any code of ours."""

import json
import os
import stat
import subprocess
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from tests.support.stack import PATIENCE_S, Stack

PUBLISHER = Path(__file__).parents[2] / "deploy" / "sample" / "publisher.py"


def published(stack: Stack, email: str) -> str:
    """The id that the publisher prints, and nothing else."""
    command, given = [sys.executable, str(PUBLISHER), email], json.dumps(dict(stack.endpoints))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    assert done.stderr == ""
    return str(UUID(done.stdout.strip()))


async def test_the_publisher_without_our_code_and_watch_see_a_request_through(stack: Stack) -> None:
    sample = await stack.people(1)
    request_id = published(stack, sample.people[0].email)
    lines = stack.letheia("watch", request_id).splitlines()
    assert lines[-1].startswith("closed completed")
    document = json.loads(stack.letheia("watch", request_id, "--json"))
    assert (document["request_id"], document["phase"]) == (request_id, "closed")


async def test_submit_waits_and_the_journal_tells_the_way(stack: Stack) -> None:
    sample = await stack.people(1)
    subject = json.dumps({"identifiers": [{"kind": "email", "value": sample.people[0].email}]})
    arguments = ("submit", "--right", "erasure", "--export-first", "--subject", "-", "--wait", "--json")
    document = json.loads(stack.letheia(*arguments, given=subject))
    assert document["phase"] == "closed"
    journal = json.loads(stack.letheia("journal", document["request_id"], "--json"))["entries"]
    phases = [line["entry"]["detail"]["phase"] for line in journal if line["entry"]["kind"] == "phase"]
    way = ("discovering", "exporting", "erasing", "proving", "closed")
    assert tuple(dict.fromkeys(phase for phase in phases if phase in way)) == way
    assert all(line["previous"] == before["hash"] for before, line in pairwise(journal))
    assert "closed" in stack.letheia("journal", document["request_id"])


async def test_submit_that_does_not_close_in_time_ends_with_four(stack: Stack) -> None:
    given = ("submit", "--right", "erasure", "--email", "nobody.anywhere@example.org", "--wait", "--timeout", "5")
    assert "letheia watch" in stack.letheia(*given, expect=4)


async def test_a_bundle_is_its_owners_alone_and_its_fetching_is_remembered(stack: Stack, tmp_path: Path) -> None:
    sample = await stack.people(1)
    submit = ("submit", "--right", "portability", "--email", sample.people[0].email, "--wait", "--json")
    request_id = json.loads(stack.letheia(*submit))["request_id"]
    output = tmp_path / "copy.zip"
    stack.letheia("bundle", request_id, "-o", str(output))
    assert stat.S_IMODE(os.stat(output).st_mode) == 0o600
    assert os.listdir(tmp_path) == [output.name]
    with zipfile.ZipFile(output) as archive:
        assert "manifest.json" in archive.namelist()
    assert json.loads(stack.letheia("status", request_id, "--json"))["bundle"]["fetched_on"] is not None


async def test_a_rejected_request_ends_with_one(stack: Stack) -> None:
    request_id = stack.letheia("submit", "--right", "erasure", "--email", "nobody.there@example.org").strip()
    await stack.stopped(UUID(request_id), "nothing_found")
    listed = json.loads(stack.letheia("list", "--attention", "--json"))["requests"]
    assert request_id in [request["request_id"] for request in listed]
    stack.letheia("decide", request_id, "reject", "--reason", "not_known")
    stack.letheia("watch", request_id, expect=1)


async def test_dead_letters_name_where_and_why(stack: Stack) -> None:
    found = json.loads(stack.letheia("dead-letters", "list", "--json"))["dead_letters"]
    assert all({"topic", "partition", "offset", "reason"} <= set(letter) for letter in found)
