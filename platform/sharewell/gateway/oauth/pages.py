"""The few pages people see when they sign in: plain HTML, nothing from elsewhere, and one script for passkeys.

Every text from outside is escaped. The policy of each page allows its one style sheet, by hash, and posting its form
here; a browser that has read the consent page may also follow the redirect to the app. Pages that offer a passkey
allow scripts from this server, of which there is one; with scripts off, what needs it stays hidden.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

import pyotp
import segno
from starlette.responses import HTMLResponse, Response

from sharewell.domain.addresses import origin_of, shown_origin
from sharewell.domain.rates import Allowance
from sharewell.domain.scopes import LETTERS

SIGN_IN_PATH: Final = "/oauth/sign-in"
CONSENT_PATH: Final = "/oauth/consent"
ENROL_PATH: Final = "/oauth/enrol"
PASSWORD_PATH: Final = "/oauth/password"  # noqa: S105 - an address
ACCOUNT_PATH: Final = "/oauth/account"
SCRIPT_PATH: Final = "/oauth/passkey.js"
FAILED: Final = "That did not work. After several tries you have to wait a while."
Options = Mapping[str, Any]  #: what a browser is asked for a passkey with
_VERBS: Final = dict(zip(LETTERS, ("create", "read", "change", "delete", "search"), strict=True))
_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 1.125rem/1.5 system-ui, sans-serif; max-width: 28rem; margin: 2rem auto; padding: 0 1rem; }
label { display: block; margin-top: 1rem; }
input { font: inherit; width: 100%; padding: .5rem; box-sizing: border-box; }
button { font: inherit; padding: .6rem 1.2rem; margin: 1.5rem .5rem 0 0; }
:focus-visible { outline: 3px solid; outline-offset: 2px; }
[role=alert] { border-left: .3rem solid crimson; padding-left: .8rem; }
[role=status]:not(:empty) { border-left: .3rem solid seagreen; padding-left: .8rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; }
table { width: 100%; border-collapse: collapse; font-size: 1rem; }
th, td { padding: .5rem .6rem .5rem 0; text-align: left; overflow-wrap: anywhere; }
td:nth-child(n + 2) { white-space: nowrap; }
tbody tr { border-top: 1px solid color-mix(in srgb, currentcolor 30%, transparent); }
td:last-child { padding-right: 0; text-align: right; }
td button { margin: 0; padding: .3rem .7rem; }
@media (max-width: 26rem) {
  thead { display: none; }
  tr { display: block; padding: .6rem 0; }
  td, td:last-child { display: block; padding: .1rem 0; text-align: left; }
  td:nth-child(2)::before { content: "Added "; }
  td:nth-child(3)::before { content: "Last used "; }
}
svg { display: block; width: 100%; max-width: 16rem; }
code { overflow-wrap: anywhere; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
SIGN_IN_FIELDS: Final = """<label for="login">Login</label>
<input id="login" name="login" autocomplete="username" autocapitalize="none" maxlength="200" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="128" required>
<label for="code">Code of your authenticator app</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10" required>
<button type="submit">Sign in</button>
"""


def sign_in_page(
    app: str, handle: str, *, redirect_uri: str, passkey: Options | None, failed: bool = False
) -> HTMLResponse:
    """Asks who is there. After a failure it says no more than that."""
    body = f"""
<h1>Sign in</h1>
{alert(FAILED) if failed else ""}
<p>to go on to <strong>{escape(app)}</strong></p>
<form method="post" action="{SIGN_IN_PATH}">
<input type="hidden" name="handle" value="{escape(handle)}">
{SIGN_IN_FIELDS}</form>
{passkey_form(handle, passkey)}"""
    status = 400 if failed else 200
    return page("Sign in", body, status=status, redirect_uri=redirect_uri, script=passkey is not None)


def key_shown(login: str, secret: str) -> str:
    """The key of an authenticator app: as apps read it from the screen, an SVG in the page itself, and to be typed."""
    address = pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name="Sharewell")
    drawn = segno.make(address, error="m", micro=False)
    spaced = " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))
    return f"""{drawn.svg_inline(scale=5, light="white", title="QR code of the key", omitsize=True)}
<p><code>{escape(spaced)}</code></p>"""


def passkey_form(handle: str, options: Options | None, path: str = SIGN_IN_PATH) -> str:
    """The way in with a passkey, on pages where people sign in."""
    if options is None:
        return ""
    return f"""<form method="post" action="{path}" data-passkey="get" data-options="{data(options)}" hidden>
<input type="hidden" name="handle" value="{escape(handle)}">
<input type="hidden" name="passkey">
<button type="submit">Sign in with a passkey</button>
<p role="status"></p>
</form>"""


def _passkey_field(options: Options | None) -> str:
    if options is None:
        return ""
    done = "Your passkey is ready; set up the rest to keep it."
    return f"""<div data-passkey="create" data-options="{data(options)}" data-done="{done}" hidden>
<input type="hidden" name="passkey">
<button type="button">Add a passkey, to sign in without password and code</button>
<p role="status"></p>
</div>"""


def data(options: Options) -> str:
    """As the script reads it from an attribute."""
    return escape(json.dumps(options))


def consent_page(
    app: str, handle: str, *, person: str, scopes: Sequence[str], purpose: str | None, redirect_uri: str
) -> HTMLResponse:
    """Asks whether the app may act for the person."""
    wants = "".join(f"<li>{escape(_said(scope))}</li>" for scope in scopes)
    body = f"""
