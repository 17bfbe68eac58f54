"""`find_ogg_chain`: the links of long Ogg files, found by looking at few of their pages."""

import io

import pytest

from pipeline.decode.headers.ogg import read_ogg_header
from pipeline.decode.headers.ogg_chain import OggChain, find_ogg_chain
from pipeline.errors import CannotDecodeError
from tests.pipeline.decode.headers.test_ogg import FIRST, LAST, OPUS, VORBIS, page

STEP = 16_000
PAGE_BYTES = 4000


class CountingFile(io.BytesIO):
    """A file that knows how much of it was read."""

    n_read = 0

    def read(self, size=-1, /):
        content = super().read(size)
        self.n_read += len(content)
        return content


def link(n_pages, serial=1, head=VORBIS, n_bytes=PAGE_BYTES):
    """One stream; its audio pages have a second each."""
    pages = [page(FIRST, body=head, serial=serial), page(0, 0, serial)]
    pages += [
        page(LAST if n == n_pages else 0, n * STEP, serial, bytes(n_bytes))
        for n in range(1, n_pages + 1)
    ]
    return b"".join(pages)


def found(content):
    file = CountingFile(content)
    audio = read_ogg_header(file)
    assert audio is not None
    return find_ogg_chain(file, audio), file.n_read


def test_one_link_is_no_chain_and_costs_two_looks():
    for n_pages in (1, 10, 3000):
        chain, n_read = found(link(n_pages))
        assert chain is None
        assert n_read < 400_000
    # Loud or quiet at its start only.
    quiet = link(500, n_bytes=400)[:-428]
    for one, other in ((400, 4000), (4000, 400)):
        pages = [page(FIRST, body=VORBIS), page(0, 0)]
        pages += [page(0, n * STEP, 1, bytes(one if n < 300 else other)) for n in range(1, 1500)]
        assert found(b"".join(pages))[0] is None
    assert found(quiet)[0] is None


@pytest.mark.parametrize("lengths", [(5, 7), (900, 1100), (2000, 3), (1400, 1500, 1600)])
@pytest.mark.parametrize("is_one_serial", [False, True])
def test_the_lengths_of_links_add_up(lengths, is_one_serial):
    links = [link(n, 1 if is_one_serial else n) for n in lengths]
    chain, n_read = found(b"".join(links))
    assert chain == OggChain(len(lengths), sum(lengths) * STEP)
    assert n_read < 5_000_000


def test_a_short_link_before_a_long_one():
    assert found(link(100) + link(2000, 2))[0] == OggChain(2, 2100 * STEP)


def test_many_links():
    chain, _ = found(b"".join(link(200, n) for n in range(1, 21)))
    assert chain is not None
    assert chain.n_links == 20
    assert chain.position == pytest.approx(20 * 200 * STEP, rel=0.01)


def test_opus_counts_at_48_khz_and_plays_less():
    chain, _ = found(link(10, 1, OPUS) + link(10, 2, OPUS))
    assert chain is not None
    assert chain.position == 2 * (10 * STEP - 312)
    assert chain.n_frames(24_000) == chain.position // 2


def test_links_that_differ_are_named():
    other = VORBIS[:11] + bytes([2]) + (44_100).to_bytes(4, "little") + bytes(14)
    content = link(10) + link(10, 2, other)
    message = "changes from Vorbis at 0 Hz with 0 channel to Vorbis at 44100 Hz with 2 channels"
    with pytest.raises(CannotDecodeError, match=message):
        found(content)


def test_streams_at_once_are_no_chain():
    heads = page(FIRST, body=VORBIS, serial=1) + page(FIRST, body=b"\x80theora", serial=2)
    pages = b"".join(page(0, n * STEP, 1 + n % 2, bytes(4000)) for n in range(1, 100))
    assert found(heads + pages)[0] is None
