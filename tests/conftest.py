"""Fixtures that tests of several kinds share: one server each for a whole run."""

pytest_plugins = [
    "tests.support.clickhouse",
    "tests.support.kafka",
    "tests.support.postgres",
    "tests.support.s3",
    "tests.support.stack",
    "tests.support.faulty",
]
