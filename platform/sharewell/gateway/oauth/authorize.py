"""The authorization endpoint: an app sends a person here, who signs in, consents, and is sent back with a code.

What is under way belongs to the browser that began it: a cookie names the browser, an unguessable handle in the form
the request, and each is worth nothing without the other. Nobody is ever sent to an address that is not registered.
"""

from __future__ import annotations

import secrets

from authlib.common.urls import add_params_to_uri
from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sharewell.domain.clients import Client, Purpose
from sharewell.domain.errors import Conflict, Invalid, NotFound
from sharewell.gateway.oauth import pages
from sharewell.gateway.oauth.browsers import OVER, BrowserPages, wrong
from sharewell.gateway.oauth.forms import read_form, read_pairs
from sharewell.gateway.oauth.requests import REQUEST_URI, check_redirect, check_request
from sharewell.services.access import Refusal


class Authorization(BrowserPages):
    """The pages, and what leads from one to the next."""

    async def authorize(self, request: Request) -> Response:
        """RFC 6749, 4.1.1: show the sign-in page, or say what is wrong; to the app only once it is known to be one."""
        try:
            asked = read_pairs(request.url.query)
            client = await self._client(asked.get("client_id", ""))
        except OAuth2Error as error:
            return wrong(error)
        browser = self._browser(request) or secrets.token_urlsafe(32)
        if "request_uri" in asked:
            handle = asked["request_uri"].removeprefix(REQUEST_URI)
        else:
            try:
                redirect_uri = check_redirect(client, asked)
            except OAuth2Error as error:
                return await self._record(request, "unregistered_redirect", client) or wrong(error)
            try:
                handle = await self._us.grants.begin(check_request(client, asked))
            except OAuth2Error as error:
                return await self._record(request, error.error, client) or self._back(
                    redirect_uri, asked.get("state"), error=error.error, error_description=error.description
                )
        found = await self._us.grants.open(handle, browser, client.client_id)
        if found is None:
            return await self._record(request, "unknown_request", client) or pages.message_page(
                "Not here", OVER, status=400
            )
        page = await self._ask(client, handle, browser, found.redirect_uri)
        return self._remember(page, browser)

    async def sign_in(self, request: Request) -> Response:
        """Who is there? Then: may the app?"""
        try:
            form, browser = await self._form(request)
            handle = form.get("handle", "")
            found = await self._us.grants.open(handle, browser)
            client = await self._client(found.client_id if found is not None else "")
        except OAuth2Error as error:
            return await self._refuse(request, error)
        assert found is not None  # else there was no client
        person = await self._who(request, form, _on_page(handle, browser))
        if isinstance(person, Refusal):
            beyond = await self._beyond(request, person)
            return beyond or await self._ask(client, handle, browser, found.redirect_uri, failed=True)
        if not person.roles & client.roles or (client.institution or person.institution) != person.institution:
            beyond = await self._record(request, "not_for_this_app", client)
            await self._us.grants.decline(handle, browser)
            return beyond or self._back(found.redirect_uri, found.state, error="access_denied")
        try:
            await self._us.grants.signed_in(handle, browser, person)
        except NotFound as error:  # its time ran out meanwhile
            return await self._refuse(request, error)
        return pages.consent_page(
            client.name, handle, person=person.name, scopes=found.scopes, redirect_uri=found.redirect_uri,
            purpose=None if found.purpose is None else Purpose(found.purpose).name.replace("_", " ").lower(),
        )  # fmt: skip

    async def _ask(
        self, client: Client, handle: str, browser: str, redirect_uri: str, *, failed: bool = False
    ) -> Response:
        """The sign-in page; whoever is asked for a passkey is asked for any, so it tells nothing of logins."""
        passkey = None
        if self._site.takes_passkeys:
            passkey = await self._people.passkeys.options_to_sign_in(self._site, _on_page(handle, browser))
        return pages.sign_in_page(client.name, handle, redirect_uri=redirect_uri, passkey=passkey, failed=failed)

    async def consent(self, request: Request) -> Response:
        """Send the person back to the app, with a code or without (RFC 6749, 4.1.2; RFC 9207)."""
        try:
            form, browser = await self._form(request)
            if form.get("answer") != "allow":
                found = await self._us.grants.decline(form.get("handle", ""), browser)
                return self._back(found.redirect_uri, found.state, error="access_denied")
            granted, code = await self._us.grants.consent(
                form.get("handle", ""), browser, request_id=request.state.request_id
            )
        except (OAuth2Error, NotFound) as error:
            return await self._refuse(request, error)
        return self._back(granted.redirect_uri, granted.state, code=code)

    async def invitation(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """Where a person who was invited begins."""
        return pages.invitation_page()

    async def enrol(self, request: Request) -> Response:
        """First the second factor's key is shown; then password and a first code are set."""
        try:
            self._check_origin(request)
            form = await read_form(request)
        except OAuth2Error as error:
            return await self._refuse(request, error)
        invitation, fault = form.get("invitation", "")[:100], None
        if "password" in form:
            try:
                await self._people.enrol(
                    invitation, form["password"][:1000], form.get("code", "")[:20], request_id=request.state.request_id,
                    passkey=form.get("passkey", ""), site=self._site,
                )  # fmt: skip
            except NotFound:
                return await self._uninvited(request)
            except (Invalid, Conflict) as error:
                fault = str(error)
            else:
                return pages.message_page("Done", "You can sign in now, from the app you want to use.")
        opened = await self._people.open_invitation(invitation, anew="password" not in form)
        if opened is None:
            return await self._uninvited(request)
        person, secret = opened
        passkey = None
        if self._site.takes_passkeys:
            passkey = await self._people.passkeys.options_to_add(self._site, person, invitation)
        return pages.enrol_page(
            invitation, login=person.login, secret=secret, passkey=passkey, again=person.invited_by is not None,
            fault=fault,
        )

    async def _uninvited(self, request: Request) -> Response:
        """Whoever tries an invitation that does not hold may have found it, and the log should know."""
        beyond = await self._record(request, "bad_invitation", None)
        return beyond or pages.invitation_page(fault="This invitation does not hold, or was used.")

    async def password(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """Where a person changes the password."""
        return pages.password_page()

    async def change_password(self, request: Request) -> Response:
        """Who knows the password and holds the second factor may set another password; there is no session."""
        try:
            self._check_origin(request)
            form = await read_form(request)
        except OAuth2Error as error:
            return await self._refuse(request, error)
        try:
            changed = await self._people.change_password(
                form.get("login", "")[:200], form.get("password", "")[:1000], form.get("code", "")[:20],
                form.get("new", "")[:1000], request_id=request.state.request_id,
            )  # fmt: skip
        except Invalid as error:
            return pages.password_page(fault=str(error))
        if isinstance(changed, Refusal):
            failed = pages.password_page(fault=pages.FAILED)
            return await self._beyond(request, changed) or failed
        return pages.message_page("Done", "Your password is changed. Apps that acted for you are signed out.")

    async def script(self, request: Request) -> Response:  # noqa: ARG002 - an endpoint's signature
        """What asks the browser for a passkey."""
        return pages.passkey_script()

    async def _client(self, client_id: str) -> Client:
        client = await self._us.clients.find(client_id)
        if client is None or not client.usable(at=self._us.now()) or not client.redirect_uris:
            raise InvalidRequestError(description="There is no such app here, or the sign-in is over.")
        return client

    def _back(self, redirect_uri: str, state: str | None, **said: str) -> Response:
        """RFC 9207: the answer says who gives it, so that an app is not fooled into asking another."""
        parameters = [*said.items(), *([("state", state)] if state is not None else []), ("iss", self._us.issuer)]
        location = add_params_to_uri(redirect_uri, [pair for pair in parameters if pair[1]])
        return RedirectResponse(location, status_code=303, headers={"Cache-Control": "no-store"})


def _on_page(handle: str, browser: str) -> str:
    """What a challenge is bound to: this authorization, in this browser."""
    return f"{handle} {browser}"
