"""The CUDA provider on libraries that stand in CUDA's place: what it does on the host, where onnxruntime-gpu is
installed and no driver is. Nothing here is a figure of a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprof.backends.cuda import CudaError, Device
from edgeprof.nets.build import model_bytes
from edgeprof.nets.spec import net_spec
from tools import cuda_stand_in

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, sys
from edgeprof.backends import ort_cuda
from edgeprof.timing import worker

found = {}
for options in ({"use_tf32": "0"}, {"use_tf32": "0", "enable_cuda_graph": "1"}):
    session = ort_cuda.load(sys.argv[1], 1, [ort_cuda.PROVIDER], options, None, len(options) == 1 and "times")
    session.bind({name: ort_cuda.noise(one, 0) for name, one in session.inputs().items()})
    for _ in range(3):
        session.run()
    found["out"] = [list(array.shape) for array in session.run_from_host()]
    if len(options) == 1:
        kernels, spans = session.profile(1)
        found["nodes"] = [[kernel["name"], kernel["op_type"], kernel["provider"]] for kernel in kernels]
    session.close()
request = {"do": "try", "model": sys.argv[2], "weights": None, "inputs": None, "threads": 1, "options": {}}
request.update(providers=[ort_cuda.PROVIDER], bounded=False)
free = ort_cuda.device().free_bytes()
found["answer"] = worker.answer(request, None, ort_cuda, None)
found["left"] = ort_cuda.device().free_bytes() - free
print(json.dumps(found))
"""


def no_driver() -> bool:
    try:
        Device()
    except CudaError:
        return True
    return False


@pytest.mark.skipif(cuda_stand_in.provider() is not None, reason="onnxruntime-gpu is installed")
def test_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["cuda_stand_in", str(tmp_path)])
    assert cuda_stand_in.main() == 2
    assert cuda_stand_in.missing().startswith(("there is no ", "onnxruntime-gpu is not installed"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(bool(cuda_stand_in.missing()), reason="cc, nm or onnxruntime-gpu is not there")
@pytest.mark.skipif(not no_driver(), reason="there is a driver")
def test_the_provider_runs_on_it(tmp_path: Path) -> None:
    cuda_stand_in.build(tmp_path / "libraries")
    small, large = tmp_path / "small.onnx", tmp_path / "large.onnx"
    net = net_spec(conv=1, depth=4, fc=1, neurons=8)
    small.write_bytes(model_bytes(net, 2))
    large.write_bytes(model_bytes(net_spec(conv=2, depth=64, padding="same", fc=0), 256))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(small), str(large)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "LD_LIBRARY_PATH": str(tmp_path / "libraries"),
            "STAND_IN_MIB": "40",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert found["out"] == [[2, 10]]
    assert [name for name, _, _ in found["nodes"]][:3] == ["conv1", "conv1_relu", "pool1"]
    assert {provider for _, _, provider in found["nodes"]} == {"CUDAExecutionProvider"}
    assert found["answer"]["kind"] == "memory"
    assert found["answer"]["bytes"] == 4 * 256 * 64 * 28 * 28
    assert found["left"] == 0
