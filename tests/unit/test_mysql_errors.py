import pytest

from leat_runner.kinds.address import Address
from leat_runner.kinds.mysql_errors import error_of

SHOP = Address("mysql", "db", 3306, "/shop", username="app", password="hunter2")  # noqa: S106


@pytest.mark.parametrize(
    ("number", "state", "seen"),
    [
        (1062, "23000", ("Sql", "UniqueViolation", False)),
        (1064, "42000", ("Sql", "Syntax", False)),
        (1213, "40001", ("Sql", "DeadlockDetected", True)),
        (1205, "HY000", ("Sql", "LockNotAvailable", True)),
        (3572, "HY000", ("Sql", "LockNotAvailable", True)),
        (1366, "22007", ("Sql", "TruncatedWrongValueForField", False)),
        (9999, "HY000", ("Sql", "Error9999", False)),
        (1317, "70100", ("Timeout", "", True)),
        (1969, "70100", ("Timeout", "", True)),
        (3024, "HY000", ("Timeout", "", True)),
        (1040, "08004", ("Connection", "ConCountError", True)),
        (1053, "08S01", ("Connection", "ServerShutdown", True)),
        (1927, "70100", ("Connection", "Error1927", True)),
        (1045, "28000", ("Connection", "NotLoggedIn", False)),
        (1251, "08004", ("Connection", "NotLoggedIn", False)),
    ],
)
def test_a_number_says_what_to_do(number, state, seen):
    error = error_of(SHOP, number, state, "it said so")
    assert (error.type, error.reason, error.retriable) == seen
    assert error.details == ({} if error.type == "Connection" else {"sqlState": state, "code": number})


@pytest.mark.parametrize(
    ("number", "state", "message", "told", "constraint"),
    [
        (1062, "23000", "Duplicate entry 'x' for key 'PRIMARY'", "Duplicate entry for key 'PRIMARY'", "PRIMARY"),
        (
            1062,
            "23000",
            "Duplicate entry 'x' for key 'CONSTRAINT `y`' for key 'shop.it'",
            "Duplicate entry for key 'shop.it'",
            "it",
        ),
        (
            1366,
            "22007",
            "Incorrect integer value: 'x' for column `shop`.`payment`.`amount` at row 1",
            "Incorrect integer value for column `shop`.`payment`.`amount` at row 1",
            None,
        ),
        (1292, "22007", "Truncated incorrect DOUBLE value: 'x'", "Truncated incorrect DOUBLE value", None),
        (1690, "22003", "BIGINT UNSIGNED value is out of range in '(1 - 2)'", None, None),
        (1231, "42000", "Variable 'a' can't be set to the value of 'x'", "Variable", None),
        (1146, "42S02", "Table 'shop.x' doesn't exist", "Table 'shop.x' doesn't exist", None),
        (
            1452,
            "23000",
            "a foreign key constraint fails (`s`.`p`, CONSTRAINT `to_order` FOREIGN KEY (`o`) REFERENCES `o` (`id`))",
            "a foreign key constraint fails (`s`.`p`, CONSTRAINT `to_order` FOREIGN KEY (`o`) REFERENCES `o` (`id`))",
            "to_order",
        ),
        (
            3819,
            "HY000",
            "Check constraint 'positive' is violated.",
            "Check constraint 'positive' is violated.",
            "positive",
        ),
    ],
)
def test_a_message_names_places_and_quotes_no_values(number, state, message, told, constraint):
    error = error_of(SHOP, number, state, message)
    told = told or "BIGINT UNSIGNED value is out of range in"
    assert error.message == f"mysql://db:3306/shop: {told}"
    assert error.details.get("constraint") == constraint
    assert error.details["code"] == number
