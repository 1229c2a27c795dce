"""ONNX Runtime with an engine of TensorRT's: a network is one node, so that its latency is known and no kernel's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx import GraphProto, TensorProto

from edgeprof.backends.gpu import NEEDS, CudaBackend
from edgeprof.errors import BackendError
from edgeprof.nets.model import ModelFile
from edgeprof.nets.operators import parse_model
from edgeprof.sweeps.case import Case
from edgeprof.timing.place import HERE, Place
from edgeprof.timing.traced import Traced

BUILD_S = 600.0  # the longest that an engine may take to build
QUANTISED = "QuantizeLinear"
INT8 = "trt_int8_enable"
# The runtime makes 32-bit numbers of biases, and 8-bit ones of weights, before it asks a provider what it can run.
# TensorRT dequantises no 32-bit numbers (IDequantizeLayer), and 8-bit weights only from release 10 on.
LEFT_OUT = "optimization.disable_specified_optimizers"
BIASES = "WeightBiasQuantization"
WEIGHTS = "ConstantFolding"


class EngineBackend(CudaBackend):
    """A provider of ONNX Runtime that runs the whole network as one engine. Its profile has one node, so totals are
    all there is; a session's first load builds the engine, the later ones of a sweep find it."""

    modes = ("async", "graph")
    patience_s = BUILD_S
    usual = 1

    def facts(self) -> dict[str, Any]:
        """Versions and circumstances; nothing of kernels."""
        return {name: fact for name, fact in super().facts().items() if name not in ("kernels_from", "cupti")}

    def profiled(self, case: Case) -> bool:
        """Never: what runs inside an engine is not in the runtime's profile."""
        return False

    def traced(self, case: Case, request: Mapping[str, Any], timeout_s: float) -> Traced | None:
        """Never: kernels of an engine are of one node, and of no operator."""
        return None

    def __init__(self, place: Place = HERE) -> None:
        super().__init__(place)
        self._needs: dict[Path, dict[str, str]] = {}

    def _request(self, case: Case, model: Path, tiles: Path | None = None) -> dict[str, Any]:
        """As every runtime's, with what a file needs whatever is asked for."""
        request = super()._request(case, model, tiles)
        if isinstance(case.net, ModelFile):
            if model not in self._needs:
                self._needs[model] = self._needed(_graph(model))
            request["options"] = {**self._needs[model], **request["options"]}
        return request

    def _needed(self, graph: GraphProto) -> dict[str, str]:
        """What the runtime must leave alone for the biases of a quantised file to stay as they are."""
        return {LEFT_OUT: BIASES} if _quantised(graph) else {}

    def _model(self, case: Case) -> Path:
        path = super()._model(case)
        wanted = case.precision == "int8" or INT8 in dict(case.provider_options)
        if wanted and not _quantised(_graph(path)):
            raise BackendError(
                f"{case.net.label()} has no {QUANTISED} nodes: TensorRT would not run it in int8",
                "give an ONNX file that is quantised with QuantizeLinear and DequantizeLinear; or --precision fp16",
            )
        return path


class TensorrtBackend(EngineBackend):
    """ONNX Runtime's TensorRT provider. ``fp16`` and ``int8`` allow the builder these formats, and it takes what is
    fastest; ``fp32`` keeps TF32 out by the environment, the only way that the provider has."""

    called = "ort-tensorrt"
    driver = "edgeprof.backends.ort_tensorrt"
    needs: tuple[str, ...] = (*NEEDS, "edgeprof.backends.ort_cuda")
    provider = "TensorrtExecutionProvider"
    precisions: tuple[str, ...] = ("fp32", "tf32", "fp16", "int8")

    def runtime(self) -> str:
        """The engine is as much TensorRT's as the runtime's: both versions."""
        return f"{super().runtime()}, TensorRT {self.facts()['tensorrt']}"

    def _needed(self, graph: GraphProto) -> dict[str, str]:
        """Leave for the formats that its tensors have, too: the provider's networks are not strongly typed (onnxruntime
        issue 13381)."""
        return {**super()._needed(graph), **dict.fromkeys(_leaves(graph), "True")}

    def options(self, precision: str, launch: str) -> tuple[tuple[str, str], ...]:
        allowed = {f"trt_{precision}_enable": "True"} if precision in ("fp16", "int8") else {}
        captured = {"trt_cuda_graph_enable": "True"} if launch == "graph" else {}
        return tuple(sorted({**allowed, **captured, **_as_written(precision)}.items()))


class RtxBackend(EngineBackend):
    """TensorRT-RTX, a plugin of ONNX Runtime. Its number formats are those of the network's own types, written for each
    precision; TF32 is kept out of ``fp32`` as for the others."""

    called = "ort-tensorrt-rtx"
    driver = "edgeprof.backends.ort_rtx"
    needs: tuple[str, ...] = (*NEEDS, "edgeprof.backends.ort_cuda", "edgeprof.backends.ort_tensorrt")
    provider = "NvTensorRTRTXExecutionProvider"
    precisions: tuple[str, ...] = ("fp32", "tf32", "fp16", "int8")

    def runtime(self) -> str:
        """The plugin brings TensorRT-RTX along: both versions."""
        return f"{super().runtime()}, TensorRT-RTX plugin {self.facts()['tensorrt_rtx_plugin']}"

    def options(self, precision: str, launch: str) -> tuple[tuple[str, str], ...]:
        captured = {"enable_cuda_graph": "1"} if launch == "graph" else {}
        return tuple(sorted({**captured, **_as_written(precision)}.items()))


def _graph(path: Path) -> GraphProto:
    """The network of a file."""
    return parse_model(path.read_bytes(), path.name).graph


def _quantised(graph: GraphProto) -> bool:
    """Whether a network says itself what is quantised."""
    return any(node.op_type == QUANTISED for node in graph.node)


def _as_written(precision: str) -> dict[str, str]:
    """What gives a provider the pairs of QuantizeLinear and DequantizeLinear as edgeprof writes them."""
    return {LEFT_OUT: f"{BIASES};{WEIGHTS}"} if precision == "int8" else {}


def _leaves(graph: GraphProto) -> list[str]:
    """Options of the TensorRT provider that the tensors of a network need."""
    casts = {a.i for node in graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"}
    types = (
        {t.data_type for t in graph.initializer} | {v.type.tensor_type.elem_type for v in graph.input} | casts
    )
    pairs = any(node.op_type in (QUANTISED, "DequantizeLinear") for node in graph.node)
    return [*(["trt_fp16_enable"] if TensorProto.FLOAT16 in types else []), *([INT8] if pairs else [])]
