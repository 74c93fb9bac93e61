"""Two sets of policies over every request that they can tell apart: whether one permits more, and where.

The platform asks of finitely many kinds of request, once ids stand for themselves alone: Cedar compares ids for
equality only, and of everything else the policies are read for what they look at (`Terms`). `cases` lists one request
of each kind that some policies can tell from the others. Where a policy looks at something that cases do not cover,
`unclear` says so, and nothing is claimed of what was not tried.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, combinations, product
from typing import Final
from uuid import UUID

from sharewell.domain.clients import Purpose
from sharewell.domain.inquiry import Inquiry
from sharewell.domain.institutions import InstitutionStatus
from sharewell.domain.policy import BETWEEN, MANY, SHARED, Action, Target, scope_of
from sharewell.domain.principals import OPERATOR, WORKERS, Caller, Role
from sharewell.domain.scopes import INTERNAL_SCOPES, grants
from sharewell.domain.simulation import Verdict
from sharewell.domain.terms import (
    JURISDICTION,
    NEEDED,
    PROOF,
    PROVEN,
    PURPOSE,
    REGIONS,
    SCOPES,
    SHARED_WITH,
    STANDING,
    Terms,
)

#: Facts that policies look at each for itself, so that they can be left for later; see `apart`.
_LOOSE: Final = (PURPOSE, STANDING, PROOF, PROVEN, SCOPES)
MOST_SCOPES: Final = 4  #: that policies may name one by one
MOST_REGIONS: Final = 4  #: likewise
OWN: Final = UUID(int=1)  #: the institution the caller acts for
OTHERS: Final = (UUID(int=2), UUID(int=3))
INSIDE: Final = "its-region"  #: of the caller's jurisdiction, where it has one
OUTSIDE: Final = "another-region"
_THING: Final = "a-thing"


class Relation(StrEnum):
    """How a draft stands to what is in force."""

    EQUIVALENT = "equivalent"
    MORE_PERMISSIVE = "more_permissive"
    LESS_PERMISSIVE = "less_permissive"
    NEITHER = "neither"  #: it permits some more and some less


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A kind of request that the two sets decide differently."""

    inquiry: Inquiry
    before: Verdict
    now: Verdict
    sentence: str  #: who, what, to what, and what becomes of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionDifferences:
    """How one act is decided differently."""

    action: Action
    cases: int
    newly_allowed: int  #: kinds of request
    newly_denied: int
    examples: tuple[Difference, ...]  #: the plainest of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A draft against another set of policies."""

    before: str  #: hash of the set it is compared with
    draft: str
    relation: Relation
    unclear: tuple[str, ...]  #: why it is no exhaustive check, in words; empty where it is one
    cases: int  #: kinds of request that were tried
    actions: tuple[ActionDifferences, ...]  #: those that are decided differently

    @property
    def exhaustive(self) -> bool:
        return not self.unclear


def relation(newly_allowed: int, newly_denied: int) -> Relation:
    """What the differences come to."""
    if newly_allowed and newly_denied:
        return Relation.NEITHER
    if newly_allowed:
        return Relation.MORE_PERMISSIVE
    return Relation.LESS_PERMISSIVE if newly_denied else Relation.EQUIVALENT


def unclear(terms: Terms) -> tuple[str, ...]:
    """Why `cases` do not cover policies of such terms; empty where they do."""
    scopes = _scopes_named(terms)
    many = () if len(scopes) <= MOST_SCOPES else (f"it names more than {MOST_SCOPES} scopes one by one",)
    wide = () if len(_regions_named(terms)) <= MOST_REGIONS else (f"it names more than {MOST_REGIONS} regions",)
    return (*terms.unclear, *many, *wide)


def apart(rest: Terms, forbids: Terms) -> tuple[Terms, Terms]:
    """Of all that is looked at: what requests must differ in, and what only `forbids` look at, each for itself.

    `forbids` are policies that two sets share, `rest` all others. Both sets refuse whatever one of the forbids meets,
    so they differ on a request exactly if the rest differs and no forbid meets it. The rest does not see facts that
    only forbids look at: `cases` of the first terms show where it differs, and then one of the `variants` by the second
    is enough.
    """
    loose = frozenset(_LOOSE) & forbids.facts - rest.facts
    roles = {each for each in forbids.entities - rest.entities if each[0] == "Role"}
    first = Terms(
        facts=(rest.facts | forbids.facts) - loose, entities=(rest.entities | forbids.entities) - roles,
        compared=frozenset(pair for pair in rest.compared | forbids.compared if pair[0] not in loose),
        unclear=(*rest.unclear, *forbids.unclear),
    )  # fmt: skip
    compared = frozenset(pair for pair in forbids.compared if pair[0] in loose)
    return first, Terms(facts=loose, entities=frozenset(roles), compared=compared, unclear=())


