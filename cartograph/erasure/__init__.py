"""Erasure of a customer: the register of who was erased, the search for what is left, and the blanking of texts.

What of a dataset's rows is personal, and how it is taken out of them, is `ecom_assets.erasure`; the order of the steps
is `cartograph.cli.erase`.
"""

from cartograph.erasure.register import ERASED, Erasure, ErasureError, Register, is_telling, new_pseudonym
from cartograph.erasure.scan import Scan, Wanted, scan, table_places
from cartograph.erasure.texts import blank_texts

__all__ = [
    "ERASED",
    "Erasure",
    "ErasureError",
    "Register",
    "Scan",
    "Wanted",
    "blank_texts",
    "is_telling",
    "new_pseudonym",
    "scan",
    "table_places",
]
