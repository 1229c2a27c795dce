"""Power by rail, from trees with the paths that the kernel documents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgeprof.boards.sensors.rails import Rail, read_rails


def hwmon(number: int, chip: str, files: dict[str, str | bytes | None]) -> dict[str, str | bytes | None]:
    folder = f"sys/class/hwmon/hwmon{number}"
    return {f"{folder}/name": f"{chip}\n", **{f"{folder}/{key}": value for key, value in files.items()}}


def channel(number: int, label: str | None, mv: str, ma: str) -> dict[str, str | bytes | None]:
    files: dict[str, str | bytes | None] = {f"in{number}_input": mv, f"curr{number}_input": ma}
    return files if label is None else {f"in{number}_label": label, **files}


def test_an_orin_nano(tree: Callable[..., Path]) -> None:
    ina3221 = {
        **channel(1, "VDD_IN\n", "5000\n", "2495\n"),
        **channel(2, "VDD_CPU_GPU_CV\n", "5000\n", "933\n"),
        **channel(3, "VDD_SOC\n", "5000\n", "563\n"),
        "in4_input": "1",
        "in7_input": "3",
        "in7_label": "sum of shunt voltages\n",
        "curr4_input": "3991\n",
    }
    root = tree({**hwmon(0, "pwmfan", channel(1, "FAN", "1", "1")), **hwmon(1, "ina3221", ina3221)})
    assert dict(read_rails(root)) == {
        "VDD_IN": Rail(12475, 5000, 2495),
        "VDD_CPU_GPU_CV": Rail(4665, 5000, 933),
        "VDD_SOC": Rail(2815, 5000, 563),
    }


def test_an_agx_orin_has_two_chips_and_inputs_without_a_rail(tree: Callable[..., Path]) -> None:
    first = {
        **channel(1, "VDD_GPU_SOC", "19000", "120"),
        **channel(2, "VDD_CPU_CV", "19000", "50"),
        **channel(3, "VIN_SYS_5V0", "4968", "953"),
    }
    second = {
        **channel(1, "NC", "0", "0"),
        **channel(2, "VDDQ_VDD2_1V8AO", "4968", "80"),
        **channel(3, None, "0", "0"),
    }
    found = read_rails(tree({**hwmon(3, "ina3221", first), **hwmon(4, "ina3221", second)}))
    assert found.keys() == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    assert found["VDD_GPU_SOC"].mw == 2280


def test_thor_measures_its_input_with_a_chip_of_one_channel(tree: Callable[..., Path]) -> None:
    files = {"in0_input": "2", "in1_input": "19800", "curr1_input": "1460", "power1_input": "28906000"}
    assert dict(read_rails(tree(hwmon(5, "ina238", {**files, "label": "VIN\n"})))) == {
        "VIN": Rail(28906, 19800, 1460)
    }


def test_a_chip_without_any_label_goes_by_its_own_name(tree: Callable[..., Path]) -> None:
    assert dict(read_rails(tree(hwmon(5, "ina238", {"in1_input": "19800", "curr1_input": "100"})))) == {
        "ina238": Rail(1980, 19800, 100)
    }


def test_a_nano_with_nvidia_s_older_driver(tree: Callable[..., Path]) -> None:
    folder = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    root = tree(
        {
            f"{folder}/rail_name_0": "POM_5V_IN\n",
            f"{folder}/in_power0_input": "2532\n",
            f"{folder}/in_voltage0_input": "5064\n",
            f"{folder}/in_current0_input": "500\n",
            f"{folder}/rail_name_1": "POM_5V_GPU\n",
            f"{folder}/in_voltage1_input": "5000\n",
            f"{folder}/in_current1_input": "40\n",
            f"{folder}/rail_name_2": "POM_5V_CPU\n",
            f"{folder}/in_power2_input": None,
        }
    )
    assert dict(read_rails(root)) == {
        "POM_5V_IN": Rail(2532, 5064, 500),
        "POM_5V_GPU": Rail(200, 5000, 40),
    }


def test_a_channel_that_is_switched_off_is_absent(tree: Callable[..., Path]) -> None:
    files = {**channel(1, "VDD_IN", "5000", "100"), **channel(2, "VDD_SOC", "5000", "1"), "curr3_input": "7"}
    root = tree(hwmon(1, "ina3221", {**files, "in3_input": None, "in3_label": "VDD_OFF"}))
    assert read_rails(root).keys() == {"VDD_IN", "VDD_SOC"}


def test_no_monitor(tmp_path: Path) -> None:
    assert dict(read_rails(tmp_path)) == {}
