"""Sensors of an NVIDIA GPU, read by the process that uses it, just after runs: clocks, temperature, memory, cut clocks.

Python 3.6 syntax, standard library, and nvidia-ml-py where it is installed: this file is sent to the worker. What a GPU
does not tell is absent. Power is left out: its sensor averages over more time than a few runs take.
"""

# nvml.h, nvmlClocksEventReasons; those of which a kernel runs slower than it could
CUTS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


def open_sensors(address):
    """The sensors of the GPU at a PCI address; None where nvidia-ml-py or the driver's library is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return Sensors(pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(address.encode()))
    except pynvml.NVMLError:
        return None


class Sensors:
    """Sensors of one GPU, through the module of NVIDIA's bindings."""

    def __init__(self, nvml, handle):
        self._nvml, self._handle = nvml, handle

    def read(self):
        """What is known now: clocks in MHz, temperature in °C, memory in use in MiB, whether and why clocks are cut."""
        nvml = self._nvml
        memory = self._asked("nvmlDeviceGetMemoryInfo")
        found = {
            "gpu_mhz": self._asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            "gpu_memory_mhz": self._asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            "temperature_c": self._asked("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
            "gpu_used_mib": None if memory is None else memory.used / 2.0**20,
        }
        reasons = self._asked("nvmlDeviceGetCurrentClocksEventReasons")
        if reasons is None:  # the name before driver 535
            reasons = self._asked("nvmlDeviceGetCurrentClocksThrottleReasons")
        if reasons is not None:
            found["throttle_reasons"] = cuts(reasons)
            found["throttled"] = bool(found["throttle_reasons"])
        return {name: value for name, value in found.items() if value is not None}

    def _asked(self, name, *arguments):
        """The answer of a function of NVML; None where it, or the GPU, has none."""
        function = getattr(self._nvml, name, None)
        try:
            return function(self._handle, *arguments) if function else None
        except self._nvml.NVMLError:
            return None


def cuts(reasons):
    """The reasons in a mask that make kernels slower."""
    return [text for bit, text in sorted(CUTS.items()) if reasons & bit]
