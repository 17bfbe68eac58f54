"""Tests of ogg_chain: finding the links of a long Ogg file by reading few of its pages."""

import io

import pytest

from pipeline.decode.headers.ogg import read_ogg_header
from pipeline.decode.headers.ogg_chain import OggChain, find_ogg_chain
from pipeline.errors import CannotDecodeError
from tests.pipeline.decode.headers.test_ogg import FIRST, LAST, OPUS, VORBIS, page

PAGE_SAMPLES = 16_000
PAGE_BYTES = 4000


class CountingFile(io.BytesIO):
    """A file that counts the bytes read from it."""

    n_read = 0

    def read(self, size=-1, /):
        content = super().read(size)
        self.n_read += len(content)
        return content


def link(n_pages, serial=1, header=VORBIS, n_bytes=PAGE_BYTES):
    """Return the bytes of one stream; each of its audio pages holds a second."""
    pages = [page(FIRST, body=header, serial=serial), page(0, 0, serial)]
    pages += [
        page(LAST if n == n_pages else 0, n * PAGE_SAMPLES, serial, bytes(n_bytes))
        for n in range(1, n_pages + 1)
    ]
    return b"".join(pages)


def find(content):
    """Return the chain in the bytes of a file, and the number of bytes read to find it."""
    file = CountingFile(content)
    audio = read_ogg_header(file)
    assert audio is not None
    return find_ogg_chain(file, audio), file.n_read


def test_a_single_link_is_no_chain_and_costs_two_reads():
    for n_pages in (1, 10, 3000):
        chain, n_read = find(link(n_pages))
        assert chain is None
        assert n_read < 400_000
    # These are louder or quieter at the start than later.
    quiet = link(500, n_bytes=400)[:-428]
    for first_bytes, later_bytes in ((400, 4000), (4000, 400)):
        pages = [page(FIRST, body=VORBIS), page(0, 0)]
        pages += [
            page(0, n * PAGE_SAMPLES, 1, bytes(first_bytes if n < 300 else later_bytes))
            for n in range(1, 1500)
        ]
        assert find(b"".join(pages))[0] is None
    assert find(quiet)[0] is None


@pytest.mark.parametrize("lengths", [(5, 7), (900, 1100), (2000, 3), (1400, 1500, 1600)])
@pytest.mark.parametrize("is_one_serial", [False, True])
def test_the_lengths_of_all_links_are_added(lengths, is_one_serial):
    links = [link(n, 1 if is_one_serial else n) for n in lengths]
    chain, n_read = find(b"".join(links))
    assert chain == OggChain(len(lengths), sum(lengths) * PAGE_SAMPLES)
    assert n_read < 5_000_000


def test_a_short_link_before_a_long_link_is_found():
    assert find(link(100) + link(2000, 2))[0] == OggChain(2, 2100 * PAGE_SAMPLES)


def test_many_links_are_found():
    chain, _ = find(b"".join(link(200, n) for n in range(1, 21)))
    assert chain is not None
    assert chain.n_links == 20
    assert chain.position == pytest.approx(20 * 200 * PAGE_SAMPLES, rel=0.01)


def test_opus_positions_count_at_48_khz_without_pre_skip():
    chain, _ = find(link(10, 1, OPUS) + link(10, 2, OPUS))
    assert chain is not None
    assert chain.position == 2 * (10 * PAGE_SAMPLES - 312)
    assert chain.n_frames(24_000) == chain.position // 2


def test_links_with_different_parameters_are_an_error():
    other = VORBIS[:11] + bytes([2]) + (44_100).to_bytes(4, "little") + bytes(14)
    content = link(10) + link(10, 2, other)
    message = "changes from Vorbis at 0 Hz with 0 channel to Vorbis at 44100 Hz with 2 channels"
    with pytest.raises(CannotDecodeError, match=message):
        find(content)


def test_multiplexed_streams_are_no_chain():
    headers = page(FIRST, body=VORBIS, serial=1) + page(FIRST, body=b"\x80theora", serial=2)
    pages = b"".join(page(0, n * PAGE_SAMPLES, 1 + n % 2, bytes(4000)) for n in range(1, 100))
    assert find(headers + pages)[0] is None
