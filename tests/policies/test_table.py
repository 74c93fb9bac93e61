"""The table in docs/policies.md is what the policies answer. `python tests/policies/test_table.py` prints it anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

from sharewell.authz import Authorizer
from sharewell.domain.policy import BETWEEN, Action, Target
from sharewell.domain.principals import WORKERS, Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES

DOCUMENT = Path(__file__).parents[2] / "docs" / "policies.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
OWN, OTHER, THIRD = (UUID(int=number) for number in (1, 2, 3))


def table(authorizer: Authorizer) -> str:
    head = ["act", *Role, "worker", "what it means"]
    rows = [head, ["---"] * len(head), *(row(authorizer, action) for action in Action)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in rows)


def row(authorizer: Authorizer, action: Action) -> list[str]:
    roles = [" or ".join(of_role(authorizer, action, role)) for role in Role]
    workers = [name for name in WORKERS if anyone(authorizer, action, worker(name))]
    return [f"`{action}`", *roles, "all" if len(workers) == len(WORKERS) else ", ".join(workers), action.sentence]


def of_role(authorizer: Authorizer, action: Action, role: Role) -> Iterator[str]:
    """On which things a client of `role` may do it: `all`, or only those of its own institution."""
    tied = OWN if role in {Role.INSTITUTION, Role.DEVICE} else None
    client = Caller(principal="c", roles=frozenset({role}), institution=tied, scopes=frozenset({"system/*.cruds"}))
    if anyone(authorizer, action, client):
        yield "all"
        return
    mine = (
        {
            "own": Target(kind=action.kind, id="1", owner=OWN),
        }
        if action.kind not in BETWEEN
        else {
            "giver": Target(kind=action.kind, id="1", giver=OWN, receiver=OTHER),
            "receiver": Target(kind=action.kind, id="1", giver=OTHER, receiver=OWN),
        }
    )
    for word, target in mine.items():
        if authorizer.ask(client, action, target).allowed:
            yield word


def anyone(authorizer: Authorizer, action: Action, caller: Caller) -> bool:
    """Whether `caller` may do it to everybody's things."""
    of_others = (
        Target(kind=action.kind, id="1", giver=OTHER, receiver=THIRD)
        if action.kind in BETWEEN
        else Target(kind=action.kind, id="1", owner=OTHER)
    )
    everything = Target.list(action.kind)
    return all(authorizer.ask(caller, action, target).allowed for target in (of_others, everything))


def worker(name: str) -> Caller:
    return Caller(principal=name, roles=frozenset({Role.ALLOCATOR}), scopes=INTERNAL_SCOPES)


def test_the_documented_table_is_what_the_policies_answer(authorizer: Authorizer) -> None:
    documented = DOCUMENT.read_text().split(BEGIN)[1].split(END)[0]
    assert documented == table(authorizer), "print it anew: python tests/policies/test_table.py"


if __name__ == "__main__":
    print(table(Authorizer.load()), end="")  # noqa: T201
