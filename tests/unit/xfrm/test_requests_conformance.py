"""Every deterministic step that real kernels were asked, asked of the model through the request language.

tests/vectors/xfrm_conformance.jsonl holds what 6.1.176, 6.1.192, 6.12.117 and 6.18.44 answered, a line a step, and
xfrm_conformance_new.jsonl what 7.2.13 and 7.3.4 did, and all of them in later experiments. How rows are asked and
compared is kernel_rows.py's. 6.18.44 ran without an ESP type: what it refused for that reason alone is left out, as if
it had not been asked. The steps of `ip_basic` are the text of `ip`, not requests.
"""

from __future__ import annotations

import pytest

from tests.unit.xfrm.kernel_rows import both, experiments, of, run


@pytest.mark.parametrize(("exp", "version"), [pytest.param(*pair, id="-".join(pair)) for pair in experiments()])
def test_the_model_answers_as_the_kernel_did(exp: str, version: str) -> None:
    asked_of_it, given = of(exp, version), run(exp, version)
    sides = {row["step"]: both(row, given, row["results"][version]) for row in asked_of_it}
    assert {step: ours for step, (ours, _) in sides.items()} == {step: theirs for step, (_, theirs) in sides.items()}
