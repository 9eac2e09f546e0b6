"""The real Apache Kafka, its jars resolved by Maven, run by the machine's Java."""
