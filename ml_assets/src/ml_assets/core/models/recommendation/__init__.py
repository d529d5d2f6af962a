"""What to show to a customer: from who bought what, in which order, to ranked products.

`histories` holds the purchases, `item_item` learns which product leads to which, `factors` is a comparator, and
`recommender` ranks for customers, baskets, sessions, and those of whom nothing is known. All of it knows products and
customers as numbers from 0 on; their ids stay with the caller. How good a ranking is, is `core.evaluation.ranking`.
"""
