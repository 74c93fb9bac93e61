"""Where people change what signs them in: a page that asks anew who is there, and shows what they have.

There is no session. Whoever signs in here has a visit of minutes, which belongs to one browser as authorizations do.
"""

from __future__ import annotations

import secrets
from uuid import UUID

from authlib.oauth2.rfc6749 import OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from sharewell.domain.errors import Conflict, Invalid, NotFound
from sharewell.gateway.oauth.account_pages import account_page, authenticator_page, enter_page
from sharewell.gateway.oauth.browsers import BrowserPages
from sharewell.gateway.oauth.pages import FAILED, Options
from sharewell.services.access import Refusal
from sharewell.services.visits import Account


class AccountPages(BrowserPages):
    """The pages, and what leads from one to the next."""

    async def enter(self, request: Request) -> Response:
        """Who is there?"""
        browser = self._browser(request) or secrets.token_urlsafe(32)
        return self._remember(enter_page(await self._any(browser)), browser)

    async def show(self, request: Request) -> Response:
        """What signs in whoever has just shown that it is them."""
        try:
            form, browser = await self._form(request)
            person = await self._who(request, form, _entering(browser))
            if isinstance(person, Refusal):
                beyond = await self._beyond(request, person)
                return beyond or enter_page(await self._any(browser), fault=FAILED)
            account = await self._people.visits.begin(person, browser, by_code="passkey" not in form)
        except (OAuth2Error, NotFound) as error:
            return await self._refuse(request, error)
        return await self._page(account, browser)

    async def add(self, request: Request) -> Response:
        """Keep a further passkey."""
        try:
            form, browser = await self._form(request)
            handle = form.get("handle", "")
            try:
                account = await self._people.visits.add(
                    handle, browser, form.get("name", ""), form.get("passkey", ""), site=self._site,
                    request_id=request.state.request_id,
                )  # fmt: skip
            except (Invalid, Conflict) as error:
                return await self._same(handle, browser, str(error))
        except (OAuth2Error, NotFound) as error:
            return await self._refuse(request, error)
        return await self._page(account, browser, done="Your passkey is added; you can sign in with it.")

    async def remove(self, request: Request) -> Response:
        """Take a passkey away; whoever has it signs in with it no more."""
        try:
            form, browser = await self._form(request)
            handle = form.get("handle", "")
            try:
                account = await self._people.visits.remove(
                    handle, browser, _read(form.get("remove", "")), request_id=request.state.request_id
                )
            except Conflict as error:
                return await self._same(handle, browser, str(error))
        except (OAuth2Error, NotFound) as error:
            return await self._refuse(request, error)
        done = "The passkey is removed and signs in no more. Apps that acted for you are signed out."
        return await self._page(account, browser, done=done)

    async def key(self, request: Request) -> Response:
        """Show the key of another authenticator app."""
        try:
            form, browser = await self._form(request)
            account, key = await self._people.visits.new_key(form.get("handle", ""), browser)
        except (OAuth2Error, NotFound) as error:
            return await self._refuse(request, error)
        return authenticator_page(account, key)

    async def change_authenticator(self, request: Request) -> Response:
        """Take the app that has that key, from somebody who knows the password, too: a found passkey is not enough."""
        try:
            form, browser = await self._form(request)
            handle, request_id = form.get("handle", ""), request.state.request_id
            account = await self._people.visits.account(handle, browser)
            wrong = await self._people.knows_password(
                account.person, form.get("password", "")[:1000], request_id=request_id
            )
            if wrong is not None:
                return await self._beyond(request, wrong) or authenticator_page(account, None, fault=FAILED)
            try:
                changed = await self._people.visits.change_authenticator(
                    handle, browser, form.get("code", "")[:20], request_id=request_id
                )
            except Invalid as error:
                return authenticator_page(account, None, fault=str(error))
        except (OAuth2Error, NotFound) as error:
            return await self._refuse(request, error)
        done = "Your new app counts now, and the one before no more. Apps that acted for you are signed out."
        return await self._page(changed, browser, done=done)

    async def _any(self, browser: str) -> Options | None:
        """What the browser is asked for a passkey of anybody's with."""
        if not self._site.takes_passkeys:
            return None
        return await self._people.passkeys.options_to_sign_in(self._site, _entering(browser))

    async def _same(self, handle: str, browser: str, fault: str) -> Response:
        """The page as it was, with what was wrong."""
        return await self._page(await self._people.visits.account(handle, browser), browser, fault=fault)

    async def _page(
        self, account: Account, browser: str, *, done: str | None = None, fault: str | None = None
    ) -> Response:
        options = None
        if self._site.takes_passkeys and not account.full:
            options = await self._people.visits.options_to_add(account, browser, self._site)
        return account_page(account, options, done=done, fault=fault)


def _entering(browser: str) -> str:
    """What a challenge is bound to: this page, in this browser."""
    return f"account {browser}"


def _read(added_by: str) -> UUID:
    try:
        return UUID(added_by)
    except ValueError:
        raise NotFound("You have no such passkey.", field="remove") from None
