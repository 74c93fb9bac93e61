"""What the pages for people have in common: which browser asks, whether the form is ours, and what is put on record."""

from __future__ import annotations

import re

from authlib.oauth2.rfc6749 import InvalidRequestError, OAuth2Error
from starlette.requests import Request
from starlette.responses import Response

from sharewell.domain.addresses import shown_origin
from sharewell.domain.clients import Client
from sharewell.domain.errors import NotFound
from sharewell.domain.grants import SIGN_IN_LIFE
from sharewell.domain.people import Person
from sharewell.gateway.oauth import pages
from sharewell.gateway.oauth.forms import read_form
from sharewell.gateway.oauth.server import Authority
from sharewell.services.access import Refusal
from sharewell.services.passkeys import Site
from sharewell.services.people import PersonService

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
OVER = "This sign-in is over, or was begun in another browser. Go back to the app and begin anew."


class NotOurForm(InvalidRequestError):  # type: ignore[misc]  # Authlib ships no types
    """A form that this site did not show to this browser, with the reason as a word for the audit log."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(description=sentence)
        self.reason = reason


class BrowserPages:
    """Pages of ours, each for the one browser that a cookie names."""

    def __init__(self, authority: Authority, people: PersonService) -> None:
        self._us, self._people = authority, people
        self._secure = authority.issuer.startswith("https:")
        self._cookie = "__Host-sharewell" if self._secure else "sharewell"
        self._site = Site(shown_origin(authority.issuer))

    async def _who(self, request: Request, form: dict[str, str], page: str) -> Person | Refusal:
        request_id = request.state.request_id
        if "passkey" in form:
            return await self._people.passkeys.sign_in(
                form["passkey"], site=self._site, shown_for=page, request_id=request_id
            )
        return await self._people.sign_in(
            form.get("login", "")[:200], form.get("password", "")[:1000], form.get("code", "")[:20],
            request_id=request_id,
        )  # fmt: skip

    async def _form(self, request: Request) -> tuple[dict[str, str], str]:
        """A form of ours, and the browser it comes from. Raises `OAuth2Error` for any other."""
        self._check_origin(request)
        form, browser = await read_form(request), self._browser(request)
        if browser is None:
            raise NotOurForm("unknown_browser", OVER)
        return form, browser

    def _check_origin(self, request: Request) -> None:
        """Where a browser says that another site sent the form, it is not taken."""
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if (origin is not None and origin != shown_origin(self._us.issuer)) or site not in (None, "same-origin"):
            raise NotOurForm("cross_site", "This form was not sent from this site.")

    def _browser(self, request: Request) -> str | None:
        held = request.cookies.get(self._cookie, "")
        return held if _TOKEN.fullmatch(held) else None

    def _remember(self, page: Response, browser: str) -> Response:
        seconds = int(SIGN_IN_LIFE.total_seconds())
        page.set_cookie(
            self._cookie, browser, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="lax"
        )
        return page

    async def _refuse(self, request: Request, error: OAuth2Error | NotFound) -> Response:
        """Say on a page of ours that it cannot be, once that is on record."""
        return await self._record(request, getattr(error, "reason", "unknown_request"), None) or wrong(error)

    async def _record(self, request: Request, reason: str, client: Client | None) -> Response | None:
        """As `_beyond`, of a request that is not what it should be."""
        refusal = Refusal(
            reason=reason,
            actor=None,
            client_id=None if client is None else client.client_id,
            details={"endpoint": request.url.path},
            request_id=request.state.request_id,
        )
        return await self._beyond(request, refusal)

    async def _beyond(self, request: Request, refusal: Refusal) -> Response | None:
        """Put it on record; where too many come from there, the page that is answered instead."""
        allowance = await self._us.refused(refusal, request.state.peer)
        return None if allowance is None else pages.too_many_page(allowance)


def wrong(error: OAuth2Error | NotFound) -> Response:
    """The page that says what is wrong."""
    sentence = error.description if isinstance(error, OAuth2Error) else str(error)
    return pages.message_page("That cannot be done", sentence or "The request is not one of ours.", status=400)