def variants(inquiry: Inquiry, loose: Terms) -> Iterator[Inquiry]:
    """The request as it is, and then with every combination of what loose terms look at."""
    caller, needed = inquiry.caller, scope_of(inquiry.action, inquiry.target)
    if caller.scopes == INTERNAL_SCOPES:
        for roles in _subsets(_roles(loose)):
            yield replace(inquiry, caller=replace(caller, roles=caller.roles | roles))
        return
    for roles, scopes, purpose, required, constrained, context in product(
        [frozenset[Role](), *_subsets(_roles(loose))],
        _scopes(needed, loose) if SCOPES in loose.facts else [caller.scopes],
        _purposes(loose) if PURPOSE in loose.facts else [caller.purpose],
        _flags(loose, PROOF) if PROOF in loose.facts else [caller.proof_required],
        _flags(loose, PROVEN) if PROVEN in loose.facts else [caller.sender_constrained],
        [inquiry.context, *_statuses(inquiry, loose)],
    ):
        varied = replace(
            caller, roles=caller.roles | roles, scopes=scopes, purpose=purpose, proof_required=required,
            sender_constrained=constrained,
        )  # fmt: skip
        yield replace(inquiry, caller=varied, context=context)


def _statuses(inquiry: Inquiry, loose: Terms) -> Iterator[Mapping[str, str]]:
    if STANDING in loose.facts and inquiry.action.writes and inquiry.caller.institution is not None:
        yield from ({"callerStatus": str(status)} for status in InstitutionStatus)


def _roles(terms: Terms) -> list[Role]:
    """Roles that are named; others than ours nobody can hold. Who has a jurisdiction is a regulator."""
    named = {Role(id) for kind, id in terms.entities if kind == "Role" and id in set(Role)}  # noqa: A001
    return sorted(named | ({Role.REGULATOR} if JURISDICTION in terms.facts else set()))


def cases(action: Action, terms: Terms) -> Iterator[Inquiry]:
    """One request of each kind that policies of such terms can tell apart, the plainest first."""
    for roles in _subsets(_roles(terms)):
        yield from _of_workers(action, terms, roles)
        yield from _of_callers(action, terms, roles)


def _of_workers(action: Action, terms: Terms, roles: frozenset[Role]) -> Iterator[Inquiry]:
    """Processes hold every scope and act for no institution."""
    named = sorted(id for kind, id in terms.entities if kind == "Worker")  # noqa: A001
    unnamed = next((name for name in (*WORKERS, OPERATOR, "another") if name not in named), "yet another")
    for name in (unnamed, *named):
        caller = Caller(principal=name, roles=roles, scopes=INTERNAL_SCOPES)
        for target in _targets(action, terms, None, name):
            yield Inquiry(caller=caller, action=action, target=target)


def _of_callers(action: Action, terms: Terms, roles: frozenset[Role]) -> Iterator[Inquiry]:
    named = sorted(id for kind, id in terms.entities if kind == "Caller")  # noqa: A001
    unnamed = _unlike("a-client", named)
    for name, purpose, required, constrained, jurisdiction in product(
        (unnamed, *named), _purposes(terms), _flags(terms, PROOF), _flags(terms, PROVEN), _jurisdictions(terms, roles),
    ):  # fmt: skip
        for institution, context in _standings(action, terms):
            for target in _targets(action, terms, institution, name):
                for scopes in _scopes(scope_of(action, target), terms):
                    caller = Caller(
                        principal=name, roles=roles, institution=institution, scopes=scopes, purpose=purpose,
                        sender_constrained=constrained, proof_required=required, jurisdiction=jurisdiction,
                    )  # fmt: skip
                    yield Inquiry(caller=caller, action=action, target=target, context=context)


def _subsets(roles: list[Role]) -> Iterator[frozenset[Role]]:
    """All of them, one role first: who has exactly one is the plainest example."""
    sizes = [1, *(size for size in range(len(roles) + 1) if size != 1)]
    return map(frozenset, chain.from_iterable(combinations(roles, size) for size in sizes))


def _unlike(word: str, taken: list[str]) -> str:
    while word in taken:
        word += "'"
    return word


def _flags(terms: Terms, fact: str) -> tuple[bool, ...]:
    return (False, True) if fact in terms.facts else (False,)


