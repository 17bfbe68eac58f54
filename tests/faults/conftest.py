"""The corpus that the fault suite is played on."""

import pytest

from tests.faults.aftermath import Corpus, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    """27 recordings of a few seconds, one of them broken: nine shards."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), 27)
