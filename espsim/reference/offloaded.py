"""The inbound path after a modelled device: the device finds the SA, and the software lookup says which was right.

1. The device's answer replaces the SA lookup (RFC 4303 3.4.2). The keys of the SA that it found open the packet, that
   SA's window is asked, and its counters move. All other steps are those of inbound.py.
2. The ICV is judged before the window, because a device decrypts first: xfrm_input finds CRYPTO_DONE and its status;
   mlx5's replay object and the CPT's completion codes come after the ICV. So a wrong key is an ICV failure, even where
   the other SA's window would have refused the number.
3. The model says how a failure surfaces: the host counts it, the packet is flagged, the device drops it, or no one
   notices.

A window that the device or its driver checks is never Linux's ring: it becomes an even window when the device takes the
SA. Where the host checks, the host's window stays.

An SA that the device refuses stays in the software SAD, so that every packet's own SA is known: so it is after
EOPNOTSUPP, or in an application that falls back. It leaves the SAD where the kernel would have no such state: in packet
mode after any refusal, in crypto mode after any errno but EOPNOTSUPP. Its packets count XfrmInNoStates then.

What this does not do: it never delivers plaintext that was not verified, even where a driver would mark it as good. The
verdict stays INTEGRITY, and `surfacing` says SILENT.
"""

from __future__ import annotations

from dataclasses import replace

from espsim.core.answers import Received
from espsim.core.verdict import Verdict
from espsim.offload import outcome
from espsim.offload.caps import stays_in_software
from espsim.offload.device import Device, Installed, PacketKey
from espsim.reference.inbound import Inbound
from espsim.reference.outer import Arrival
from espsim.reference.policies import Policies
from espsim.sad.entry import SadEntry
from espsim.sad.sad import Sad


class OffloadedInbound(Inbound):
    """An `Inbound` whose lookup goes through a device. `offload` gives the device SAs, `withdraw` takes them away.

    A packet that this host sent (`own_traffic`) never came to the device's inbound table: software judges it.
    """

    modelled = True

    def __init__(
        self,
        sad: Sad,
        device: Device,
        *,
        mark: int = 0,
        own_traffic: bool = False,
        policies: Policies | None = None,
    ) -> None:
        super().__init__(sad, mark=mark, own_traffic=own_traffic, policies=policies)
        self.device = device
        # Kept after `withdraw`: after a driver deleted the wrong row, packets still find the context of a dead SA.
        self._contexts: dict[int, SadEntry] = {}
        self._held: set[int] = set()

    def offload(self, entry: SadEntry, port: int = 0) -> Installed:
        """Offer one SA to the driver, which may refuse it (`errno`). A refusal may end the SA."""
        installed = self.device.add(entry.sa_index, entry.sa, port)
        if installed.errno is None:
            self.keep(entry)
        elif not stays_in_software(entry.sa, installed.errno):
            self.sad.kill(entry)
        return installed

    def keep(self, entry: SadEntry) -> None:
        """Note that the device has this SA. The driver took it before it was in the SAD (xfrm_dev_state_add)."""
        self._contexts[entry.sa_index] = entry
        self._held.add(entry.sa_index)
        if entry.window.size and self.device.replay_checked_by == "device":
            entry.even_window()

    def context(self, sa_index: int) -> SadEntry:
        """The SA of a context that the device has, or had; it may have left the SAD."""
        return self._contexts[sa_index]

    def withdraw(self, entry: SadEntry) -> None:
        """Delete one SA from the device. The driver may harm other SAs with that, as its model says."""
        if entry.sa_index in self._held:
            self._held.remove(entry.sa_index)
            self.device.delete(entry.sa_index)

    def receive_for(self, entry: SadEntry | None, arrival: Arrival) -> Received[SadEntry]:
        """As `Inbound.receive_for`, after the device's lookup, and with its outcome beside the verdict."""
        outer = arrival.outer
        key = PacketKey(
            outer.src, outer.dst, arrival.spi, mark=self.mark or 0, port=arrival.port, udp_ports=outer.ports
        )
        answer = self.device.lookup(key)
        if self.trace is not None:
            self.trace.steered(self.device, key, answer)
        if answer.action == "use":
            return self._with_context(self._contexts[answer.sa_index], answer.shadowed, entry, arrival)
        software = answer.action == "software"
        device = outcome.without_context(answer.reached, software=software)
        if software:
            return replace(super().receive_for(entry, arrival), device=device)
        surfacing, counter = outcome.refused(self.device, dropped=answer.action == "drop")
        return Received(
            Verdict.NO_SA, counter, arrival.spi, arrival.seq, entry=entry, device=device, surfacing=surfacing
        )  # fmt: skip

    def _with_context(
        self, used: SadEntry, shadowed: bool, entry: SadEntry | None, arrival: Arrival
    ) -> Received[SadEntry]:
        device = outcome.with_context(own=used is entry, shadowed=shadowed)
        verdict, seq64, inner = self.accept(
            used,
            arrival,
            check_replay=self.device.replay_checked_by != "nobody",
            icv_first=self.device.mode != "",
        )
        surfacing, counter = outcome.opened(self.device, verdict)
        return Received(
            verdict, counter, arrival.spi, arrival.seq, seq64, entry, used, inner, arrival.inners, arrival.odd_padding,
            device, surfacing,
        )  # fmt: skip