def _purposes(terms: Terms) -> tuple[str | None, ...]:
    """None said, each that is compared with, and one that no policy knows."""
    if PURPOSE not in terms.facts:
        return (None,)
    known = sorted(text for fact, text in terms.compared if fact == PURPOSE)
    unknown = next((str(each) for each in Purpose if each not in known), _unlike("other", known))
    return (None, unknown, *known)


def _standings(action: Action, terms: Terms) -> Iterator[tuple[UUID | None, Mapping[str, str]]]:
    """For whom the caller acts, and how that institution stands, which is told of whoever writes."""
    institutions: list[UUID] = []
    if "principal.institution" in terms.facts:
        institutions = sorted({OWN, *_named_institutions(terms)})
    elif STANDING in terms.facts:
        institutions = [OWN]
    for institution in (*institutions, None):
        yield institution, {}
        if STANDING in terms.facts and action.writes and institution is not None:
            yield from ((institution, {"callerStatus": str(status)}) for status in InstitutionStatus)


def _named_institutions(terms: Terms) -> set[UUID]:
    found = set()
    for kind, id in terms.entities:  # noqa: A001
        if kind == "Institution":
            try:
                found.add(UUID(id))
            except ValueError:  # no institution is called so, and none ever can be
                continue
    return found


def _targets(action: Action, terms: Terms, institution: UUID | None, caller: str) -> Iterator[Target]:
    kind, named = action.kind, sorted(_named_institutions(terms))
    mine = () if institution is None else (institution,)
    someone = list(dict.fromkeys((*mine, OTHERS[0], None, *named)))
    ids = _ids(action, terms, [str(each) for each in someone if each is not None])
    if kind in BETWEEN:
        givers = someone if "resource.giver" in terms.facts else [None]
        receivers = [*someone, OTHERS[1]] if "resource.receiver" in terms.facts else [None]
        regions = (_regions(terms, fact) for fact in REGIONS[1:])
        for *of_both, giver, receiver, id in product(*regions, givers, receivers, ids):  # noqa: A001
            there, here = of_both
            yield Target(
                kind=kind, id=id, giver=giver, receiver=receiver, giver_region=there, receiver_region=here
            )
        return
    owners = someone if "resource.owner" in terms.facts else [None]
    for region, owner, id, author, shared in product(  # noqa: A001
        _regions(terms, REGIONS[0]), owners, ids, _authors(action, terms, caller), _shared(action, terms, someone)
    ):
        yield Target(kind=kind, id=id, owner=owner, author=author, region=region, shared_with=shared)


def _jurisdictions(terms: Terms, roles: frozenset[Role]) -> Iterator[frozenset[str]]:
    """None, as most callers; then one region that no policy names, with and without each that is named."""
    yield frozenset()
    if JURISDICTION in terms.facts and Role.REGULATOR in roles:
        named = _regions_named(terms)
        for size in range(len(named) + 1):
            yield from (frozenset({_unlike(INSIDE, named), *more}) for more in combinations(named, size))


def _regions_named(terms: Terms) -> list[str]:
    return sorted({text for fact, text in terms.compared if fact in (JURISDICTION, *REGIONS)})


def _regions(terms: Terms, fact: str) -> list[str | None]:
    """Not known, within every jurisdiction, within none, and each that is named."""
    if fact not in terms.facts:
        return [None]
    named = _regions_named(terms)
    return [None, _unlike(INSIDE, named), _unlike(OUTSIDE, named), *named]


def _shared(action: Action, terms: Terms, institutions: list[UUID | None]) -> list[frozenset[UUID]]:
    """With nobody; with somebody of whom nothing else is said; and beside that with any of `institutions`."""
    if action.kind not in SHARED or SHARED_WITH not in terms.facts:
        return [frozenset()]
    told = [each for each in institutions if each is not None]
    every = chain.from_iterable(combinations(told, size) for size in range(len(told) + 1))
    return [frozenset(), *(frozenset({OTHERS[1], *some}) for some in every)]


def _authors(action: Action, terms: Terms, caller: str) -> list[str | None]:
    """Nobody, the caller, somebody else, and each that is named; where policies look at who wrote a thing."""
    if action.kind != "policy" or "resource.author" not in terms.facts:
        return [None]
    named = sorted(id for kind, id in terms.entities if kind == "Caller")  # noqa: A001
    return [None, *dict.fromkeys((caller, _unlike("another-client", [caller, *named]), *named))]


