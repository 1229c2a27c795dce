"""Kernel names: what the name of a GPU kernel tells of how it works.

NVIDIA's libraries name their kernels after what they are: ``sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_
nhwc_tilesize128x128x16_…`` is an implicit GEMM in TF32 with tiles of 128 × 128 × 16, compiled for compute capability
8.0. No document lists them; the rules here were read off names in public traces (tests/data/kernels).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

UNKNOWN = "unknown"
PRODUCTS = frozenset(
    {"implicit-gemm", "explicit-gemm", "winograd", "fft", "direct", "depthwise", "gemm", "gemv"}
)

# What a name has in it → how the kernel works; the first that fits. Small letters, without the parameter list.
IMPLEMENTATIONS = (
    (r"memset", "memset"),
    (r"memcpy", "copy"),
    (r"splitk_?reduc", "split-k-reduction"),
    (r"flip_filter|computeoffsets|gemm_pointers", "setup"),
    (r"nchwtonhwc|nhwctonchw|transpose(?!conv)|permut|reformat|copypacked", "layout"),
    (r"flash_|fmha|sdpa|attention", "attention"),
    (r"winograd", "winograd"),
    (r"fft|cgemm|float2\b|mult_and_sum_complex", "fft"),
    (r"im2col|explicit_convolve", "explicit-gemm"),
    (r"depthwise|conv2d_c1_k1", "depthwise"),
    (r"grouped_direct|direct_conv", "direct"),
    (r"dgrad2d|dgrad_engine|wgrad_alg", "backward"),
    (r"implicit_?gemm|convolve|cudnn_\d|[shi]\d*cudnn_|fprop|convfwd|conv\dd|first_layer", "implicit-gemm"),
    (r"pool", "pooling"),
    (r"softmax", "softmax"),
    (r"\bbn_|batch_?norm|layer_?norm|group_?norm|rms_?norm|\blrn", "normalisation"),
    (r"gemmk1|gemmsn", "gemm"),
    (r"gemv|dot_kernel", "gemv"),
    (r"gemm|nvjet|matmul", "gemm"),
    (r"resize|ups?ample", "resize"),  # ONNX Runtime writes upample
    (r"(?<!all)reduc", "reduction"),
    (r"__myl", "fused"),
    (
        r"elementwise|pointwise|op_(?:generic_)?tensor|activation|relu|bias|concat|half_rn|pad|copy|scal|fill|clip|split|slice|"
        r"gather|scatter",
        "elementwise",
    ),
)
FAMILIES = ("maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell")
BEFORE_TF32 = ("maxwell", "pascal", "volta", "turing", "sm50", "sm52", "sm60", "sm61", "sm70", "sm72", "sm75")
TYPES = {"f": "fp", "tf": "tf", "bf": "bf", "i": "int", "s": "int", "e": "fp8"}
TEMPLATES = (
    ("__half", "fp16"),
    ("__nv_bfloat16", "bf16"),
    ("signed char", "int8"),
    ("float", "fp32"),
    ("double", "fp64"),
)
XMMA_TYPES = re.compile(r"_((?:tf|bf|f|i)\d+|e\dm\d)(?:(?:tf|bf|f|i)\d+|e\dm\d)_((?:tf|bf|f|i)\d+|e\dm\d)")
TILES = (
    r"tilesize(\d+x\d+x\d+)",
    r"_(\d+x\d+)_(\d+)x\d+(?=_|$)",  # CUTLASS and nvjet: rows x columns, depth x stages
    r"_(\d+x\d+x\d+)(?=_|$)",
    r"_(\d{2,}x\d+)(?=_|$|<)",
)


@dataclass(frozen=True)
class KernelName:
    """What a kernel's name tells: its ``implementation`` (or :data:`UNKNOWN`), and, empty where it does not say, the
    ``tile`` of the output that a block makes (rows x columns, x depth), the ``precision`` of its multiplications and
    the ``architecture`` that it was compiled for. ``plain`` is the name without its parameters."""

    plain: str
    implementation: str = UNKNOWN
    tile: str = ""
    precision: str = ""
    architecture: str = ""

    @property
    def words(self) -> str:
        """Implementation, precision and tile, joined by dots."""
        return ".".join(filter(None, (self.implementation, self.precision, self.tile)))


def read_name(name: str) -> KernelName:
    """What ``name``, demangled, tells; a name that fits no rule is ``unknown``, and kept."""
    plain = plain_name(name)
    text = plain.lower()
    implementation = next((word for pattern, word in IMPLEMENTATIONS if re.search(pattern, text)), UNKNOWN)
    architecture = _architecture(text)
    return KernelName(plain, implementation, _tile(text), _precision(text, architecture), architecture)


def plain_name(name: str) -> str:
    """A kernel's name without what it returns and the types of its parameters."""
    text = re.sub(r"^void ", "", name.strip())
    depth = 0
    for place, letter in enumerate(text):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0 and not text.startswith("(anonymous", place):
            return text[:place].rstrip()
    return text


def _architecture(text: str) -> str:
    if found := re.search(r"(?:^|_)sm_?(\d{2,3})(?=_|$)|cutlass_(\d{2,3})_", text):
        return f"sm{found[1] or found[2]}"
    head = text.partition("<")[0]
    return next((family for family in FAMILIES if re.search(rf"(?:^|_){family}_", head)), "")


def _tile(text: str) -> str:
    """Of ``winograd4x4`` the digits are no tile: a tile stands alone between underscores."""
    for pattern in TILES:
        if found := re.search(pattern, text):
            return "x".join(found.groups())
    return ""


def _precision(text: str, architecture: str) -> str:
    """By the names of types in the order in which they decide: those of the multiplication, then of the operands."""
    if found := XMMA_TYPES.search(text):
        return _type(found[2])
    if re.search(r"(?:^|_)nvjet", text):
        letters = re.search(r"nvjet_(?:sm\d+_)?([a-z])[a-z]*_", text)
        return {"h": "fp16", "t": "bf16", "q": "fp8"}.get(letters[1] if letters else "", "")
    if re.search(r"(?:^|_)[su]4_", text):
        return "int4"
    if re.search(r"int8|i\d+(?:gemm|cudnn|fprop)|(?:^|_)i(?:gemm|cudnn)|imma", text):
        return "int8"
    if re.search(r"e4m3|e5m2|fp8", text):
        return "fp8"
    if "tf32" in text:
        return "tf32"
    if re.search(r"(?:^|_)bf16", text):
        return "bf16"
    if re.search(r"(?:^|_)f(?:p)?16|(?:^|_)h\d*(?:gemm|cudnn|fprop)|hmma", text):
        return "fp16"
    if re.search(r"(?:^|_)s\d{3,}(?:gemm|cudnn|fprop)", text):  # tensor cores, fp32 in and out
        return "fp16" if architecture in BEFORE_TF32 else "tf32"
    if re.search(r"(?:^|_)(?:s|c|gc)(?:gemm|cudnn)|ffma", text):
        return "fp32"
    if re.search(r"(?:^|_)(?:d|z)gemm", text):
        return "fp64"
    if "fp32" in text:
        return "fp32"
    _, _, arguments = text.partition("<")
    places = {arguments.find(word): name for word, name in TEMPLATES if word in arguments}
    return places[min(places)] if places else ""


def _type(word: str) -> str:
    """``f16`` → ``fp16``, ``tf32`` → ``tf32``, ``i8`` → ``int8``, ``e4m3`` → ``fp8``."""
    letters = word.rstrip("0123456789")
    if word[0] == "e":
        return "fp8"
    return f"{TYPES[letters]}{word[len(letters) :]}"
