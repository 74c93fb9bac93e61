"""The pages on which people see what signs them in, and change it. What `pages` says of all pages holds here."""

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
    key_shown,
    page,
    passkey_form,
    status,
)
from sharewell.services.visits import Account
from sharewell.store.passkeys import OwnPasskey

ADD_PATH: Final = "/oauth/account/add"
REMOVE_PATH: Final = "/oauth/account/remove"
KEY_PATH: Final = "/oauth/account/key"
CHANGE_PATH: Final = "/oauth/account/authenticator"
_TITLE: Final = "How you sign in"
_APP_TITLE: Final = "Change your authenticator app"


def enter_page(passkey: Options | None, *, fault: str | None = None) -> HTMLResponse:
    """Asks who is there, at this moment: being let in to an app is not enough to change what signs in."""
    body = f"""
<h1>{_TITLE}</h1>
{alert(fault) if fault else ""}
<p>Sign in once more to see your passkeys, or to change your authenticator app.</p>
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
{status(done) if done else ""}
<p>You are signed in here as <strong>{escape(account.person.name)}</strong>, for a few minutes.</p>
<h2>Passkeys</h2>
{_table(account)}
{_add_form(account, passkey)}
<h2>Authenticator app</h2>
<p>You have a new phone, or somebody else may have seen the key of your app? Then set another app up.</p>
{_button(KEY_PATH, account.handle, _APP_TITLE)}
<h2>Password</h2>
<p><a href="{PASSWORD_PATH}">Change your password</a></p>"""
    return page(_TITLE, body, status=400 if fault else 200, script=passkey is not None)


def authenticator_page(account: Account, key: str | None, *, fault: str | None = None) -> HTMLResponse:
    """Shows a new key, once, and asks for the code that the app shows then; without `key`, it asks again."""
    shown = f"""<p>1. Add this key to your new authenticator app (time-based, 6 digits). It is shown once. Until you are
done here, your app from before goes on working.</p>
{key_shown(account.person.login, key)}
<p>2. Show that the new app has it, and that it is you.</p>""" if key else ""  # fmt: skip
    body = f"""
<h1>{_APP_TITLE}</h1>
{alert(fault) if fault else ""}
{shown}
<form method="post" action="{CHANGE_PATH}">
<input type="hidden" name="handle" value="{escape(account.handle)}">
<label for="code">Code that the new app shows now</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10" required>
<label for="password">Your password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="128" required>
<button type="submit">Change to the new app</button>
</form>
{_button(KEY_PATH, account.handle, "Begin anew with another key") if key is None else ""}
<p>Your passkeys and your password stay as they are. Apps that act for you are signed out.</p>"""
    return page(_APP_TITLE, body, status=400 if fault else 200)


def _table(account: Account) -> str:
    if not account.passkeys:
        return "<p>You have no passkey.</p>"
    rows = "\n".join(_row(account.handle, one) for one in account.passkeys)
    return f"""<table>
<thead><tr><th scope="col">Name</th><th scope="col">Added</th><th scope="col">Last used</th><td></td></tr></thead>
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
<label for="name">Name of a new passkey, such as what it is on</label>
<input id="name" name="name" autocomplete="off" maxlength="{LONGEST_PASSKEY_NAME}" required>
<button type="submit">Add a passkey</button>
<p role="status"></p>
</form>"""


def _button(path: str, handle: str, label: str) -> str:
    """A form that is one button."""
    return f"""<form method="post" action="{path}">
<input type="hidden" name="handle" value="{escape(handle)}">
<button type="submit">{label}</button>
</form>"""


def _day(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d}"
