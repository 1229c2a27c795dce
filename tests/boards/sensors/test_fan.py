"""The fan's duty by the drivers of newer and older releases."""

import pytest

from edgeprof.boards.sensors.fan import read_fan_pct


def test_the_fan_of_newer_releases(tree):
    hwmon = "sys/class/hwmon/hwmon"
    files = {
        f"{hwmon}2/name": "pwmfan\n",
        f"{hwmon}2/pwm1": "51\n",
        f"{hwmon}3/name": "nvme",
        f"{hwmon}3/pwm1": "255",
    }
    assert read_fan_pct(tree(files)) == pytest.approx(20)


def test_the_fan_of_older_releases(tree):
    assert read_fan_pct(tree({"sys/devices/pwm-fan/target_pwm": "255\n"})) == 100


def test_no_fan(tree):
    assert read_fan_pct(tree({})) is None
