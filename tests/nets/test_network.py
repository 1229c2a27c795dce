"""Network: every kind of network offers the same."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
import pytest

from edgeprof.errors import SpecError
from edgeprof.nets.build import build_model, model_bytes
from edgeprof.nets.model import model_file
from edgeprof.nets.network import (
    Network,
    ZooNet,
    build_network,
    net_key,
    net_operators,
    network_bytes,
    of_family,
    rebuildable,
    total_macs,
    total_parameters,
    weights_folder,
)
from edgeprof.nets.operators import operators
from edgeprof.nets.spec import net_spec
from edgeprof.nets.zoo import published_parameters

SMALL = net_spec(conv=1, depth=4, fc=1, neurons=8)


@pytest.fixture
def networks(tmp_path: Path) -> list[Network]:
    path = tmp_path / "small.onnx"
    onnx.save(build_model(SMALL, 2), path)
    return [SMALL, ZooNet(name="lenet5"), model_file(path)]


def test_every_kind_has_operators_macs_bytes_label_and_key(networks: list[Network]) -> None:
    for net in networks:
        assert total_macs(net, 2) == sum(op.macs for op in net_operators(net, 2)) > 0
        assert total_parameters(net) > 0
        assert net.label()
        assert rebuildable(net)
        assert weights_folder(net) is None
        whole = onnx.load_from_string(network_bytes(net, 2))
        assert [op.name for op in operators(whole)] == [op.name for op in net_operators(net, 2)]
        assert network_bytes(net, 2) == network_bytes(net, 2)
        assert len(build_network(net, 2, weights=False).graph.node) == len(whole.graph.node)
    assert len({net_key(net) for net in networks}) == len(set(networks)) == len(networks)


def test_a_file_is_the_network_that_was_written(networks: list[Network]) -> None:
    family, _, file = networks
    assert network_bytes(family, 2) == model_bytes(SMALL, 2)
    assert total_macs(file, 2) == total_macs(family, 2)
    assert total_parameters(file) == total_parameters(family)


def test_a_network_of_the_zoo() -> None:
    net = ZooNet(name="lenet5")
    assert total_parameters(net) == published_parameters("lenet5")
    assert math.isclose(total_macs(net, 8), 8 * total_macs(net, 1))


def test_what_needs_the_family_says_so(networks: list[Network]) -> None:
    assert of_family(networks[0], "tiles") is SMALL
    with pytest.raises(SpecError, match="tiles: lenet5 is not of the family"):
        of_family(networks[1], "tiles")
