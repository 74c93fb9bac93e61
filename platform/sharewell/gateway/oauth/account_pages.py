"""The pages on which people see their passkeys, add one and remove one. What `pages` says of all pages holds here."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

from sharewell.domain.people import LONGEST_PASSKEY_NAME
from sharewell.gateway.oauth.pages import (
    ACCOUNT_PATH,
    PASSWORD_PATH,
    SIGN_IN_FIELDS,
    Options,
    alert,
    data,
    page,
    passkey_form,
)
from sharewell.services.visits import Account
from sharewell.store.passkeys import OwnPasskey

ADD_PATH: Final = "/oauth/account/add"
REMOVE_PATH: Final = "/oauth/account/remove"
_TITLE: Final = "Your passkeys"


def enter_page(passkey: Options | None, *, fault: str | None = None) -> HTMLResponse:
    """Asks who is there, at this moment: being let in to an app is not enough to change what signs in."""
    body = f"""
<h1>{_TITLE}</h1>
{alert(fault) if fault else ""}
<p>Sign in to see them, add one or remove one.</p>
<form method="post" action="{ACCOUNT_PATH}">
{SIGN_IN_FIELDS}</form>
{passkey_form("", passkey, ACCOUNT_PATH)}
<p><a href="{PASSWORD_PATH}">Change your password</a></p>"""
    return page(_TITLE, body, status=400 if fault else 200, script=passkey is not None)


def account_page(
    account: Account, passkey: Options | None, *, done: str | None = None, fault: str | None = None
) -> HTMLResponse:
    """Shows what a person has, and takes one change."""
    body = f"""
<h1>{_TITLE}</h1>
{alert(fault) if fault else ""}
{f'<p role="status">{escape(done)}</p>' if done else ""}
<p>You are signed in as <strong>{escape(account.person.name)}</strong> for a few minutes.</p>
{_table(account)}
{_add_form(account, passkey)}"""
    return page(_TITLE, body, status=400 if fault else 200, script=passkey is not None)


def _table(account: Account) -> str:
    if not account.passkeys:
        return "<p>You have no passkey.</p>"
    rows = "\n".join(_row(account.handle, one) for one in account.passkeys)
    return f"""<table>
<thead><tr><th>Name</th><th>Added</th><th>Last used</th><td></td></tr></thead>
<tbody>
{rows}
</tbody></table>"""


def _row(handle: str, passkey: OwnPasskey) -> str:
    name, used = escape(passkey.name), passkey.last_used_at
    return f"""<tr><td>{name}</td><td>{_day(passkey.created_at)}</td><td>{_day(used) if used else "never"}</td>
<td><form method="post" action="{REMOVE_PATH}">
<input type="hidden" name="handle" value="{escape(handle)}">
<button type="submit" name="remove" value="{passkey.added_by}" aria-label="Remove {name}">Remove</button>
</form></td></tr>"""


def _add_form(account: Account, options: Options | None) -> str:
    if account.full:
        return f"<p>You have {len(account.passkeys)} passkeys; no more are kept. Remove one to add another.</p>"
    if options is None:
        return ""
    return f"""<form method="post" action="{ADD_PATH}" data-passkey="create" data-options="{data(options)}" hidden>
<input type="hidden" name="handle" value="{escape(account.handle)}">
<input type="hidden" name="passkey">
<label for="name">Name of the new passkey, such as what it is on</label>
<input id="name" name="name" autocomplete="off" maxlength="{LONGEST_PASSKEY_NAME}" required>
<button type="button">Add a passkey</button>
<p role="status"></p>
</form>"""


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"
