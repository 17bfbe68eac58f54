"""Fixtures of the fault suite."""

import pytest

from tests.faults.corpus import Corpus, write_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Corpus:
    """A corpus of nine shards: 27 recordings of a few seconds, one of them broken."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), 27)