def _ids(action: Action, terms: Terms, institutions: list[str]) -> list[str]:
    """Some thing; the list where that can make a difference; and each thing that a policy names."""
    kind = action.kind.capitalize()
    named = sorted(id for of, id in terms.entities if of == kind and id != MANY)  # noqa: A001
    found = [_unlike(_THING, named), *named]
    by_scope = not action.writes and any(fact in (NEEDED, SCOPES) for fact, _ in terms.compared)
    if by_scope or (kind, MANY) in terms.entities:
        found.append(MANY)
    if action.kind == "institution" and "resource" in terms.facts:
        found.extend(each for each in institutions if each not in found)
    return found


def _scopes_named(terms: Terms) -> list[str]:
    """Permissions that policies ask for by name."""
    return sorted({text for fact, text in terms.compared if fact == SCOPES and grants(f"system/{text}")})


def _scopes(needed: str, terms: Terms) -> Iterator[frozenset[str]]:
    """Enough, then too little; with and without each permission that is asked for by name."""
    if SCOPES not in terms.facts:
        yield frozenset({f"system/{needed}"})
        return
    others = [f"system/{each}" for each in _scopes_named(terms) if each != needed]
    for enough in ({f"system/{needed}"}, set[str]()):
        for size in range(len(others) + 1):
            yield from (frozenset(enough | {*more}) for more in combinations(others, size))


def sentence(inquiry: Inquiry) -> str:
    """Who asks for what, to what, in words."""
    asked = f"{_who(inquiry)} asks for {inquiry.action} on {_what(inquiry)}"
    return f"{asked} ({inquiry.action.sentence.rstrip('.')})"


def difference(inquiry: Inquiry, before: Verdict, now: Verdict) -> Difference:
    """With what becomes of it: the policies of each set that decide."""
    told = f"{sentence(inquiry)}: {_verdict(before)} before, {_verdict(now)} now."
    return Difference(inquiry=inquiry, before=before, now=now, sentence=told)


def _verdict(verdict: Verdict) -> str:
    if not verdict.policies:
        return "permitted by no policy"
    return f"{'allowed' if verdict.allowed else 'refused'} by {', '.join(verdict.policies)}"


def _who(inquiry: Inquiry) -> str:
    caller, standing = inquiry.caller, inquiry.context.get("callerStatus")
    roles = " and ".join(sorted(caller.roles)) or "no role"
    if caller.scopes == INTERNAL_SCOPES:
        return f"the process {caller.principal} (as {roles})"
    said = [f"a client ({roles})" if caller.principal == "a-client" else f"{caller.principal} ({roles})"]
    if caller.institution is not None:
        said.append("acting for an institution" + ("" if standing is None else f" that is {standing}"))
    if caller.jurisdiction:
        said.append(f"of the regions {', '.join(sorted(caller.jurisdiction))} alone")
    if not caller.scopes:
        said.append("without the scope it needs")
    if caller.proof_required:
        proves = "that it proves" if caller.sender_constrained else "it does not prove"
        said.append(f"bound to a key {proves}")
    elif caller.sender_constrained:
        said.append("proving a key")
    if caller.purpose is not None:
        said.append(f"for the purpose {caller.purpose}")
    return ", ".join(said)


def _what(inquiry: Inquiry) -> str:
    caller, target = inquiry.caller, inquiry.target
    parties = {"of": target.owner, "given by": target.giver, "received by": target.receiver}
    told = [f"{word} {_whose(party, caller)}" for word, party in parties.items() if party is not None]
    places = {"in": target.region, "from": target.giver_region, "to": target.receiver_region}
    told.extend(f"{word} {_where(region, caller)}" for word, region in places.items() if region is not None)
    if target.shared_with:
        told.append("shown to " + " and ".join(_whose(each, caller) for each in sorted(target.shared_with)))
    article = "an" if target.kind[0] in "aeiou" else "a"
    thing = f"the list of {target.kind} things" if target.id == MANY else f"{article} {target.kind}"
    if target.id not in (MANY, _THING):
        thing = f"the {target.kind} {target.id}"
    return " ".join([thing, *told]) if told else f"{thing} of nobody in particular"


def _whose(party: UUID, caller: Caller) -> str:
    if party == caller.institution:
        return "its own institution"
    return {OTHERS[0]: "another institution", OTHERS[1]: "a third institution"}.get(party, f"institution {party}")


def _where(region: str, caller: Caller) -> str:
    if not caller.jurisdiction:
        return f"the region {region}"
    return f"the region {region}, which is {'' if region in caller.jurisdiction else 'not '}of its jurisdiction"
