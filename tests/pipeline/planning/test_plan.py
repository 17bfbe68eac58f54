"""`plan`: shards depend on what is in them, and a second run does what is missing."""

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips import ClipRef, Container
from pipeline.io.versions import MISSING
from pipeline.planning.committed import KnownShards
from pipeline.planning.diff import Rewrite
from pipeline.planning.plan import SHARD_BYTES, PlanOptions, plan_run, plan_shards
from pipeline.shards import Shard, shard_id
from pipeline.sources.listing import Listing

DIGEST = "d" * 64

clip_refs = st.builds(
    ClipRef,
    uri=st.text(max_size=8),
    version=st.sampled_from(("1-1", "2-2")),
    member=st.sampled_from(("", "m")),
)
listings = st.lists(clip_refs, max_size=30, unique_by=lambda clip: (clip.uri, clip.member))
containers = st.builds(
    Container, uri=st.text(max_size=8), version=st.just("1-1"), part=st.sampled_from(("", "0-7"))
)
sizes = st.integers(1, 7)


def clips(n, version="1-1"):
    return [ClipRef(f"/corpus/{i:03}.wav", version) for i in range(n)]


def run_again(listing, earlier, shard_clips=4, **options):
    """The plan of a run over `listing` after the shards `earlier` were committed."""
    committed = KnownShards({shard.shard_id: shard.clips for shard in earlier})
    return plan_run(Listing(listing), committed, PlanOptions(DIGEST, shard_clips, **options))


class Unreadable(KnownShards):
    """Committed shards that the listing alone has to explain."""

    def contents_of(self, shard):
        raise AssertionError(f"shard {shard} was read")


def keys(clips):
    return [(clip.uri, clip.member) for clip in clips]


@given(listings, sizes, st.randoms())
def test_any_order_of_the_listing_plans_the_same(listing, shard_clips, random):
    shuffled = random.sample(listing, len(listing))
    assert plan_shards(shuffled, DIGEST, shard_clips) == plan_shards(listing, DIGEST, shard_clips)


@given(listings, st.lists(containers, max_size=8), sizes, st.randoms())
def test_any_order_of_clips_and_containers_plans_the_same(listing, found, shard_clips, random):
    planned = plan_shards(listing, DIGEST, shard_clips, found)
    for given_in in (found[::-1], found * 2, random.sample(found, len(found))):
        shuffled = random.sample(listing, len(listing))
        assert plan_shards(shuffled, DIGEST, shard_clips, given_in) == planned
    assert len({shard.shard_id for shard in planned}) == len(planned)


