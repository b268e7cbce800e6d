# SPDX-License-Identifier: Apache-2.0
"""The soak of `make soak` for twenty seconds, and that it would see what it looks for."""
import pytest

import soak

MB = 1 << 20


def test_everything_at_once(tmp_path):
    done = soak.soak(20, tmp_path)
    assert done["inserted"] > soak.LIVE and done["deleted"] > 0 and done["searches"] > 0, done
    assert done["generations"] >= 1 and done["merges"] >= 1, done


@pytest.mark.parametrize("at", range(3))
def test_what_grows_is_seen(at):
    steady = [[100 * MB, 30, 100 * MB] for _ in range(60)]
    soak.must_be_flat(steady)
    growing = [list(sample) for sample in steady]
    for number, sample in enumerate(growing):
        sample[at] += number * (2 * MB, 5, 12 * MB)[at]
    with pytest.raises(soak.Failed, match="second third"):
        soak.must_be_flat(growing)


def test_too_few_samples_say_nothing():
    with pytest.raises(soak.Failed, match="samples"):
        soak.must_be_flat([[1, 1, 1]] * 5)


def test_wrong_answers_are_seen():
    world = soak.World(None, 1)
    good = {"version": 3, "results": [[{"id": i, "distance": i / 10, "payload": {"shelf": 4}} for i in range(soak.K)]]}
    short = {"version": 3, "results": [good["results"][0][:-1]]}
    far = {"version": 3, "results": [[{**hit, "distance": 9.0} for hit in good["results"][0]]]}
    world.compare(good, good, 4)
    assert (world.found, world.wanted) == (soak.K, soak.K)
    world.compare(far, good, None)
    assert (world.found, world.wanted) == (soak.K, 2 * soak.K)
    world.compare({**far, "version": 2}, good, None)  # of two states: nothing can be said
    assert world.wanted == 2 * soak.K
    with pytest.raises(soak.Failed, match="answers"):
        world.compare(good, short, 4)
    with pytest.raises(soak.Failed, match="shelf"):
        world.compare(good, good, 5)
