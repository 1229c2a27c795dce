"""Power modes and held clocks as cases need them: set on the board, settled, and put back at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from edgeprof.backends.base import Backend
from edgeprof.boards.locks import Locks
from edgeprof.boards.power import Power
from edgeprof.boards.sensors.host import HostReading
from edgeprof.errors import BoardError
from edgeprof.sweeps.case import Case, Setting
from edgeprof.timing.soak import settle, soak

Control = Power | Locks


class Switch:
    """Brings a board into the setting of a case: power mode, and how clocks are held. What was there before is kept in
    mind, by ``stack``, from the first case on.

    :param soak_s: warm it up after each change, so long at most (s).
    """

    def __init__(
        self,
        power: Control,
        backend: Backend,
        sense: Callable[[], HostReading],
        soak_s: float | None,
        say: Callable[[str], None],
        stack: ExitStack,
    ) -> None:
        self._power, self._backend, self._sense = power, backend, sense
        self._soak_s, self._say, self._stack = soak_s, say, stack
        self._present: Setting | None = None
        self._keeps = False

    def behind_reboot(self, cases: Sequence[Case], agree: Callable[[str], bool]) -> set[str]:
        """The power modes of ``cases`` that need a reboot from where the board is.

        :param agree: asked, with what is to happen, before anything is measured.
        :raises BoardError: nobody agrees, or as for a case.
        """
        names = list(dict.fromkeys(case.power_mode for case in cases if case.power_mode))
        if not names:
            return set()
        assert isinstance(self._power, Power)  # a discrete GPU has no modes
        self._keep()
        was = self._power.left()
        there = [was.name] if was and was.name not in names else []
        modes = self._power.modes([*names, *there])
        found = [mode.name for mode in self._power.behind_reboot(modes)]
        self._present = None
        if found:
            names_ = " and ".join(found)
            what = f"power mode{'s' * (len(found) > 1)} {names_} need{'s' * (len(found) == 1)} a reboot of the board"
            if not agree(what):
                raise BoardError(
                    what, "edgeprof sweep --yes agrees to it; or reboot by hand, and leave out --power-mode"
                )
            self._power.agree()
        return set(found).intersection(names)

    def __call__(self, case: Case) -> None:
        """See that the board is as ``case`` needs it.

        :raises BoardError: this user may not set it, it cannot be set, or a program is missing.
        """
        if case.setting == self._present:
            return
        self._keep()
        name, clocks = case.setting
        mode = self._power.modes([name])[0] if name else None
        self._say(self._power.use(mode, clocks))
        self._present = case.setting
        self._backend.restart()  # a mode may switch cores off
        warmed = soak(case, self._backend, self._sense, self._soak_s) if self._soak_s else None
        if warmed:
            self._say(warmed.told())
        else:
            settle(case, self._backend)

    def _keep(self) -> None:
        if not self._keeps:
            self._stack.enter_context(self._power.kept())
            self._keeps = True


@contextmanager
def switching(
    power: Control,
    backend: Backend,
    sense: Callable[[], HostReading],
    soak_s: float | None,
    say: Callable[[str], None],
) -> Iterator[Switch]:
    """A switch; what was set before its first case is put back at the end, whatever that is."""
    with ExitStack() as stack:
        yield Switch(power, backend, sense, soak_s, say, stack)
