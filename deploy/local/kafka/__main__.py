"""`python -m deploy.local.kafka HOME`: formats the broker's storage the first time, then becomes the broker."""

import base64
import os
import sys
import uuid
from pathlib import Path
from typing import Final

from deploy.local.home import Home, read_json
from deploy.local.kafka.jars import jars, java
from deploy.local.process import complete, launch

_SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
log.dirs={logs}
auto.create.topics.enable=false
# One broker keeps one copy.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# A killed broker may come back as soon as its old registration ends (9 s otherwise).
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=1000
# A small machine starts sooner with little.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
"""


def main() -> None:
    home = Home(Path(sys.argv[1]))
    ports = read_json(home.path / "ports.json")
    settings = home.path / "kafka.properties"
    settings.write_text(
        _SETTINGS.format(port=ports["kafka"], controller=ports["kafka-controller"], logs=home.data("kafka"))
    )
    command = [
        java(),
        *("-Xms64m", "-Xmx256m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties')}",
        *("-cp", f"{jars()}/*"),
    ]

    def form(_: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "--standalone", "-t", cluster, "-c", str(settings)]
        complete([*command, *tool])

    home.make_once("kafka", form)
    os.execv(command[0], [*command, "kafka.Kafka", str(settings)])


if __name__ == "__main__":
    launch(main)
