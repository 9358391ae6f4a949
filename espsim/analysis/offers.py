"""How the SAs of a dump are offered to a driver, and whether the model's [caps] refuse them, or can't tell.

SAs of one form get one answer, unless something that varies among them decides: the ports of an encapsulation, and
whether there is a reqid. A hidden key may have any length. The shortest that the driver takes is assumed, with a note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from espsim.core.errors import UnknownReached
from espsim.offload.caps import Refusal, refusal
from espsim.offload.model import Model
from espsim.sad.association import SecurityAssociation
from espsim.text.algorithms import stand_ins
from espsim.text.survey import SaTemplate, Survey

_NATT = (4500, 4500)


class Offer(NamedTuple):
    """The offer for SAs that are judged alike: `refused` by [caps], or dependent on a key that is `unknown`."""

    make: Callable[[int], SecurityAssociation]
    refused: Refusal | None
    unknown: str | None


class Offers:
    """The offers of a survey's SAs to one model. `hidden`: what was assumed of hidden keys."""

    def __init__(self, survey: Survey, model: Model) -> None:
        self._survey = survey
        self._model = model
        self.hidden: list[str] = []
        reqid = model.spec.caps.reqid is not False
        self._varies = [t.sa.encap is not None or t.sa.offload is not None or reqid for t in survey.templates]
        self._known: dict[int | tuple[int, bool, bool], Offer] = {}

    def alike(self, number: int) -> bool:
        """Whether all SAs with this template number are judged alike."""
        return not self._varies[number]

    def of(self, index: int) -> Offer:
        """The offer of an SA."""
        number = self._survey.template[index]
        key: int | tuple[int, bool, bool] = number
        if self._varies[number]:
            key = number, self._survey.ports(index) == _NATT, self._survey.reqid[index] == 0
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._judged(self._survey.templates[number], index)
        return found

    def _judged(self, template: SaTemplate, index: int) -> Offer:
        if template.unmodelled:
            offer = self._offer(template.sa, index)
            errno = offer.refused.errno if offer.refused is not None else "EINVAL"
            what = f"{template.unmodelled} is not modelled by espsim, and counts as refused"
            return Offer(offer.make, Refusal(errno, what), None)
        if not template.hidden:
            return self._offer(template.sa, index)
        return self._with_key(template, index)

    def _offer(self, sa: SecurityAssociation, index: int) -> Offer:
        make = self._survey.maker(sa)
        try:
            return Offer(make, refusal(self._model, make(index)), None)
        except UnknownReached as reached:
            return Offer(make, None, reached.key)

    def _with_key(self, template: SaTemplate, index: int) -> Offer:
        sas = [replace(template.sa, algorithms=algorithms) for algorithms in stand_ins(template.hidden)]
        offers = [self._offer(sa, index) for sa in sas]
        open_ = [n for n, offer in enumerate(offers) if offer.refused is None]
        taken = [n for n in open_ if offers[n].unknown is None]
        if taken and len(taken) < len(offers):
            name, size = template.hidden[0].name, _key_bits(sas[taken[0]])
            no = sorted({_key_bits(sa) for sa, offer in zip(sas, offers, strict=True) if offer.refused is not None})
            refused = f", {' and '.join(map(str, no))} would be refused" if no else ""
            note = f"{name}: the keys are hidden; {size} bits are assumed{refused}"
            if note not in self.hidden:
                self.hidden.append(note)
        return offers[next(iter(taken or open_), 0)]


def _key_bits(sa: SecurityAssociation) -> int:
    return 8 * len(sa.keys.key) if sa.keys is not None else 0
