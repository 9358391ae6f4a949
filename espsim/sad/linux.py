"""Kernels by name: an SPI rule with that kernel's other habits, as these kernels were observed.

An SPI rule's own name comes with the habits of `linux-6.12`, the default.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from espsim.core.echo import did_you_mean, shortened
from espsim.core.errors import EspsimError, InputError, XfrmError
from espsim.sad.spi import SPI_RULES, SpiRule

OPTIONS = {
    "acquire-uapi": "messages to get and delete a state with SPI 0, by tuple or by sequence number (Antony Antony)",
    "encap-port-key": "the triple gains the UDP destination port, so that peers behind one NAT may share an SPI",
    "strict-windows": "every duplicate is refused, also where Linux passes one (a window that does not divide 2^32)",
    "no-iptfs": "a kernel built without IPTFS, as Debian's: mode 5 is taken, its options are not, and no packet leaves",
    "ring-windows": "changes nothing: windows are Linux's rings unless strict-windows says otherwise",
}


class KernelHang(EspsimError):  # noqa: N818 - an outcome to report, not a fault
    """The kernel would hang here: 6.1.192's soft lock-up after SPI 0 was linked twice into its hash chain."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel's habits.

    `texts`: it has the extack texts of 6.2 and later; `sa_dir`: it knows SA_DIR and SA_PCPU (6.10); `iptfs`: NEWSA has
    the rules of mode 5 (6.14), and `iptfs_module`: it can run that mode (`no-iptfs` takes it away); `newest`: what 7.2
    and 7.3 were seen to have (MIGRATE_STATE, two texts about MTIMER_THRESH, a limit of TFC padding, a text of MIGRATE).
    """

    name: str
    rule: str
    texts: bool
    sa_dir: bool
    iptfs: bool = False
    newest: bool = False
    iptfs_module: bool = False

    @property
    def non_ike(self) -> bool:
        """Whether ESP takes the encapsulation espinudp-nonike, which went in 6.10, when SA_DIR came."""
        return not self.sa_dir

    def error(self, errno: int, extack: str) -> XfrmError:
        """An error whose text only later kernels send."""
        return XfrmError(errno, extack if self.texts else None)


KERNELS = {
    kernel.name: kernel
    for kernel in (
        Kernel("linux-6.1", "rfc2401", texts=False, sa_dir=False),
        Kernel("linux-6.1.192", "rfc4301-spi0", texts=False, sa_dir=False),
        Kernel("linux-6.12", "rfc4301", texts=True, sa_dir=True),
        Kernel("linux-6.18", "rfc4301", texts=True, sa_dir=True, iptfs=True, iptfs_module=True),
        Kernel("linux-7.2", "rfc4301", texts=True, sa_dir=True, iptfs=True, newest=True, iptfs_module=True),
        Kernel("linux-7.3", "rfc4301", texts=True, sa_dir=True, iptfs=True, newest=True, iptfs_module=True),
    )
}
DEFAULT_KERNEL = "linux-6.12"
NEWEST_KERNEL = "linux-7.3"


def choose(name: str = DEFAULT_KERNEL, options: Collection[str] = ()) -> tuple[Kernel, SpiRule]:
    """A kernel's name, or an SPI rule's, as `--policy` takes it. InputError: no such name, no such option."""
    for option in options:
        if option not in OPTIONS:
            raise InputError(f"no option {shortened(option)!r}; there are {', '.join(OPTIONS)}")
    kernel = KERNELS.get(name)
    if kernel is not None:
        module = kernel.iptfs_module and "no-iptfs" not in options
        return replace(kernel, iptfs_module=module), SPI_RULES[kernel.rule]()
    if name not in SPI_RULES:
        names = (*SPI_RULES, *KERNELS)
        like = did_you_mean(name, names, f"there are {', '.join(names)}")
        raise InputError(f"no policy {shortened(name)!r}; {like}")
    return KERNELS[DEFAULT_KERNEL], SPI_RULES[name]()
