"""What each model is for, what it cannot do, and what to heed where it is used on people: the words of its card.

They hold for every version and every shop, so no figure is here; figures are found by each training (`findings`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ml_assets.core.models import campaign_uplift, churn, clv, fraud, propensity, segments
from ml_assets.core.models.demand import training as demand
from ml_assets.core.models.demand.forecaster import INTERVAL
from ml_assets.core.models.recommendation import product_recommender
from ml_assets.core.models.recommendation import training as recommendation
from ml_assets.core.models.report import About

OF_BEHAVIOUR = (
    "It takes what customers did in the shop, their loyalty tier and whether they allow e-mail; no name, age, sex, "
    "origin or place of living. What they do may still go along with these, and the subgroups above cannot show that."
)
NO_CAUSE = (
    "It foresees and does not explain: that a feature moves it does not say that changing the feature would help."
)
ERASED = "Who asks to be forgotten is erased from the data; a version trained before goes on until the next training."

ABOUT: Mapping[str, About] = {
    churn.NAME: About(
        title="Who is about to leave",
        purpose="To tell which customers who still buy are likely not to come back, so that somebody can ask them why.",
        target=(
            f"Whether the customer places no order in the {churn.HORIZON_DAYS} days from the as-of date on; a "
            "cancelled order is none."
        ),
        population=f"Registered customers who ordered in the {churn.ACTIVE_DAYS} days before the as-of date.",
        limits=(
            (
                f"Nobody cancels a contract with a shop: churn is a silence of {churn.HORIZON_DAYS} days, and "
                f"some of the "
                "silent come back later."
            ),
            NO_CAUSE,
            "It says who will be silent, not whom a coupon or an e-mail would keep: that is a question of effects.",
            "Customers who never ordered, guests, and those silent for longer have no score.",
        ),
        ethics=(
            OF_BEHAVIOUR,
            (
                "A score is no reason to serve somebody worse. Offers only for who seems to leave make loyal customers "
                "pay more."
            ),
            ERASED,
        ),
    ),
    propensity.NAME: About(
        title="Who will order next",
        purpose="To foresee which customers will order in the coming weeks, for planning and for sizing campaigns.",
        target=f"Whether the customer places an order that stands in the {propensity.HORIZON_DAYS} days from then on.",
        population="All registered customers, whether they have ordered or not.",
        limits=(
            "Who would order anyway ranks high: it is no ranking of whom to send an e-mail.",
            NO_CAUSE,
            "Customers of whom little is known all get nearly the same probability.",
        ),
        ethics=(
            OF_BEHAVIOUR,
            (
                "Writing only to who ranks high means writing most to those who buy most; whoever did not allow e-mail "
                "must be left out by the sender, as the score does not."
            ),
            ERASED,
        ),
    ),
    clv.NAME: About(
        title="What a customer will be worth",
        purpose="To say what winning or keeping a customer may cost, and to plan revenue from the customers there are.",
        target=(
            f"Orders, kept revenue and discounted margin of the {clv.HORIZON_DAYS} days from the as-of date on, and "
            "the chance that the customer is still one."
        ),
        population="Registered customers who have ordered before the as-of date.",
        limits=(
            "It knows when and how much a customer ordered, and nothing else: not visits, complaints or campaigns.",
            "What is kept of an order, and its margin, are the shop's averages, not the customer's own.",
            "Totals and the ranking can be trusted further than a single value, most of which is chance.",
            (
                f"It was held against {clv.HOLDOUT_DAYS} days and predicts {clv.HORIZON_DAYS}: what comes "
                f"after the first "
                "half year rests on the shop's season and trend going on."
            ),
        ),
        ethics=(
            "It takes orders and their totals only, nothing about the person.",
            (
                "Worth to the shop is not the worth of a complaint: who ranks low has the same rights to service and "
                "refunds."
            ),
            ERASED,
        ),
    ),
    segments.NAME: About(
        title="How customers buy",
        purpose="To have a few groups of customers who buy in a similar way, with names that a team can speak of.",
        target="None: customers are grouped by how they buy, not by what they will do.",
        population=(
            f"Found among customers with {segments.FEWEST_ORDERS} orders or more; every other customer who ordered is "
            "put into the segment that is nearest."
        ),
        limits=(
            "Customers differ by degrees: the segments cut where the data are thinnest, and many stand near a border.",
            (
                f"With fewer than {segments.FEWEST_ORDERS} orders a segment is a guess that is drawn to the typical "
                "customer."
            ),
            "A name tells in what the centre differs most from the mean, not what each member does.",
        ),
        ethics=(
            (
                "Device, coupons, prices and categories can stand for income or age. Whether treating "
                "segments differently "
                "treats people unfairly is for whoever does it to judge."
            ),
            ERASED,
        ),
    ),
    product_recommender.NAME: About(
        title="What to show next",
        purpose="To choose products for a customer, a basket, a session or a product page.",
        target=f"Which products a customer buys in the {recommendation.HORIZON_DAYS} days from then on.",
        population="Everybody: with purchases by these, without any by what is popular; products on sale only.",
        limits=(
            "It learns from what was bought, and so also from what was shown: what nobody was shown stays unseen.",
            (
                "It was held against purchases that happened without it; whether showing its lists sells more, only an "
                "experiment tells."
            ),
            "A product without purchases comes by its category's popularity only.",
        ),
        ethics=(
            "It takes purchases, nothing else about a person, and keeps products and no customers.",
            "A list can betray what somebody bought, on a shared screen as well: leave out private categories.",
            "Popular products become more so; the share of the catalogue that is shown is among the figures above.",
        ),
    ),
    demand.NAME: About(
        title="What will be asked for",
        purpose="To order stock in time: demand of each product on each of the days ahead, with its uncertainty.",
        target="Units ordered of a product on a day on which it can be had.",
        population="Products on offer on the as-of date.",
        limits=(
            "Prices, discounts and promotions ahead are not known to it: a planned campaign has to be added by hand.",
            (
                f"The interval holds {INTERVAL:.0%} of single days, not of sums over days; reorder advice "
                f"uses the errors "
                "of sums."
            ),
            "What is asked for while there is no stock is not seen; such days are taken as unknown, not as zero.",
            "A product without sales is forecast from the others at first.",
        ),
        ethics=("It is about products: no data of persons are in it, only sums of what all ordered.",),
    ),
    fraud.NAME: About(
        title="Which orders will be charged back",
        purpose="To choose the orders that somebody looks at before they are sent, where it saves more than it costs.",
        target=f"Whether the order is charged back within {fraud.MATURITY_DAYS} days, told when it is placed.",
        population="All orders, of guests as well; cancelled ones only where they were charged back.",
        limits=(
            "Its label is the chargeback: fraud that nobody disputes is missed, and a dispute without fraud counts.",
            f"Labels take {fraud.MATURITY_DAYS} days, so it learns nothing of a new kind of fraud for so long.",
            (
                "Orders that a review stopped have no chargeback: where reviews work, it must be told apart what they "
                "stopped, or it unlearns it."
            ),
            "Frauds are rare, so its intervals are wide.",
        ),
        ethics=(
            (
                "Much of what is flagged is honest. It advises a look by a person and declines nobody; keep it so, and "
                "tell the customer how to object."
            ),
            (
                "Guests, new customers and people who share an address or a device may be flagged more often; "
                "the subgroups above say how often without being a fraud."
            ),
            "It takes no name, age, sex or origin. Addresses, cards and devices are compared, never read.",
        ),
    ),
    campaign_uplift.NAME: About(
        title="Whom a campaign makes order",
        purpose="To send an e-mail to whom it adds more margin than it costs, and not to who would order anyway.",
        target="The margin that a campaign adds to what a customer orders in the days after it, before its cost.",
        population="Registered customers who want e-mail, as those were whom the campaign chose from.",
        limits=(
            "It holds for a campaign like the one it was learned from, at a like time of the year.",
            "Only campaigns whose effect is identified are in it; what chose their recipients has to be told truly.",
            (
                "Effects are small beside what customers spend by chance: where held-out customers do not show that "
                "its ranking is better than chance, everybody gets the average effect."
            ),
            "What an e-mail does after the days that were counted, such as making people unsubscribe, is not in it.",
        ),
        ethics=(
            "Who does not want e-mail gets none, whatever it would add.",
            OF_BEHAVIOUR,
            ERASED,
        ),
    ),
}