<h1>Let {escape(app)} act for you?</h1>
<p>You are signed in as <strong>{escape(person)}</strong>. The app asks to</p>
<ul>{wants}</ul>
{f"<p>Purpose of use: {escape(purpose)}</p>" if purpose else ""}
<p>It then sends you back to <code>{escape(shown_origin(redirect_uri))}</code>.</p>
<form method="post" action="{CONSENT_PATH}">
<input type="hidden" name="handle" value="{escape(handle)}">
<button type="submit" name="answer" value="allow">Allow</button>
<button type="submit" name="answer" value="deny">Do not allow</button>
</form>
<p><a href="{ACCOUNT_PATH}" target="_blank" rel="noopener">How you sign in</a></p>"""
    return page("Consent", body, redirect_uri=redirect_uri)


def invitation_page(*, fault: str | None = None) -> HTMLResponse:
    """Asks for the invitation an admin handed over."""
    body = f"""
<h1>Set up your access</h1>
{alert(fault) if fault else ""}
<form method="post" action="{ENROL_PATH}">
<label for="invitation">Invitation</label>
<input id="invitation" name="invitation" autocomplete="off" maxlength="100" required>
<button type="submit">Go on</button>
</form>"""
    return page("Set up your access", body, status=400 if fault else 200)


_AGAIN = """<p>An admin invited you again. Password, authenticator key and passkeys from before are dead, and
your apps are signed out. If you did not ask for that, tell your auditor.</p>"""


def enrol_page(
    invitation: str, *, login: str, secret: str, passkey: Options | None, again: bool = False, fault: str | None = None
) -> HTMLResponse:
    """Shows the secret of the second factor, and asks for a password and a first code."""
    body = f"""
<h1>Set up your access</h1>
{alert(fault) if fault else ""}
{_AGAIN if again else ""}
<p>Your login is <strong>{escape(login)}</strong>. Add this key to your authenticator app (time-based, 6 digits):</p>
{key_shown(login, secret)}
<form method="post" action="{ENROL_PATH}">
<input type="hidden" name="invitation" value="{escape(invitation)}">
<label for="password">New password, at least 12 characters</label>
<input id="password" name="password" type="password" autocomplete="new-password" minlength="12" maxlength="128"
 required>
<label for="code">Code that the app shows now</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10" required>
{_passkey_field(passkey)}
<button type="submit">Set up</button>
</form>"""
    return page("Set up your access", body, status=400 if fault else 200, script=passkey is not None)


def password_page(*, fault: str | None = None) -> HTMLResponse:
    """Asks who is there, once more, and for a new password."""
    body = f"""
<h1>Change your password</h1>
{alert(fault) if fault else ""}
<form method="post" action="{PASSWORD_PATH}">
<label for="login">Login</label>
<input id="login" name="login" autocomplete="username" autocapitalize="none" maxlength="200" required>
<label for="password">Password you have now</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="128" required>
<label for="code">Code of your authenticator app</label>
<input id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10" required>
<label for="new">New password, at least 12 characters</label>
<input id="new" name="new" type="password" autocomplete="new-password" minlength="12" maxlength="128" required>
<button type="submit">Change</button>
</form>
<p>Apps that act for you are signed out then.</p>
<p><a href="{ACCOUNT_PATH}">Passkeys and authenticator app</a></p>"""
    return page("Change your password", body, status=400 if fault else 200)


def message_page(title: str, sentence: str, *, status: int = 200) -> HTMLResponse:
    """Says one thing."""
    return page(title, f"\n<h1>{escape(title)}</h1>\n<p>{escape(sentence)}</p>", status=status)


def too_many_page(allowance: Allowance) -> HTMLResponse:
    """Says to whom asks, or is refused, too often when to come back."""
    page = message_page("Not so fast", f"Too much came from your address. Go on in {allowance.pause} s.", status=429)
    page.headers.update(allowance.headers)
    return page


def passkey_script() -> Response:
    """The one script."""
    text = (files("sharewell.gateway.oauth") / "passkey.js").read_bytes()
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def page(
    title: str, body: str, *, status: int = 200, redirect_uri: str | None = None, script: bool = False
) -> HTMLResponse:
    """A page of ours; every text from outside in `body` is escaped already."""
    onward = f" {origin_of(redirect_uri)}" if redirect_uri else ""
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'{onward}; base-uri 'none'; "
        "frame-ancestors 'none'" + ("; script-src 'self'" if script else "")
    )
    loaded = f'<script src="{SCRIPT_PATH}" defer></script>' if script else ""
    # `same-origin`, so that the browser says where a form was posted from; to others it says nothing.
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}
    html = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)} - Sharewell</title><style>{_STYLE}</style>{loaded}</head>
<body><main>{body}
</main></body></html>
"""
    return HTMLResponse(html, status_code=status, headers=headers)


def alert(sentence: str) -> str:
    """What went wrong, for everybody to notice."""
    return f'<p role="alert">{escape(sentence)}</p>'


def status(sentence: str) -> str:
    """What was done."""
    return f'<p role="status">{escape(sentence)}</p>'


def _said(scope: str) -> str:
    """A scope in words."""
    noun, _, letters = scope.partition("/")[2].partition(".")
    return f"{', '.join(_VERBS[one] for one in letters)}: {'everything you may' if noun == '*' else noun}"
