"""The order-risk features of one order at the checkout: from a release's history, and what has happened since.

The same features as `order_risk` computes by SQL for the orders of a window, one order at a time and in microseconds:
`order_catalogue` says what each means, and tests replay simulated orders through both and compare every digit. Where
the history comes from is `order_history`; that what happened since is kept and shared is the API's business.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from cartograph.releases.order_history import NEVER, NO_KEY, key_of
from ml_assets.core.features.order_catalogue import ORDER_RISK
from ml_assets.core.features.order_history import KINDS, MONTH_DAYS, NO_CATEGORY, STRANGER, OnFile, OrderHistory
from ml_assets.core.features.order_risk import DAY, HOUR, MINUTE

Value = float | int | None
UNCATEGORISED = key_of("category", NO_CATEGORY)
DECLINED = "declined"
NO_VISITS: Mapping[int, int] = {}


class Line(NamedTuple):
    """A line of an order; `category` is a key, amounts are in the shop's currency."""

    category: int
    quantity: int
    unit_price: Decimal
    gross_cents: int


class Placed(NamedTuple):
    """An order as its features see it: keys instead of names, `NO_KEY` for what is not there.

    A guest has no `customer`. `registered_us`, `address`, `city` and `country` are the customer's on file, None where
    the history has to be asked; `ship_city` and `ship_country` say where the order is sent.
    """

    order: int
    us: int
    customer: int
    card: int
    device: int
    network: int
    address: int | None
    registered_us: int | None
    city: int | None
    country: int | None
    ship_city: int
    ship_country: int
    gross_cents: int
    discount_cents: int
    total_cents: int
    lines: tuple[Line, ...]


class Seen(NamedTuple):
    """Who placed an order since the history's end, and with which card; `actor` is a node of the links."""

    actor: int
    customer: int
    card: int


class Begun(NamedTuple):
    """The first attempt at an order that is in the history already."""

    us: int
    customer: int
    cents: int


class Attempt(NamedTuple):
    """One of the different bodies of an order, as it was told: its place among them, from 1 on, and when it was.

    `is_first` where no attempt before it was the same customer's.
    """

    us: int
    order: int
    number: int
    cents: int = 0
    is_first: bool = True

    def is_before(self, order: Placed, number: int) -> bool:
        """Whether it counts for that attempt at `order`: it was before it or, at the same order, was told before it."""
        if self.order == order.order:
            return self.number < number or (self.number > number and self.us < order.us)
        return self.us < order.us


class Outcome(NamedTuple):
    """What became of an order: `declined` or `charged_back`. `NO_KEY` says nothing of whose it was."""

    kind: str
    order: int
    customer: int
    card: int
    device: int
    us: int


class Decline(NamedTuple):
    """A declined payment of an order, and how many attempts at the order had been told by then."""

    us: int
    order: int
    attempts: int


