"""Evaluates policies as IAM does, as far as the project's policies need. Anything else is an error."""

import re
from fnmatch import fnmatchcase


def as_list(value):
    return value if isinstance(value, list) else [value]


OPERATORS = {
    "StringEquals": lambda wanted, found: len(found) == 1 and found[0] in wanted,
    "ArnLike": lambda wanted, found: len(found) == 1 and any(fnmatchcase(found[0], each) for each in wanted),
    "ForAllValues:StringLike": lambda wanted, found: all(any(fnmatchcase(one, each) for each in wanted) for one in found),
    "ForAllValues:StringNotLike": lambda unwanted, found: not any(
        fnmatchcase(one, each) for one in found for each in unwanted),
    "Null": lambda wanted, found: [str(not found).lower()] == wanted,
    "Bool": lambda wanted, found: len(found) == 1 and found[0] in wanted,
    "ForAllValues:StringEquals": lambda wanted, found: all(each in wanted for each in found),
}


def filled(values, context):
    """The values, with the context's in place of policy variables. A variable without a value fits nothing."""
    found = [re.sub(r"\$\{(.+?)\}", lambda variable: context.get(variable[1], "\0"), value) for value in values]
    return [value for value in found if "\0" not in value]


def applies(statement, principal, action, resource, context):
    assert set(statement) <= {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}
    if "Principal" in statement:
        given = statement["Principal"]
        names = ["*"] if given == "*" else [name for names in given.values() for name in as_list(names)]
        if "*" not in names and principal not in names:
            return False
    return (
        any(fnmatchcase(action, each) for each in as_list(statement["Action"]))
        and any(fnmatchcase(resource, each) for each in as_list(statement["Resource"]))
        and all(
            OPERATORS[operator](filled(as_list(wanted), context), as_list(context.get(key, [])))
            for operator, conditions in statement.get("Condition", {}).items()
            for key, wanted in conditions.items()
        )
    )


def allows(policy, principal, action, resource, **context):
    effects = {each["Effect"] for each in policy["Statement"] if applies(each, principal, action, resource, context)}
    return effects == {"Allow"}
