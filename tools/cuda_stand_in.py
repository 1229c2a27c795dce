"""Libraries in the place of CUDA, cuBLAS, cuDNN and the driver, for a machine without a GPU:
``python -m tools.cuda_stand_in FOLDER``, then ``LD_LIBRARY_PATH=FOLDER edgeprof … --backend ort-cuda``.

ONNX Runtime's CUDA provider (onnxruntime-gpu 1.31, of the same environment) then does on the host all that it does:
partitions, optimises, allocates, captures, profiles. No kernel is launched, so that no time and no result means
anything. ``STAND_IN_MIB`` is how much memory the device has (8192). It shows what the runtime makes of a network and
how it words trouble; tests/data/profiles was written so. Needs ``cc`` and ``nm``.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
PROVIDER = "capi/libonnxruntime_providers_cuda.so"
# Library, the part of the source that is it, and what it has beside what the provider links.
LIBRARIES = (
    ("libcudart.so.13", "CUDART", ()),
    ("libcublas.so.13", "CUBLAS", ()),
    ("libcublasLt.so.13", "CUBLASLT", ()),
    ("libcurand.so.10", "CURAND", ("curandCreateGenerator",)),
    (
        "libcudnn.so.9",
        "CUDNN",
        tuple(
            f"cudnn{name}"
            for name in (
                *(
                    "ActivationForward",
                    "AddTensor",
                    "BackendDestroyDescriptor",
                    "BackendExecute",
                    "BackendFinalize",
                ),
                *("BackendInitialize", "BackendSetAttribute", "BatchNormalizationForwardInference"),
                *("DeriveBNTensorDescriptor", "Destroy", "DestroyActivationDescriptor"),
                *("DestroyConvolutionDescriptor", "DestroyFilterDescriptor", "DestroyLRNDescriptor"),
                *("DestroyPoolingDescriptor", "DestroyReduceTensorDescriptor", "DestroyTensorDescriptor"),
                *(
                    "GetStream",
                    "GetTensorNdDescriptor",
                    "LRNCrossChannelForward",
                    "PoolingForward",
                    "ReduceTensor",
                ),
                *("SetActivationDescriptor", "SetConvolutionGroupCount", "SetConvolutionMathType"),
                *("SetConvolutionNdDescriptor", "SetFilter4dDescriptor", "SetFilterNdDescriptor"),
                *("SetLRNDescriptor", "SetPoolingNdDescriptor", "SetReduceTensorDescriptor", "SetStream"),
                *(
                    "SetTensor4dDescriptor",
                    "SetTensor4dDescriptorEx",
                    "SetTensorNdDescriptor",
                    "SoftmaxForward",
                ),
                *("GetReductionWorkspaceSize", "GetReductionIndicesSize"),
            )
        ),
    ),
    (
        "libcuda.so.1",
        "CUDA",
        (
            *(
                "cuTensorMapEncodeTiled",
                "cuInit",
                "cuCtxSetCurrent",
                "cuCtxSynchronize",
                "cuStreamSynchronize",
            ),
            "cuEventSynchronize",
        ),
    ),
)


def main() -> int:
    """Build them; status 2 where something is missing."""
    if len(sys.argv) != 2:
        print((__doc__ or "").partition("\n\n")[0], file=sys.stderr)
        return 2
    if lacking := missing():
        print(f"error: {lacking}", file=sys.stderr)
        return 2
    build(Path(sys.argv[1]))
    return 0


def missing() -> str:
    """What is needed and not there; empty where all is."""
    for program in ("cc", "nm"):
        if not shutil.which(program):
            return f"there is no {program}"
    return "" if provider() else "onnxruntime-gpu is not installed here"


def provider() -> Path | None:
    """The library of the CUDA provider in this environment."""
    spec = importlib.util.find_spec("onnxruntime")
    path = Path(spec.origin or "").parent / PROVIDER if spec else None
    return path if path and path.exists() else None


def build(folder: Path) -> None:
    """The libraries in ``folder``, with every function that the provider links; symbols have the versions it wants."""
    folder.mkdir(parents=True, exist_ok=True)
    own = set(re.findall(r"\b((?:__)?cu\w+)\(", SOURCE.read_text("utf-8")))
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(provider())], capture_output=True, text=True, check=True
    )
    linked = re.findall(r" (\w+)@(lib\w+\.so\.\d+)", listed.stdout)
    for library, part, more in LIBRARIES:
        names = {name for name, of in linked if of == library} | set(more)
        versioned = any(of == library for _, of in linked)
        with tempfile.TemporaryDirectory() as scratch:
            empty, versions = Path(scratch) / "empty.c", Path(scratch) / "versions"
            empty.write_text(
                "".join(f"int {name}(void) {{ return 0; }}\n" for name in sorted(names - own)), "utf-8"
            )
            versions.write_text(f"{library} {{ global: *; }};\n", "utf-8")
            command = [
                "cc",
                "-shared",
                "-fPIC",
                "-w",
                "-fno-builtin",
                f"-D{part}",
                str(SOURCE),
                str(empty),
                "-ldl",
            ]
            script = [f"-Wl,--version-script={versions}"] if versioned else []
            target = ["-o", str(folder / library), f"-Wl,-soname,{library}", *script]
            subprocess.run([*command, *target], check=True)


if __name__ == "__main__":
    sys.exit(main())