class OrderLedger:
    """A history and what has happened since: `features` of an order, which only `place` makes part of it.

    Orders are counted once, as they were placed first. An order that is told again with another card, amount or
    anything else but its moment and its categories, which releases know better, is a further attempt: how often a
    customer, a card, a device, a network or an address orders counts each attempt, so that cards that are tried out at
    one order show, and habits and amounts count the order. What happened before the history's end is in it already, and
    is passed over, but for that a later attempt at such an order is no other order. Links and chargebacks are known
    from when they are told on, and counts go by the orders' own times.
    """

    def __init__(self, history: OrderHistory) -> None:
        self.history = history
        self.attempts: dict[int, int] = {}
        """The number of each attempt, by what was told of it."""
        self._orders: dict[int, Seen] = {}
        self._begun: dict[int, Begun] = {}
        self._told: dict[int, int] = {}
        self._of_customer: dict[int, list[Attempt]] = defaultdict(list)
        self._with_token: dict[int, list[Attempt]] = defaultdict(list)
        self._shown: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
        self._declined: dict[int, list[Decline]] = defaultdict(list)
        self._settled: set[Outcome] = set()
        self._days: dict[int, tuple[int, int]] = {day: (cents, orders) for day, cents, orders in history.days()}
        self._parent: dict[int, int] = {}
        self._counts: dict[int, tuple[int, int]] = {}

    def features(self, order: Placed, visits: Mapping[int, int] = NO_VISITS) -> dict[str, Value]:
        """The features of `order` by their names, in the catalogue's order; itself, placed or not, does not count.

        Its moment must not be before the history's. `visits` says when the customer's events that count for a visit
        were received, by their keys: those that have come since the history was made, and maybe some of before.
        """
        on_file, number = self._on_file(order), self.attempt(order)
        tokens = self._tokens(order, on_file)
        values = {
            **self._habits(order, number, on_file),
            **self._instruments(order, number, tokens),
            **self._links(order, tokens),
            **self._basket(order, on_file),
            **self._visit(order, visits),
            "is_guest": int(not order.customer),
            "is_by_card": int(bool(order.card)),
            "declined_7d": self._declines(order.customer, order, number) if order.customer else 0,
            "card_declined_7d": self._declines(order.card, order, number) if order.card else None,
            "is_sent_elsewhere": _is_elsewhere(order, on_file),
            "hour_of_day": order.us // HOUR % 24,
        }
        return {feature.name: values[feature.name] for feature in ORDER_RISK.features}

    def attempt(self, order: Placed) -> int:
        """The number of an attempt at an order, told or not."""
        return self.attempts.get(_told_of(order)) or self._told.get(order.order, 0) + 1

    def counts(self, order: Placed) -> bool:
        """Whether this attempt at an order counts already."""
        return _told_of(order) in self.attempts

    def place(self, order: Placed) -> None:
        """Count an order from now on, and each attempt at it once."""
        told = _told_of(order)
        if told in self.attempts:
            return
        number = self.attempts[told] = self._told[order.order] = self._told.get(order.order, 0) + 1
        if order.us < self.history.as_of_us:
            self._begun.setdefault(order.order, Begun(order.us, order.customer, order.total_cents))
            return
        on_file = self._on_file(order)
        actor = self._actor(order)
        self._orders.setdefault(order.order, Seen(actor, order.customer, order.card))
        attempt = Attempt(order.us, order.order, number, order.total_cents)
        if order.customer:
            known = self._of_customer[order.customer]
            is_first = number == 1 or (
                not self._is_in_history(order) and all(told.order != order.order for told in known)
            )
            known.append(attempt._replace(is_first=is_first))
            for line in order.lines:
                self._show(line.category, order)
        tokens = self._tokens(order, on_file)
        for kind, token in tokens.items():
            self._with_token[token].append(attempt)
            if order.customer:
                self._show(token, order)
            if kind != "network":
                self._join(actor, self._node(token))
        if number == 1:
            day = order.us // DAY
            cents, orders = self._days.get(day, (0, 0))
            self._days[day] = (cents + order.total_cents, orders + 1)

    def knows_whose(self, outcome: Outcome) -> bool:
        """Whether an outcome can be counted: it says whose the order was, or the order is known, or it was before."""
        if outcome.us < self.history.as_of_us:
            return True
        return (
            bool(self._declined_keys(outcome)) if outcome.kind == DECLINED else self._charged_node(outcome) is not None
        )

    def is_settled(self, outcome: Outcome) -> bool:
        """Whether an outcome was told already: a chargeback is one whenever it was, and whoever it names."""
        return _notice_of(outcome) in self._settled

    def settle(self, outcome: Outcome) -> None:
        """Count what became of an order from now on, once, where it is known whose it was."""
        if self.is_settled(outcome) or not self.knows_whose(outcome):
            return
        self._settled.add(_notice_of(outcome))
        if outcome.us < self.history.as_of_us:
            return
        if outcome.kind == DECLINED:
            for key in self._declined_keys(outcome):
                if all((told.us, told.order) != (outcome.us, outcome.order) for told in self._declined[key]):
                    told = Decline(outcome.us, outcome.order, self._told.get(outcome.order, 0))
                    self._declined[key].append(told)
            return
        node = self._charged_node(outcome)
        if node is not None:
            root = self._root(node)
            customers, chargebacks = self._count(root)
            self._counts[root] = (customers, chargebacks + 1)

    def _declined_keys(self, outcome: Outcome) -> set[int]:
        """Whose decline it is: the customer and the card, or those that the order had first since the history's end."""
        keys = {outcome.customer, outcome.card} - {NO_KEY}
        seen = self._orders.get(outcome.order)
        return {seen.customer, seen.card} - {NO_KEY} if seen and not keys else keys

    def _charged_node(self, outcome: Outcome) -> int | None:
        """Whose chargeback it is: that of who placed the order since the history's end, or else of the customer, or a
        guest's who is known by the card or the device.
        """
        seen = self._orders.get(outcome.order)
        if seen:
            return seen.actor
        if outcome.customer:
            return self._customer_node(outcome.customer)
        return next(
            (self._node(token) for token in (outcome.card, outcome.device) if token and self._is_known(token)), None
        )

    def _on_file(self, order: Placed) -> OnFile:
        known = self.history.customer(order.customer) if order.customer else STRANGER
        if known.orders and self._is_in_history(order):
            known = self._without(known, order)
        told = {name: getattr(order, name) for name in ("registered_us", "address", "city", "country")}
        return known._replace(**{name: value for name, value in told.items() if value is not None})

    def _is_in_history(self, order: Placed) -> bool:
        """Whether the history counts an attempt at the order as the customer's."""
        begun = self._begun.get(order.order)
        return begun is not None and begun.customer == order.customer

    def _without(self, known: OnFile, order: Placed) -> OnFile:
        """The customer without an order of the history. When the one before was is known of the last days only."""
        begun, last = self._begun[order.order], known.last_us
        if last == begun.us:
            before = self.history.latest(order.customer, last)
            last = known.first_us if before is None else before
        return known._replace(
            orders=known.orders - 1, spent_cents=max(known.spent_cents - begun.cents, 0), last_us=last
        )

    def _ordered(self, key: int, order: Placed, number: int, start: int) -> int:
        """The history's orders of a customer or with a token from `start` on; for its first attempt, but for itself."""
        begun = self._begun.get(order.order)
        is_there = begun is not None and number == 1 and start <= begun.us
        return max(self.history.ordered(key, start, order.us) - is_there, 0)

    @staticmethod
    def _tokens(order: Placed, on_file: OnFile) -> dict[str, int]:
        shown = (order.card, order.device, order.network, on_file.address)
        return {kind: token for kind, token in zip(KINDS, shown, strict=True) if token}

    def _habits(self, order: Placed, number: int, on_file: OnFile) -> dict[str, Value]:
        """How long and how often the customer has ordered before, and for how much."""
        since = [told for told in self._of_customer.get(order.customer, ()) if told.is_before(order, number)]
        others = [told for told in since if told.order != order.order]
        moments = [told.us for told in others]
        first = on_file.first_us if on_file.orders else min(moments, default=None)
        last = max(moments, default=on_file.last_us if on_file.orders else None)
        before = on_file.orders + sum(told.is_first for told in others)
        spent = (on_file.spent_cents + sum(told.cents for told in others if told.is_first)) / 100
        amount = order.total_cents / 100

        def within(microseconds: int) -> int:
            start = order.us - microseconds
            lately = sum(told.us >= start for told in since)
            return lately + (self._ordered(order.customer, order, number, start) if order.customer else 0)

        registered = None if on_file.registered_us == NEVER else max(order.us - on_file.registered_us, 0) / HOUR
        cents, orders = self._month_before(order)
        return {
            "is_first_order": int(before == 0),
            "registered_hours": registered,
            "tenure_days": None if first is None else (order.us - first) / DAY,
            "hours_since_order": None if last is None else (order.us - last) / HOUR,
            "orders_1h": within(HOUR),
            "orders_24h": within(DAY),
            "orders_7d": within(7 * DAY),
            "orders_before": before,
            "amount_to_own_mean": amount * before / spent if before and spent else None,
            "amount_to_shop_mean": amount * orders / (cents / 100) if cents else None,
        }

    def _month_before(self, order: Placed) -> tuple[int, int]:
        today = order.us // DAY
        days = [self._days.get(day, (0, 0)) for day in range(today - MONTH_DAYS, today)]
        return sum(cents for cents, _ in days), sum(orders for _, orders in days)

    def _instruments(self, order: Placed, number: int, tokens: Mapping[str, int]) -> dict[str, Value]:
        """Who else was seen with what the order shows, and how fast it is used."""
        values: dict[str, Value] = {}
        for kind in KINDS:
            token = tokens.get(kind)
            values[f"{kind}_others"] = None if token is None else self._others(token, order)
            values[f"{kind}_orders_24h"] = None if token is None else self._orders_with(token, order, number)
        for kind in ("card", "device"):
            values[f"is_new_{kind}"] = int(not self._knows(tokens[kind], order)) if kind in tokens else None
        return values

    def _others(self, token: int, order: Placed) -> int:
        customers, _ = self.history.token(token)
        own = bool(order.customer) and self.history.has_pair(token, order.customer)
        since = self._shown.get(token, {})
        return customers - own + sum(us < order.us and who != order.customer for who, (us, _) in since.items())

    def _orders_with(self, token: int, order: Placed, number: int) -> int:
        start = order.us - DAY
        since = self._with_token.get(token, ())
        lately = sum(start <= told.us and told.is_before(order, number) for told in since)
        return lately + self._ordered(token, order, number, start)

    def _knows(self, token: int, order: Placed) -> bool:
        """Whether the customer has shown the token, or ordered from the category, before."""
        if not order.customer:
            return False
        us, number = self._shown.get(token, {}).get(order.customer, (order.us, order.order))
        return (us < order.us and number != order.order) or self.history.has_pair(token, order.customer)

    def _links(self, order: Placed, tokens: Mapping[str, int]) -> dict[str, Value]:
        """What the order links with all before it; it is not joined to them yet."""
        nodes = [self._actor(order), *(self._node(token) for kind, token in tokens.items() if kind != "network")]
        counts = [self._count(root) for root in {self._root(node) for node in nodes}]
        customers, chargebacks = (sum(numbers) for numbers in zip(*counts, strict=True))
        return {"linked_customers": customers, "linked_chargebacks": chargebacks}

    def _basket(self, order: Placed, on_file: OnFile) -> dict[str, Value]:
        lines = order.lines
        gross = sum(line.gross_cents for line in lines)
        new = sum(line.gross_cents for line in lines if not self._knows(line.category, order))
        has_ordered = on_file.orders > 0 or self._has_ordered(order)
        return {
            "total_amount": order.total_cents / 100,
            "discount_share": _share(order.discount_cents, order.gross_cents),
            "units_count": sum(line.quantity for line in lines),
            "lines_count": len(lines),
            "largest_line_units": max((line.quantity for line in lines), default=0),
            "dearest_unit_price": float(max((line.unit_price for line in lines), default=0)),
            "categories_count": len({line.category for line in lines} - {UNCATEGORISED}),
            "new_category_share": new / 100 / (gross / 100) if has_ordered and gross else None,
        }

    def _visit(self, order: Placed, visits: Mapping[int, int]) -> dict[str, Value]:
        """What the customer has just done in the shop; None of guests, and in a shop without events."""
        if not (order.customer and self.history.tells_visits):
            return {"events_1h": None, "visit_minutes": None}
        received = {**visits, **self.history.visits(order.customer)}
        moments = [us for us in received.values() if order.us - HOUR <= us < order.us]
        return {"events_1h": len(moments), "visit_minutes": (order.us - min(moments)) / MINUTE if moments else None}

    def _has_ordered(self, order: Placed) -> bool:
        since = self._of_customer.get(order.customer, ())
        return any(told.us < order.us and told.order != order.order for told in since)

    def _declines(self, key: int, order: Placed, number: int) -> int:
        """Those of other orders before, and of attempts at this order that were told before."""
        start = order.us - 7 * DAY
        lately = sum(
            start <= told.us and (1 <= told.attempts < number if told.order == order.order else told.us < order.us)
            for told in self._declined.get(key, ())
        )
        return lately + self.history.declined(key, start, order.us)

    def _show(self, token: int, order: Placed) -> None:
        """Keep the first time that a customer showed a token or ordered from a category, where it is not history."""
        if not self.history.has_pair(token, order.customer):
            known = self._shown[token].get(order.customer)
            if known is None or order.us < known[0]:
                self._shown[token][order.customer] = (order.us, order.order)

    def _actor(self, order: Placed) -> int:
        return self._customer_node(order.customer) if order.customer else order.order

    def _customer_node(self, customer: int) -> int:
        """The node of a customer: that of their group, or their own, which counts them."""
        group = self.history.customer(customer).group
        if group >= 0:
            return ~group
        self._counts.setdefault(customer, (1, 0))
        return customer

    def _node(self, token: int) -> int:
        """The node of a token: that of its group, or its own. A group's is below zero, and a key never is."""
        _, group = self.history.token(token)
        return token if group is None or group < 0 else ~group

    def _is_known(self, token: int) -> bool:
        return token in self._with_token or self.history.token(token)[1] is not None

    def _root(self, node: int) -> int:
        path = []
        while (parent := self._parent.get(node, node)) != node:
            path.append(node)
            node = parent
        self._parent.update(dict.fromkeys(path, node))
        return node

    def _join(self, one: int, other: int) -> None:
        left, right = self._root(one), self._root(other)
        if left != right:
            counts = zip(self._count(left), self._count(right), strict=True)
            self._parent[right] = left
            customers, chargebacks = (sum(both) for both in counts)
            self._counts.pop(right, None)
            self._counts[left] = (customers, chargebacks)

    def _count(self, root: int) -> tuple[int, int]:
        """The customers and the chargebacks of a group."""
        return self._counts.get(root) or (self.history.group(~root) if root < 0 else (0, 0))


def _told_of(order: Placed) -> int:
    """What makes an attempt at an order another one, as a number."""
    return hash((*order._replace(us=0, lines=()), *(line._replace(category=NO_KEY) for line in order.lines)))


def _notice_of(outcome: Outcome) -> Outcome:
    """What makes an outcome another one."""
    if outcome.kind == DECLINED:
        return outcome._replace(device=NO_KEY)
    return Outcome(outcome.kind, outcome.order, NO_KEY, NO_KEY, NO_KEY, 0)


def _is_elsewhere(order: Placed, on_file: OnFile) -> int | None:
    """Whether the country differs, or within the country the city; None where what would tell is not known."""
    if not (order.ship_country and on_file.country):
        return None
    if order.ship_country != on_file.country:
        return 1
    return int(order.ship_city != on_file.city) if order.ship_city and on_file.city else None


def _share(discount_cents: int, gross_cents: int) -> float | None:
    """The discount's share of the goods, and all of it where it covers shipping, too; None of goods of no worth."""
    if discount_cents > gross_cents:
        return 1.0
    return discount_cents / 100 / (gross_cents / 100) if gross_cents else None
