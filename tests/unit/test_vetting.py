"""What the check of a set of policies finds, what one set changes in another, and when one admin alone may use it."""

from __future__ import annotations

import pytest

from sharewell.authz import SCHEMA, Authorizer, shipped_policies
from sharewell.domain.policy_versions import Weight
from sharewell.vetting.changes import ChangeKind, file_changes, policy_changes, unfit_for_glass
from sharewell.vetting.findings import ADMINISTRATION, PROTECTED, findings_of
from sharewell.vetting.texts import texts_of

FILES = {name: data for name, data in shipped_policies().items() if name != SCHEMA}
READS = 'action == Sharewell::Action::"viewOffer"'
COUNTS = 'action == Sharewell::Action::"viewExactCapacity"'


def codes(files: dict[str, bytes]) -> set[tuple[str, str | None]]:
    """Code and policy of each fault."""
    return {(each.code, each.policy) for each in findings_of(files) if each.weight is Weight.FAULT}


def with_policy(text: str, id: str = "new-one") -> dict[str, bytes]:  # noqa: A002
    return FILES | {"extra.cedar": f'@id("{id}") @sentence("What it says, in words.") {text}'.encode()}


def without(name: str) -> dict[str, bytes]:
    """The set without one policy, whatever file it is in."""
    changed = {}
    for file, data in FILES.items():
        head, *policies = data.decode().split("\n@id(")
        kept = [policy for policy in policies if not policy.startswith(f'"{name}")')]
        changed[file] = "\n@id(".join([head, *kept]).encode()
    return changed


def test_the_policies_of_this_release_have_nothing_to_be_found() -> None:
    assert findings_of(FILES) == ()
    assert findings_of(shipped_policies()) == ()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("permit (principal, action, resource);", "unconditional_permit"),
        ("permit (principal, action, resource) when { true };", "unconditional_permit"),
        ("permit (principal, action, resource) unless { false };", "unconditional_permit"),
        (f"permit (principal, {READS}, resource);", "permit_for_everybody"),
        (f"permit (principal, {READS}, resource) when {{ 1 == 1 }};", "permits_strangers"),
        (f"permit (principal is Sharewell::Caller, {READS}, resource);", "permits_strangers"),
        (f"permit (principal, {READS}, resource) when {{ principal has scopes }};", "permits_strangers"),
        ('permit (principal in Sharewell::Role::"admin", action, resource);', "permit_for_every_act"),
        (f"forbid (principal, {READS}, resource);", "regulator_cannot_read"),
        (f"forbid (principal is Sharewell::Caller, {READS}, resource) when {{ principal has jurisdiction }};",
         "regulator_cannot_read"),
        (f"permit (principal, {COUNTS}, resource) when {{ resource has sharedWith }};", "permits_strangers"),
        ('permit (principal, action == Sharewell::Action::"viewAgreement", resource) when { resource has giver };',
         "permits_strangers"),
        ('forbid (principal, action == Sharewell::Action::"approvePolicy", resource);', "locks_out_administration"),
        ('forbid (principal, action == Sharewell::Action::"rotateKey", resource);', "locks_out_start"),
        (f'permit (principal == Sharewell::Worker::"fly", {READS}, resource);', "unknown_worker"),
        (f'permit (principal in Sharewell::Role::"boss", {READS}, resource);', "cannot_be_loaded"),
        ('permit (principal, action == Sharewell::Action::"fly", resource);', "cannot_be_loaded"),
        ("permit (principal, action, resource)", "cannot_be_loaded"),
    ],
)
def test_what_no_set_of_policies_may_do_is_a_fault_by_name(text: str, code: str) -> None:
    assert code in {found for found, _ in codes(with_policy(text))}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"permit (principal, {READS}, resource) when {{ resource.ownr == principal.institution }};",
         ("extra: ", "attribute `ownr`", "did you mean owner?")),
        ('permit (principal, action == Sharewell::Action::"viewOfer", resource);',
         ("extra: ", "did you mean viewOffer?")),
        ("permit (principal, action, resource)", ("policy extra on line 5", "a policy ends with a semicolon")),
        ("permit (principal, action, thing);", ("policy extra on line 5", "thing")),
    ],
)
def test_what_cannot_be_loaded_is_told_by_policy_line_and_the_word_that_was_meant(
    text: str, said: tuple[str, ...]
) -> None:
    before, after = ((
        f'@id("{name}")\n@sentence("A reading that is permitted by name.")\n'
        'permit (principal is Sharewell::Caller, action == Sharewell::Action::"viewOffer", resource);\n'
    ) for name in ("before", "after"))  # fmt: skip
    named = f'// What follows is new.\n@id("extra")\n@sentence("A rule that is not right.")\n{text}\n'
    (found,) = findings_of(FILES | {"extra.cedar": (before + named + after).encode()})
    assert found.code == "cannot_be_loaded"
    assert found.message.startswith("extra.cedar: ")
    assert all(each in found.message for each in said), found.message


def test_a_set_without_ids_with_an_id_twice_or_that_is_no_text_cannot_be_loaded() -> None:
    for files in (
        FILES | {"extra.cedar": b"permit (principal, action, resource);"},
        with_policy(f'permit (principal in Sharewell::Role::"admin", {READS}, resource);', "pledge-own-units"),
        FILES | {"extra.cedar": b"\xff"},
    ):
        assert codes(files) == {("cannot_be_loaded", None)}


