# SPDX-License-Identifier: Apache-2.0
"""Indexes opened on devices answer as they do on the processor."""

import kith
import numpy as np
import pytest

needs_device = pytest.mark.skipif(not kith.devices(), reason="this machine has no OpenCL device")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("device") / "items.kith"
    rows = np.random.default_rng(3).standard_normal((3000, 40), dtype=np.float32)
    kith.Index.build(rows, metric="cosine").save(path)
    return path


def test_devices():
    for device in kith.devices():
        assert set(device) == {"backend", "name", "driver", "memory_bytes", "units", "obstacle"}
        assert device["backend"] == "opencl" and device["memory_bytes"] > 0


@needs_device
@pytest.mark.parametrize("options", [{"device": "opencl"}, {"device": "opencl", "device_bytes": 40_000},
                                     {"device": "auto"}])
def test_same_answers(path, options):
    queries = np.random.default_rng(4).standard_normal((50, 40), dtype=np.float32)
    expected = kith.open(path).search(queries, k=7)
    index = kith.open(path, **options)
    found = index.search(queries, k=7)
    assert np.array_equal(found.ids, expected.ids) and np.array_equal(found.distances, expected.distances)
    assert expected.explain["device"] == "" and expected.explain["device_seconds"]["compute"] == 0
    assert found.explain["plan"] == "device" and found.explain["exact"]
    assert found.explain["device"] and found.explain["device_seconds"]["compute"] > 0
    allowed = index.search(queries, k=7, allow=range(0, 3000, 3), plan="device")
    assert np.all(allowed.ids % 3 == 0) and allowed.explain["plan"] == "device"


def test_refused(path):
    with pytest.raises(kith.ArgumentError, match="device"):
        kith.open(path, device="cuda")
    with pytest.raises(kith.UnsupportedError, match="without a device"):
        kith.open(path).search(np.zeros(40, np.float32) + 1, k=1, plan="device")
    assert kith.open(path, device="auto").search(np.ones(40, np.float32), k=1).ids.shape == (1,)
