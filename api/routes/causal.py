"""Causal estimates, and what to do by them."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from api.answers import CachedRoute, Svg
from api.dependencies import CurrentRelease
from api.problems import ProblemError, documented, invalid_request, pointer
from api.routes.customers import CustomerId
from api.schemas.causal import ChannelBudget, Cost, Decision, DecisionRequest, EffectAndMemo, Effects, Policies
from api.schemas.numbers import WRITTEN
from api.schemas.problem import InvalidPart
from api.services.decisions import decide, outside, policy_features
from api.services.release import LoadedRelease
from cartograph.releases.contents.causal import TreatmentPolicy
from cartograph.releases.contents.files import MEMO_PAGE

router = APIRouter(prefix="/v1/causal", tags=["causal"], route_class=CachedRoute)
Question = Annotated[
    str, Path(max_length=128, description="The name of a question's file.", examples=["email_spring_spend"])
]
Picture = Annotated[
    str,
    Path(pattern=r"^[a-z0-9_]+$", max_length=100, description="A picture that the memo shows.", examples=["effects"]),
]


@router.get("/effects", responses=documented(503))
async def get_effects(release: CurrentRelease) -> Effects:
    """Each causal question with its estimate, interval and checks; one that is not identified has no estimate."""
    manifest = release.manifest
    return Effects(release_id=manifest.release_id, as_of=manifest.inputs.as_of, effects=list(release.effects))


@router.get("/policies", responses=documented(503))
async def get_policies(release: CurrentRelease) -> Policies:
    """Whom to treat, by question: a tree of plain nodes, its cost, and what following it is worth."""
    manifest = release.manifest
    return Policies(release_id=manifest.release_id, as_of=manifest.inputs.as_of, policies=list(release.policies))


@router.post("/policies/{question}/decision", responses=documented(404, 413, 503))
async def decide_for_features(question: Question, request: DecisionRequest, release: CurrentRelease) -> Decision:
    """Whether to treat a customer with these features, all of the policy and no other, and up to which cost.

    This does not check whether the customer is in the `population` that GET /v1/causal/policies tells of the policy:
    ask only of those who are, since the answer holds of nobody else.
    """
    policy = _policy(release, question)
    takes = [feature.name for feature in policy.rule.features]
    no_such = f"the policy has no such feature; it takes {', '.join(takes) or 'none'}"
    wrong = {
        **{name: "it is missing" for name in takes if name not in request.features},
        **{name: no_such for name in request.features if name not in takes},
    }
    if wrong:
        parts = [InvalidPart(detail=told, pointer=pointer(["features", name])) for name, told in wrong.items()]
        raise invalid_request(parts, " GET /v1/causal/policies lists the features of each policy.")
    return decide(policy, request.features, request.cost, release.manifest.release_id)


@router.get("/policies/{question}/customers/{customer_id}", responses=documented(404, 503))
async def decide_for_customer(
    question: Question,
    customer_id: CustomerId,
    release: CurrentRelease,
    cost: Annotated[
        Cost | None,
        Query(description="What treating costs, if not as the policy has learned.", examples=[1.5]),
        WRITTEN,
    ] = None,
) -> Decision:
    """Whether to treat a customer of the release, and up to which cost.

    One who is not in the policy's population, e.g. who refused e-mail, is not to be treated: `outside_population`.
    """
    policy = _policy(release, question)
    row = release.customers.find(customer_id)
    if row is None:
        raise ProblemError(
            404, "unknown-customer", f"Release {release.manifest.release_id} has no customer {customer_id}."
        )
    if row.policies is None:
        raise ProblemError(
            404,
            "no-decision",
            f"Release {release.manifest.release_id} does not tell whom its policies are about, as it was made before "
            "releases did. Make a new one with `cartograph run`.",
        )
    if policy.name not in row.policies:
        return outside(policy, cost, release.manifest.release_id)
    features = policy_features(policy, row.features)
    missing = [feature.name for feature in policy.rule.features if feature.name not in features]
    if missing:
        raise ProblemError(
            404,
            "no-decision",
            f"The release does not hold {', '.join(missing)} of its customers: give the features to "
            f"POST /v1/causal/policies/{question}/decision.",
        )
    return decide(policy, features, cost, release.manifest.release_id)


@router.get("/budget", responses=documented(503))
async def get_budget(release: CurrentRelease) -> ChannelBudget:
    """What each paid channel adds, and the daily budget that is expected to earn most within its limits."""
    manifest = release.manifest
    return ChannelBudget(release_id=manifest.release_id, as_of=manifest.inputs.as_of, budget=release.budget)


def _policy(release: LoadedRelease, question: str) -> TreatmentPolicy:
    for policy in release.policies:
        if policy.name == question:
            return policy
    known = ", ".join(policy.name for policy in release.policies) or "none"
    raise ProblemError(
        404,
        "no-policy",
        f"Release {release.manifest.release_id} has no policy for {question}; it has {known}. One is released where "
        "the question's effect is identified and its file says what a treatment costs.",
    )


@router.get("/effects/{question}", responses=documented(404, 503))
async def get_effect(question: Question, release: CurrentRelease) -> EffectAndMemo:
    """One causal question, with the decision memo as Markdown; its pictures are found beneath it."""
    effect = next((one for one in release.effects if one.name == question), None)
    if effect is None:
        raise _unknown(release, question)
    memo = release.pages.get(MEMO_PAGE.format(name=question))
    return EffectAndMemo(
        release_id=release.manifest.release_id,
        as_of=release.manifest.inputs.as_of,
        effect=effect,
        memo=memo.decode() if memo else None,
    )


@router.get("/effects/{question}/{picture}.svg", response_class=Svg, responses=documented(404, 503))
async def get_effect_picture(question: Question, picture: Picture, release: CurrentRelease) -> Svg:
    """A picture of the memo."""
    content = release.pages.get(f"causal/{question}/{picture}.svg")
    if content is None:
        raise _unknown(release, f"{question}/{picture}")
    return Svg(content)


def _unknown(release: LoadedRelease, name: str) -> ProblemError:
    known = ", ".join(one.name for one in release.effects if one.name) or "none"
    return ProblemError(
        404,
        "no-question",
        f"Release {release.manifest.release_id} has no {name!r} of a causal question. Its questions are: {known}.",
    )