@pytest.mark.parametrize("name", sorted(PROTECTED))
def test_every_protected_policy_is_missed_where_it_is_dropped(name: str) -> None:
    assert ("protected_policy_dropped", name) in codes(without(name))


def test_a_protected_policy_that_says_something_else_under_its_name_is_a_fault_and_another_layout_is_not() -> None:
    access = FILES["access.cedar"].decode()
    weaker = access.replace('context.callerStatus != "active"', 'context.callerStatus == "suspended"')
    assert ("protected_policy_changed", "suspended-changes-nothing") in codes(FILES | {"access.cedar": weaker.encode()})
    spaced = access.replace("\n", "\n\n").replace("principal,", "principal ,")
    assert findings_of(FILES | {"access.cedar": spaced.encode()}) == ()


def test_a_version_brings_no_schema_of_its_own() -> None:
    assert codes(FILES | {SCHEMA: b"namespace Sharewell {}"}) == {("schema_changed", None)}


def test_what_the_cases_of_the_release_say_otherwise_is_a_warning_with_the_deciding_policy() -> None:
    found = findings_of(with_policy(f'permit (principal in Sharewell::Role::"admin", {READS}, resource);'))
    assert [(each.code, each.weight) for each in found] == [("case_differs", Weight.WARNING)]
    assert found[0].message == "admin lists offers: allowed by new-one, and the release has it denied."


def test_an_act_that_nobody_could_do_any_more_is_a_warning() -> None:
    found = {each.code: each for each in findings_of(without("admin-rotates-keys")) if "rotateKey" in each.message}
    assert {"act_without_policy", "locks_out_start"} <= found.keys()


def test_what_administration_takes_is_permitted_to_admins_by_this_release() -> None:
    acts = {action for policy in Authorizer.load().policies.values() for action in policy.actions}
    assert set(ADMINISTRATION) <= acts


def test_changes_are_told_by_policy_and_layout_is_none() -> None:
    offers = FILES["offers.cedar"].decode()
    after = with_policy(f'permit (principal in Sharewell::Role::"admin", {READS}, resource);') | {
        "offers.cedar": offers.replace("\n", "\n\n").encode(),
    }  # fmt: skip
    (added,) = policy_changes(FILES, after)
    assert (added.policy, added.kind, added.sentence_before) == ("new-one", ChangeKind.ADDED, None)
    (removed,) = policy_changes(after, FILES)
    assert (removed.kind, removed.sentence) == (ChangeKind.REMOVED, None)
    assert [change.file for change in file_changes(FILES, after)] == ["extra.cedar", "offers.cedar"]
    assert file_changes(FILES, after)[0].diff.startswith("--- /dev/null\n+++ b/extra.cedar\n")
    assert not policy_changes(FILES, FILES)
    assert not file_changes(FILES, FILES)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'permit (principal == Sharewell::Caller::"c", {READS}, resource);', None),
        (f'forbid (principal in Sharewell::Role::"device", {READS}, resource);', None),
        (f'permit (principal in Sharewell::Role::"admin", {READS}, resource);', "must name one caller"),
        ('permit (principal == Sharewell::Caller::"c", action, resource);', "must name one caller"),
        ('permit (principal == Sharewell::Caller::"c", action in Sharewell::Action::"write", resource);', "its acts"),
        ('forbid (principal, action == Sharewell::Action::"reportCapacity", resource);', None),
        (f'forbid (principal is Sharewell::Caller in Sharewell::Role::"institution", {READS}, resource);', None),
        ('forbid (principal == Sharewell::Caller::"c", action == Sharewell::Action::"publishOffer", resource);', None),
        (f'forbid (principal, {READS}, resource) unless {{ principal in Sharewell::Role::"admin" }};', "from reading"),
        (f'forbid (principal == Sharewell::Caller::"c", {READS}, resource);', "from reading"),
        (f'forbid (principal in Sharewell::Role::"regulator", {READS}, resource);', "from reading"),
        ('forbid (principal, action, resource) when { principal == Sharewell::Caller::"c" };', "from approvePolicy"),
        ('forbid (principal == Sharewell::Caller::"c", action == Sharewell::Action::"endBreakGlass", resource);',
         "from endBreakGlass"),
        ('forbid (principal in Sharewell::Role::"institution", action in Sharewell::Action::"write", resource);',
         "from approvePolicy"),
    ],
)
def test_one_admin_alone_may_give_a_named_caller_named_acts_and_take_no_watch_away(text: str, why: str | None) -> None:
    found = unfit_for_glass(FILES, with_policy(text))
    assert (found is None) if why is None else (why in str(found))


def test_one_admin_alone_changes_and_removes_no_policy() -> None:
    dropped = unfit_for_glass(FILES, without("research-changes-nothing"))
    assert dropped == (
        "it has the policy research-changes-nothing removed; it may only add policies, or have been in force before"
    )


def test_every_policy_of_the_release_can_be_taken_apart() -> None:
    assert texts_of(FILES).keys() == Authorizer.load().policies.keys()