def test_large_files_make_shards_of_fewer_clips():
    sizes = [SHARD_BYTES // 4] * 5 + [2 * SHARD_BYTES] * 2 + [1] * 9 + [None] * 3
    clips = [ClipRef(f"/{i:02}", "1", n_bytes=size) for i, size in enumerate(sizes)]
    shards = plan_shards(clips, DIGEST, 8)
    assert [len(shard.clips) for shard in shards] == [4, 1, 1, 1, 8, 4]
    assert [clip for shard in shards for clip in shard.clips] == clips
    assert [shard.n_bytes for shard in shards][-2:] == [8, 1]


@given(listings, sizes)
def test_every_clip_is_in_one_shard_and_only_the_last_is_not_full(listing, shard_clips):
    shards = plan_shards(listing, DIGEST, shard_clips)
    assert [clip for shard in shards for clip in shard.clips] == sorted(listing)
    assert all(len(shard.clips) == shard_clips for shard in shards[:-1])
    assert all(0 < len(shard.clips) <= shard_clips for shard in shards)
    assert len({shard.shard_id for shard in shards}) == len(shards)


def test_a_clip_listed_twice_is_planned_once():
    assert plan_shards(clips(3) * 2, DIGEST, 10) == plan_shards(clips(3), DIGEST, 10)


def test_nothing_to_plan():
    assert plan_shards([], DIGEST, 10) == []


def test_a_shard_id_never_changes():
    # Written down once: tables that people keep are resumed by it.
    assert shard_id(DIGEST, clips(2)) == "0f9a6a5c188e78f17bdb8de096a3c9cf"


@pytest.mark.parametrize("field", ["uri", "version", "member"])
def test_ids_change_with_each_part_of_a_clip(field):
    one, other = clips(2)
    changed = dataclasses.replace(other, **{field: "else"})
    assert shard_id(DIGEST, [one, changed]) != shard_id(DIGEST, [one, other])


def test_ids_change_with_the_spec_and_not_with_the_order():
    assert shard_id("e" * 64, clips(2)) != shard_id(DIGEST, clips(2))
    assert shard_id(DIGEST, clips(2)[::-1]) == shard_id(DIGEST, clips(2))


@given(st.lists(clip_refs, max_size=4), st.lists(clip_refs, max_size=4))
def test_only_the_same_clips_have_the_same_id(one, other):
    assert (shard_id(DIGEST, one) == shard_id(DIGEST, other)) == (sorted(one) == sorted(other))


@given(listings, sizes, st.data())
def test_resuming_plans_what_is_not_committed(listing, shard_clips, data):
    shards = plan_shards(listing, DIGEST, shard_clips)
    done = {shard.shard_id for shard in shards if data.draw(st.booleans())}

    committed = Unreadable(dict.fromkeys(done, ()))
    plan = plan_run(Listing(listing), committed, PlanOptions(DIGEST, shard_clips))
    assert plan.pending == tuple(shard for shard in shards if shard.shard_id not in done)
    assert plan.done == tuple(sorted(done))
    assert not plan.changed


@given(listings, listings, sizes, sizes)
def test_a_grown_source_plans_only_the_new_clips(before, added, shard_clips, earlier_size):
    taken = {(clip.uri, clip.member) for clip in before}
    new = [clip for clip in added if (clip.uri, clip.member) not in taken]
    earlier = plan_shards(before, DIGEST, earlier_size)
    plan = run_again(before + new, earlier, shard_clips)
    assert [clip for shard in plan.pending for clip in shard.clips] == sorted(new)
    assert plan.done == tuple(sorted(shard.shard_id for shard in earlier))
    assert not plan.changed


def test_changed_clips_lose_their_rows_and_are_planned_with_the_new_ones():
    earlier = plan_shards(clips(8), DIGEST, 4)
    old = clips(8)[5]
    touched = dataclasses.replace(old, version="9-9")
    listing = [touched if clip.uri == touched.uri else clip for clip in clips(9)]
    plan = run_again(listing, earlier)
    assert plan.changed == (old,)
    assert [shard.clips for shard in plan.pending] == [(touched, clips(9)[8])]
    rest = tuple(clip for clip in clips(8)[4:] if clip != old)
    assert plan.rewrites == (Rewrite(earlier[1].shard_id, rest),)
    assert set(plan.done) == {shard.shard_id for shard in earlier}


def test_what_is_gone_keeps_its_rows_until_it_is_pruned():
    earlier = plan_shards(clips(8), DIGEST, 4)
    plan = run_again(clips(3), earlier)
    assert (plan.pending, plan.changed, plan.rewrites) == ((), (), ())
    assert (plan.removed, plan.n_committed) == (tuple(clips(8)[3:]), 8)
    pruned = run_again(clips(3), earlier, prune=True)
    assert pruned.removed == plan.removed
    assert set(pruned.rewrites) == {
        Rewrite(earlier[0].shard_id, tuple(clips(3))),
        Rewrite(earlier[1].shard_id),
    }


def test_what_cannot_be_looked_at_counts_as_gone_and_keeps_its_rows():
    unseen = ClipRef(clips(8)[5].uri, MISSING)
    listing = [unseen if clip.uri == unseen.uri else clip for clip in clips(8)]
    earlier = plan_shards(clips(8), DIGEST, 4)
    plan = run_again(listing, earlier)
    assert (plan.pending, plan.rewrites, plan.removed) == ((), (), (clips(8)[5],))
    pruned = run_again(listing, earlier, prune=True)
    assert [shard.clips for shard in pruned.pending] == [(unseen,)]


def test_clips_are_done_again_on_request():
    earlier = plan_shards(clips(8), DIGEST, 4)
    again = {(clip.uri, clip.member) for clip in clips(8)[3:8]}
    plan = run_again(clips(8), earlier, retry=again)
    assert plan.to_retry == tuple(clips(8)[3:])
    assert set(plan.rewrites) == {
        Rewrite(earlier[0].shard_id, tuple(clips(3))),
        Rewrite(earlier[1].shard_id),
    }
    assert [shard.clips for shard in plan.pending] == [tuple(clips(8)[3:7]), (clips(8)[7],)]


def test_superseded_shards_do_not_count():
    earlier = plan_shards(clips(8), DIGEST, 8)
    newer = plan_shards(clips(5), DIGEST, 8)

    class Superseding(KnownShards):
        def find_superseded(self):
            return {earlier[0].shard_id, "other"}

    committed = Superseding({shard.shard_id: shard.clips for shard in earlier + newer})
    plan = plan_run(Listing(clips(8)), committed, PlanOptions(DIGEST, 4))
    assert plan.superseded == (earlier[0].shard_id,)
    assert plan.done == (newer[0].shard_id,)
    assert [shard.clips for shard in plan.pending] == [tuple(clips(8)[5:])]


@given(listings, listings, sizes, sizes, st.booleans(), st.data())
def test_the_difference_leaves_each_clip_once(before, now, shard_clips, earlier_size, prune, data):
    """Whatever changed: what stays and what is planned are the listing, each clip once."""
    again = {key for key in keys(now) if data.draw(st.booleans())}
    earlier = plan_shards(before, DIGEST, earlier_size)
    plan = run_again(now, earlier, shard_clips, prune=prune, retry=again)
    kept = {shard.shard_id: shard.clips for shard in earlier} | {
        each.shard: each.kept for each in plan.rewrites
    }
    staying = [clip for clips in kept.values() for clip in clips]
    planned = [clip for shard in plan.pending for clip in shard.clips]
    found = keys(staying) + keys(planned)
    assert len(set(found)) == len(found)
    gone = set() if prune else set(keys(before)) - set(keys(now))
    assert set(found) == set(keys(now)) | gone
    assert {clip for clip in staying if (clip.uri, clip.member) not in gone} <= set(now)
    unchanged = set(before) & set(now)
    todo_anyway = {clip for clip in unchanged if (clip.uri, clip.member) in again}
    assert set(planned) == (set(now) - unchanged) | (todo_anyway if again else set())


def test_a_shard_is_its_id_and_its_clips():
    (shard,) = plan_shards(clips(2), DIGEST, 4)
    assert shard == Shard(shard_id(DIGEST, clips(2)), tuple(clips(2)))


TARS = [Container(f"/corpus/{i}.tar", "1-1", n_clips=i) for i in range(3)]


def test_a_container_is_a_shard_of_its_own():
    shards = plan_shards(clips(2), DIGEST, 4, TARS[::-1] * 2)
    assert [shard.container for shard in shards] == [None, *TARS]
    assert [shard.clips for shard in shards[1:]] == [()] * 3
    assert [shard.n_clips for shard in shards] == [2, 0, 1, 2]
    assert len({shard.shard_id for shard in shards}) == 4


def test_the_id_of_a_containers_shard_never_changes():
    assert shard_id(DIGEST, TARS[0]) == shard_id(DIGEST, dataclasses.replace(TARS[0], n_clips=9))
    assert shard_id(DIGEST, TARS[0]) == "1b08101696ae0ce746ffe215711b2711"


@pytest.mark.parametrize("field", ["uri", "version", "part"])
def test_ids_change_with_each_part_of_a_container(field):
    changed = dataclasses.replace(TARS[0], **{field: "else"})
    assert shard_id(DIGEST, changed) != shard_id(DIGEST, TARS[0])


def test_containers_are_planned_once_and_anew_when_they_change():
    earlier = plan_shards(clips(3), DIGEST, 4, TARS[:2])
    contents = {shard.shard_id: shard.container or shard.clips for shard in earlier}
    touched = dataclasses.replace(TARS[1], version="9-9")
    listing = Listing(clips(3), [TARS[0], touched, TARS[2]])
    plan = plan_run(listing, KnownShards(contents), PlanOptions(DIGEST, 4))
    assert [shard.container for shard in plan.pending] == [touched, TARS[2]]
    assert plan.changed == (TARS[1],)
    assert plan.rewrites == (Rewrite(shard_id(DIGEST, TARS[1])),)
    assert plan.n_clips == 3


def test_how_many_clips_there_are_is_not_known_before_all_containers_are():
    unknown = dataclasses.replace(TARS[0], n_clips=None)
    listing = Listing(clips(1), [unknown])
    assert plan_run(listing, KnownShards(), PlanOptions(DIGEST, 4)).n_clips is None


def parts(uri, version, *names):
    return [Container(uri, version, name, "parquet", 2) for name in names]


def containers_again(listing, earlier):
    """The plan of a run over containers after those of `earlier` were committed."""
    committed = KnownShards({shard_id(DIGEST, each): each for each in earlier})
    return plan_run(Listing([], listing), committed, PlanOptions(DIGEST, 4))


def test_a_container_is_done_once():
    one, other = parts("/c.parquet", "1-1", "a", "b")
    plan = containers_again([other, one, other], [one])
    assert [shard.container for shard in plan.pending] == [other]
    assert (plan.n_clips, plan.changed) == (2, ())
    assert len({shard_id(DIGEST, each) for each in (one, other)}) == 2


def test_a_container_that_is_divided_anew_is_changed_as_a_whole():
    earlier = [*parts("/c.parquet", "1-1", "a"), *parts("/gone.parquet", "1-1", "a")]
    anew = parts("/c.parquet", "2-2", "a", "b")
    divided = parts("/c.parquet", "1-1", "x", "y")
    other = parts("/d.parquet", "1-1", "a")
    for now in (anew, divided):
        plan = containers_again([*now, *other], earlier)
        assert plan.changed == tuple(earlier[:1])
        assert plan.removed == tuple(earlier[1:])
        assert plan.rewrites == (Rewrite(shard_id(DIGEST, earlier[0])),)
        assert [shard.container for shard in plan.pending] == [*now, *other]


def test_a_file_and_a_container_do_not_meet():
    clip = ClipRef("/c.tar", "1-1")
    committed = KnownShards({shard_id(DIGEST, [clip]): [clip]})
    listing = Listing([], parts("/c.tar", "2", ""))
    plan = plan_run(listing, committed, PlanOptions(DIGEST, 4))
    assert (len(plan.pending), plan.changed) == (1, ())


def test_a_shard_is_the_same_in_another_process():
    """Field by field: clips are compared by uri, version and member alone."""
    whole = ClipRef("/a.wav", "1-1")
    part = ClipRef("/b.tar", "2-2", "m", (1.0, 2.5), (512, 99), ("x", None), "https://signed")
    for shard in (Shard("a" * 32, (whole, part)), Shard("b" * 32, (), Container("/c.tar", "1-1"))):
        copied = pickle.loads(pickle.dumps(shard))
        assert type(copied) is Shard
        assert dataclasses.asdict(copied) == dataclasses.asdict(shard)
