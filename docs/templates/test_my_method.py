"""The contract of budgetnas in your own test suite. Copy this file beside `my_method.py`."""

from budgetnas.harness.trials.contract import check_method
from my_method import MySearch


def test_my_search_keeps_the_contract() -> None:
    """With its default settings and with others."""
    check_method(MySearch)
    check_method(MySearch, {"restart": 0.5})
