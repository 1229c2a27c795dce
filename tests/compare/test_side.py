"""Sides by name."""

from __future__ import annotations

import pytest

from edgeprof.compare.side import read_side
from edgeprof.errors import FitError, StoreError
from edgeprof.fit.law_file import read_law, write_law

pytestmark = pytest.mark.usefixtures("in_folder")


def test_names_of_sides(database, tmp_path):
    database("edgeprof.db", nets=2, backend="simulated:law,noise=0.01")
    assert len(read_side(":batch=1").cases) == 1
    assert len(read_side("edgeprof.db:backend=simulated:law,noise=0.01,batch=2").cases) == 1
    assert read_side("gtx960-theano").law.name == "gtx960-theano"
    write_law(read_law("gtx960-theano"), tmp_path / "x.json")
    assert read_side("x.json").law.name == "gtx960-theano"
    database("odd:batch=1.db", nets=2)
    assert len(read_side("odd:batch=1.db").cases) == 2
    with pytest.raises(FitError, match="'colour=red' is no condition"):
        read_side("edgeprof.db:colour=red")
    with pytest.raises(FitError, match="no measurement has batch=7"):
        read_side("edgeprof.db:batch=7")
    with pytest.raises(StoreError, match=r"no database none\.db"):
        read_side("none.db")
