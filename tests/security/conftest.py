"""The application and its worker, as the functional tests have them."""

from tests.functional.conftest import caller, empty_database

__all__ = ["caller", "empty_database"]
