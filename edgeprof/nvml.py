"""What NVIDIA's driver says of a GPU (NVML): clocks, temperature, memory, fan, power, energy, cut clocks.

Python 3.6 syntax, standard library, and nvidia-ml-py where it is installed: this file is sent to the worker and to the
guest. What a GPU does not tell is absent, never zero: what it does not support, what this user may not ask, all of it
when it is lost. Functions are those of the NVML API Reference Guide (R590; R535 for names of before).
"""

import time

# nvml.h, nvmlClocksEventReasons; those of which a kernel runs slower than it could
CUTS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
# nvml.h, NVML_FI_DEV_POWER_…: averaged over a second (Ampere and newer, but not GA100), and at the moment
POWER_AVERAGE, POWER_INSTANT = 185, 186
AVERAGED, INSTANT, USAGE = "averaged over 1 s", "at moments", "as the driver samples it"
# nvml.h, nvmlValueType_t: the part of the union that a value is in
PARTS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


class NoDriver(Exception):
    """Nothing answers for GPUs here. ``hint`` tells what to do."""

    def __init__(self, text, hint):
        super().__init__(text)
        self.hint = hint


def opened():
    """NVIDIA's bindings, with the driver's library open; it is closed by ``nvmlShutdown``. NoDriver where there is
    none."""
    try:
        import pynvml
    except ImportError:
        raise NoDriver(
            "NVIDIA GPUs are found through nvidia-ml-py, which is not installed",
            "pip install nvidia-ml-py, or edgeprof with its extra: pip install 'edgeprof[gpu]'",
        ) from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise NoDriver(
            "no NVIDIA driver answers here: %s" % error,
            "nvidia-smi must list the GPU; in a container, pass it in",
        ) from None
    return pynvml


def gpus():
    """Name and memory in MiB (None if unknown) of every GPU, in the driver's order; NoDriver where there is none."""
    nvml = opened()
    try:
        found = []
        for number in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(number)
            name = nvml.nvmlDeviceGetName(handle)
            memory = Sensors(nvml, handle).asked("nvmlDeviceGetMemoryInfo")
            text = name.decode() if isinstance(name, bytes) else str(name)
            found.append({"name": text, "memory_mib": None if memory is None else memory.total // 2**20})
    except nvml.NVMLError as error:
        raise NoDriver(
            "the NVIDIA driver does not name its GPUs: %s" % error, "see what nvidia-smi says"
        ) from None
    finally:
        nvml.nvmlShutdown()
    if not found:
        raise NoDriver("the NVIDIA driver lists no GPU", "nvidia-smi must list the GPU")
    return found


def open_sensors(address):
    """The sensors of the GPU at a PCI address; None where nothing answers for it."""
    try:
        nvml = opened()
    except NoDriver:
        return None
    try:
        return Sensors(nvml, nvml.nvmlDeviceGetHandleByPciBusId(address.encode()))
    except nvml.NVMLError:
        return None


class Sensors:
    """Sensors of one GPU, through the module of NVIDIA's bindings. ``lost``: it answered that it is; ``denied``: the
    functions that this user may not ask."""

    def __init__(self, nvml, handle):
        self._nvml, self._handle = nvml, handle
        self.lost, self.denied = False, set()

    def read(self):
        """What is known at once, just after runs: clocks in MHz, temperature in °C, memory in use in MiB, the fan's
        intended speed in percent, whether and why clocks are cut. Power is left out: its sensor averages over more
        time than a few runs take."""
        nvml = self._nvml
        memory = self.asked("nvmlDeviceGetMemoryInfo")
        reasons = self.first(
            "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
        )
        found = {
            "gpu_mhz": self.asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
            "gpu_memory_mhz": self.asked("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            "temperature_c": self.first(
                "nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU
            ),
            "gpu_used_mib": None if memory is None else memory.used / 2.0**20,
            "fan_pct": self.asked("nvmlDeviceGetFanSpeed"),
        }
        if reasons is not None:
            found["throttle_reasons"] = cuts(reasons)
            found["throttled"] = bool(found["throttle_reasons"])
        return known(found)

    def look(self):
        """The same while a network runs on and on, with load in percent, power in mW (``power_source``: how it is
        sampled), and the energy counter in mJ (Volta and newer) with the moment at which it was read, in seconds."""
        power, source = self._power()
        load = self.asked("nvmlDeviceGetUtilizationRates")
        at_s = time.monotonic()
        found = {
            "energy_mj": self.asked("nvmlDeviceGetTotalEnergyConsumption"),
            "at_s": at_s,
            "power_mw": power,
            "power_source": source,
            "gpu_load_pct": None if load is None else load.gpu,
        }
        found.update(self.read())
        return known(found)

    def _power(self):
        """Power in mW, and how the driver comes by it; None, None where it does not tell."""
        for field, source in ((POWER_AVERAGE, AVERAGED), (POWER_INSTANT, INSTANT)):
            power = self._field(field)
            if power is not None:
                return power, source
        power = self.asked("nvmlDeviceGetPowerUsage")
        return power, None if power is None else USAGE

    def _field(self, number):
        """A field value; None where the GPU or its driver has none. Each value has a status of its own."""
        values = self.asked("nvmlDeviceGetFieldValues", [number])
        if not values or values[0].nvmlReturn != self._nvml.NVML_SUCCESS:
            return None
        return getattr(values[0].value, PARTS.get(values[0].valueType, ""), None)

    def first(self, name, older, *arguments):
        """The answer of a function under its name of today, or else the older one."""
        found = self.asked(name, *arguments)
        return self.asked(older, *arguments) if found is None else found

    def asked(self, name, *arguments):
        """The answer of a function of NVML; None where it, or the GPU, has none."""
        function = getattr(self._nvml, name, None)
        try:
            return function(self._handle, *arguments) if function else None
        except self._nvml.NVMLError as error:
            self.lost = self.lost or error.value == self._nvml.NVML_ERROR_GPU_IS_LOST
            if error.value == self._nvml.NVML_ERROR_NO_PERMISSION:
                self.denied.add(name)
            return None


def known(found):
    """What is not None."""
    return {name: value for name, value in found.items() if value is not None}


def cuts(reasons):
    """The reasons in a mask that make kernels slower."""
    return [text for bit, text in sorted(CUTS.items()) if reasons & bit]
