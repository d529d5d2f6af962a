"""Whether to treat one customer, by a policy of the release."""

from __future__ import annotations

from collections.abc import Mapping

from api.schemas.causal import Decision
from cartograph.releases.contents.causal import Estimated, TreatmentPolicy
from ml_assets.core.causal.decisions import leaf_of

Value = bool | int | float | str | None


def decide(
    policy: TreatmentPolicy, features: Mapping[str, float | None], cost: float | None, release_id: str
) -> Decision:
    """What the policy says of a customer with these features, at its own cost or another.

    Raises:
        ValueError: a feature of the policy is missing.
    """
    leaf, because = leaf_of(policy.rule, features)
    own = policy.rule.cost
    asked = own if cost is None else cost
    worth = Estimated(value=leaf.gain.value + own, low=leaf.gain.low + own, high=leaf.gain.high + own)
    treat = leaf.treats if asked == own else worth.low > asked
    return Decision(
        question=policy.name,
        treat=treat,
        reason="pays" if treat else "does_not_pay",
        cost=asked,
        worth=worth,
        unit=policy.unit,
        because=list(because),
        release_id=release_id,
        as_of=policy.as_of,
    )


def outside(policy: TreatmentPolicy, cost: float | None, release_id: str) -> Decision:
    """What is said of a customer whom the policy is not about: not to treat, and nothing of what that would add."""
    return Decision(
        question=policy.name,
        treat=False,
        reason="outside_population",
        cost=policy.rule.cost if cost is None else cost,
        worth=None,
        unit=policy.unit,
        because=[],
        release_id=release_id,
        as_of=policy.as_of,
    )


def policy_features(policy: TreatmentPolicy, known: Mapping[str, Value]) -> dict[str, float | None]:
    """The policy's features of a released customer: numbers, 0 or 1, and for `column=value` whether it is that value.

    One that the release does not hold is left out.
    """
    found: dict[str, float | None] = {}
    for feature in policy.rule.features:
        column, is_coded, value = feature.name.partition("=")
        if feature.name in known:
            given = known[feature.name]
            if given is None or isinstance(given, bool | int | float):
                found[feature.name] = None if given is None else float(given)
        elif is_coded and column in known:
            found[feature.name] = float(str(known[column]) == value)
    return found
