"""What prices kernels: the one interface of measured, fitted, analytical and foreign targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from hwprofile.energy import Power
from hwprofile.estimate import Estimate
from hwprofile.kernel import Kernel
from hwprofile.runtime import Runtime


class Target(ABC):
    """A device, a runtime and a coverage, with all that is needed to price kernels there.

    A subclass sets the attributes and writes `alone` and `describe`; the rest has a default. Prices
    of equal kernels are equal, and a search asks for them millions of times: cache them. Not meant
    to be shared between threads; must survive `pickle`.
    """

    name: str
    """The name it is asked for by."""
    runtime: Runtime
    """What launches the kernels."""
    schemes: tuple[str, ...]
    """Precision schemes that the device runs."""
    default_scheme: str = "fp16"
    """The scheme of a network unless another is asked for."""
    power: Power | None = None
    """What energy is estimated from; None where the device has no power figures."""
    coverage: float = 0.9
    """Share of measurements that should lie inside a range, in 0..1."""

    @abstractmethod
    def alone(self, kernel: Kernel) -> Estimate:
        """Time of one launch by itself, in ms, with the range of such single times.

        Raises:
            ValueError: the device does not run the kernel's scheme.
        """

    @abstractmethod
    def describe(self) -> str:
        """What the prices rest on, as lines for people: figures, rows, from when."""

    def price(self, kernel: Kernel) -> Estimate:
        """What a launch adds to a network's time, in ms, and to the ends of the network's range.

        Errors of many launches cancel in part, so the range may be narrower than that of `alone`.
        """
        return self.alone(kernel)

    def alone_all(self, kernels: Iterable[Kernel]) -> list[Estimate]:
        """`alone` of many; as `price_all`."""
        return [self.alone(kernel) for kernel in kernels]

    def price_all(self, kernels: Iterable[Kernel]) -> list[Estimate]:
        """`price` of many; a target whose prices are costly does it at once."""
        return [self.price(kernel) for kernel in kernels]

    def host(self, kernel: Kernel) -> Estimate | None:
        """What the host needs to send a launch off, in ms, while the device works on earlier ones.

        None where it never decides: in a graph, or where host and device are one.
        """
        return None

    @property
    def launch_floor_ms(self) -> float:
        """No launch is priced below this, in ms."""
        return 0.0
